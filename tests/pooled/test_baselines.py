"""What any reader could fit: shares by hand, lags as a ridge, the library as the engine itself fits it."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln

from spicestat.pooled.baselines import fit_lags, fit_library, fit_shares, lag_rows
from spicestat.pooled.contrasts import make_design
from spicestat.pooled.em import fit_population
from spicestat.pooled.maximise import Prior
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.prediction import Kind, predict_fitted, predict_new
from spicestat.pooled.state_library import ten_states
from spicestat.pooled.states import state_rows


def people(n_people=30, n_trials=60, n_actions=3, seed=0):
    """People who repeat choices, each as much as they like, in two sessions; some choices are missing."""
    rng = np.random.default_rng(seed)
    stay = rng.normal(1.0, 1.0, n_people)
    choice = np.zeros((2 * n_people, n_trials), int)
    for session in range(2 * n_people):
        logit = stay[session // 2] * np.eye(n_actions)
        for t in range(1, n_trials):
            odds = np.exp(logit[choice[session, t - 1]])
            choice[session, t] = rng.choice(n_actions, p=odds / odds.sum())
    missing = rng.random(choice.shape) < 0.05
    reward = rng.integers(0, 2, choice.shape).astype(float)
    return pack_sessions(np.where(missing, -1, choice), reward, np.arange(2 * n_people) // 2, n_actions)


def test_shares_are_counts_and_the_populations_shares_at_the_likeliest_concentration():
    # the first choice of a session does not count
    choice = [[2, 0, 0, 0, 0, 1], [0, 2, 2, 2, 0, 2], [1, -1, -1, -1, -1, -1]]
    data = pack_sessions(choice, np.zeros((3, 6)), [0, 1, 2], n_actions=3)
    found = fit_shares(data)
    counts = np.array([[4, 1, 0], [1, 0, 4], [0, 0, 0]])
    share = np.array([6, 2, 5]) / 13
    np.testing.assert_allclose(found.population, share)
    kappa = found.concentration
    np.testing.assert_allclose(found.person, (counts + kappa * share) / (counts.sum(1, keepdims=True) + kappa))
    np.testing.assert_allclose(found.person[2], share)

    def log_marginal(k):
        of_person = gammaln(counts + k * share).sum(1) - gammaln(k * share).sum() - gammaln(counts.sum(1) + k)
        return (of_person + gammaln(k)).sum()

    around = [log_marginal(kappa * factor) for factor in (0.9, 1.0, 1.1)]
    assert around[1] == max(around)


def test_shares_of_equal_people_are_the_populations():
    choice = np.tile([0, 0, 1, 0, 1], (20, 8))
    found = fit_shares(pack_sessions(choice, choice, np.arange(20), n_actions=2))
    np.testing.assert_allclose(found.person, np.tile(found.population, (20, 1)), atol=1e-3)
    never = fit_shares(pack_sessions(np.zeros((3, 9), int), np.zeros((3, 9)), np.arange(3), n_actions=2))
    assert (never.person > 0).all()


def test_lags_are_in_the_order_of_the_states_of_the_engine():
    data = people()
    rows, like = lag_rows(data), state_rows(data, ten_states(3))
    for name in ("choice", "person", "session", "trial"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(like, name))
    assert rows.names[-2:] == ("constant_2", "constant_3")
    # the last choice and its reward are states of the library, too
    np.testing.assert_array_equal(rows.values[:, :, 0], like.values[:, :, 0])
    np.testing.assert_array_equal(rows.values[:, :, 1], like.values[:, :, 5])


def test_lags_are_a_ridge_to_the_weights_of_all_people_together():
    data = people()
    found = fit_lags(data)
    rows = lag_rows(data)
    scale = make_design(rows).scale
    precision = 1.0 / (np.diag(found.population.covariance) * scale**2)
    assert precision == pytest.approx(precision[0])
    own = rows.rows(rows.person == 4)

    def loss(scaled):
        logits = own.values @ (scaled / scale)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        away = scaled - found.population.mean * scale
        return -log_p[np.arange(len(own.choice)), own.choice].sum() + 0.5 * precision[0] * (away**2).sum()

    best = minimize(loss, np.zeros(len(scale)), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(found.mean[4] * scale, best.x, atol=2e-3)
    assert found.covariance.max() == 0
    assert found.n_free == 30 * 12


def test_the_library_is_fitted_as_the_engine_fits_it():
    data, states = people(), ten_states(3)
    found = fit_library(data, states, n_own=4)
    rows = state_rows(data, states)
    design = make_design(rows)
    fit = fit_population(design, range(4), Prior(mean_sd=0.5), tolerance=0.3)
    mean = fit.posterior.mode.copy()
    mean[:, :4] += fit.posterior.shift
    square = design.scale[:4, None] * design.scale[:4]
    exact = predict_fitted(rows, mean / design.scale, fit.posterior.covariance / square)
    ours = found.predict(rows, rows.person)
    # it computes in single precision
    np.testing.assert_allclose(ours, exact, atol=1e-3)
    assert found.n_free == 30 * 4 + len(states) - 4
    kind = Kind(1.0, fit.population.mean / design.scale, fit.population.covariance / square, False)
    new = found.predict(rows, np.full(len(rows.person), -1))
    np.testing.assert_allclose(new, predict_new(rows, [kind]), atol=1e-3)


def test_people_who_are_known_and_people_who_are_not_are_predicted_beside_each_other():
    data = people()
    found = fit_lags(data)
    rows = lag_rows(data)
    known, new = found.predict(rows, rows.person), found.predict(rows, np.full(len(rows.person), -1))
    who = np.where(rows.person % 2 == 0, rows.person, -1)
    np.testing.assert_allclose(found.predict(rows, who), np.where((who >= 0)[:, None], known, new))
    # codes in another order
    turned = found.predict(rows, 29 - rows.person)
    at = rows.person == 3
    np.testing.assert_allclose(
        turned[at], predict_fitted(rows.rows(at), found.mean[[0, 1, 2, 26]], found.covariance[[0, 1, 2, 26]])
    )
