import numpy as np
import pytest

from spicestat.pooled.classes import choose_classes
from spicestat.pooled.contrasts import make_design
from spicestat.pooled.em import fit_population
from spicestat.pooled.fit import choose_states, fit_pooled
from spicestat.pooled.maximise import Prior
from spicestat.pooled.mixture import Component, fit_mixture, heavy_tails
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.prediction import Kind, predict_at, predict_fitted, predict_new
from spicestat.pooled.rates import RateAt, profile_rates, spread_rates
from spicestat.pooled.states import Signal, State, state, state_rows

STATES = [state("last"), state(("rewarded", 0.5)), State((Signal(kind="constant", action=1),))]


def joined(*parts: Sessions) -> Sessions:
    people = np.cumsum([0, *(int(p.person.max()) + 1 for p in parts)])
    who = np.concatenate([p.person + start for p, start in zip(parts, people, strict=False)])
    choice, reward = (np.concatenate([getattr(p, name) for p in parts], axis=1) for name in ("choice", "reward"))
    return pack_sessions(choice.T, reward.transpose(1, 0, 2), who, choice_count(parts))


def choice_count(parts: tuple[Sessions, ...]) -> int:
    return parts[0].n_actions


def test_a_fit_in_the_states_own_units(cohort) -> None:
    data, weights = cohort
    fit = fit_pooled(data, STATES, tails="normal", prior=None)
    assert fit.converged
    assert (np.abs(fit.mean - weights.mean(axis=0)) < 2.5 * fit.std_error).all()
    inside = np.abs(fit.pooled - weights) < 1.96 * fit.pooled_sd
    assert 0.85 < inside.mean() <= 1
    bounded = np.isfinite(fit.own.estimate)
    covered = np.abs(fit.own.estimate - weights)[bounded] < 1.96 * fit.own.std_error[bounded]
    assert 0.88 < covered.mean() <= 1
    assert (fit.own.log_lik > fit.log_marginal).all()


def test_units_of_rewards_change_nothing_but_the_reported_size(cohort) -> None:
    data = cohort[0]
    scaled = pack_sessions(data.choice.T, data.reward.transpose(1, 0, 2) * 40, data.person, 2)
    a, b = (fit_pooled(d, STATES) for d in (data, scaled))
    assert np.allclose(a.pooled, b.pooled)
    assert b.reward_size == 40 * a.reward_size
    other = pack_sessions(data.choice.T, data.reward.transpose(1, 0, 2) * 10, data.person, 2)
    assert np.allclose(b.rows(other).values[:, :, 1], a.rows(data).values[:, :, 1] / 4)


def test_posterior_predictions_beat_maximum_likelihood_on_new_blocks(simulate_logit) -> None:
    data, _ = simulate_logit(60, 4, 25, [0.5, 2.0, 0.3], [0.8, 1.0, 0.7], seed=5)
    block = np.arange(len(data.person)) % 4
    fit = fit_pooled(data.select(block < 2), STATES)
    rows = fit.rows(data.select(block >= 2))
    at = np.arange(len(rows.choice)), rows.choice
    pooled, alone = fit.predict(rows)[at], predict_at(rows, np.nan_to_num(fit.own.estimate))[at]
    known, new, learned = pooled, fit.predict_new(rows)[at], fit.predict_new(rows, learn=True)[at]
    assert -np.log(pooled).mean() < -np.log(alone).mean()
    assert -np.log(known).mean() < -np.log(learned).mean() < -np.log(new).mean()


def test_predictions_are_averages_over_what_is_unknown(cohort) -> None:
    rows = state_rows(cohort[0], STATES).rows(np.arange(200))
    mean, spread = np.array([[0.5, 1.0, -0.2], [0.0, 2.0, 0.1]]), np.tile(0.5 * np.eye(3), (2, 1, 1))
    rng = np.random.default_rng(0)
    draws = rng.multivariate_normal(mean[0], spread[0], 20000)
    mine = rows.person == 0
    odds = np.exp(rows.values[mine] @ draws.T)
    expected = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=2)
    assert np.allclose(predict_fitted(rows, mean, spread, 256)[mine], expected, atol=0.01)
    assert np.allclose(predict_new(rows, [Kind(1.0, mean[0], spread[0], False)])[mine], expected, atol=0.01)
    half = [Kind(0.5, mean[0], spread[0], False), Kind(0.5, mean[0], spread[0], True)]
    assert np.allclose(predict_new(rows, half)[mine], 0.5 * expected + 0.25, atol=0.01)


def test_odd_people_are_found_and_do_not_bend_the_population(simulate_logit) -> None:
    plain, _ = simulate_logit(50, 2, 60, [0.5, 2.0, 0.3], [0.3, 0.4, 0.3], seed=2)
    odd, _ = simulate_logit(4, 2, 60, [-3.0, -4.0, 0.0], [0.3, 0.3, 0.3], seed=3)
    design = make_design(state_rows(joined(plain, odd), STATES))
    normal = fit_population(design)
    heavy = fit_mixture(heavy_tails(design), normal)
    alone = fit_population(make_design(state_rows(plain, STATES), scale=design.scale))
    assert (heavy.belongs[50:, 0] < 0.1).all()
    assert heavy.belongs[:50, 0].mean() > 0.8
    bent, robust = (np.abs(f.population.mean - alone.population.mean)[:2] for f in (normal, heavy))
    assert (robust < 0.5 * bent).all()


def test_a_mixture_of_one_is_the_population(cohort) -> None:
    design = make_design(state_rows(cohort[0], STATES))
    start = fit_population(design, tolerance=1e-4)
    one = fit_mixture([Component(design)], start, tolerance=1e-4)
    assert one.log_marginal == pytest.approx(start.log_marginal, abs=0.01)


def test_people_who_guess_are_recognised(simulate_logit) -> None:
    plain, _ = simulate_logit(40, 2, 60, [1.5, 2.0, 0.3], [0.3, 0.4, 0.3], seed=2)
    rng = np.random.default_rng(0)
    random = pack_sessions(rng.integers(0, 2, (6, 60)), rng.integers(0, 2, (6, 60)), np.arange(6), n_actions=2)
    fit = fit_pooled(joined(plain, random), STATES)
    assert fit.belongs[40:, 0].mean() < 0.5 < fit.belongs[:40, 0].mean()


def test_two_kinds_of_people_are_told_apart_and_one_kind_is_not_split(simulate_logit) -> None:
    stay, _ = simulate_logit(60, 2, 40, [2.0, 1.0, 0.0], [0.3, 0.3, 0.3], seed=2)
    leave, _ = simulate_logit(60, 2, 40, [-2.0, 1.0, 0.0], [0.3, 0.3, 0.3], seed=3)
    design = make_design(state_rows(joined(stay, leave), STATES))
    found = choose_classes(design, fit_population(design), Prior())
    assert found is not None
    assert len(found.shares) == 2
    first = found.belongs[:60].mean(axis=0).argmax()
    assert found.belongs[:60, first].mean() > 0.95 > 0.05 > found.belongs[60:, first].mean()
    alone = make_design(state_rows(stay, STATES))
    assert choose_classes(alone, fit_population(alone), Prior()) is None


def learners(rates: np.ndarray, seed: int, n_trials: int = 150) -> Sessions:
    """People with learning rates of their own, weight 5 of the value."""
    rng = np.random.default_rng(seed)
    n, every = len(rates), np.arange(len(rates))
    value, choice, reward = np.zeros((n, 2)), np.zeros((n, n_trials), int), np.zeros((n, n_trials))
    for t in range(n_trials):
        good = np.full(n, t // 25 % 2)
        share = 1.0 / (1.0 + np.exp(5.0 * (value[:, 0] - value[:, 1])))
        choice[:, t] = rng.random(n) < share
        reward[:, t] = rng.random(n) < np.where(choice[:, t] == good, 0.8, 0.2)
        value[every, choice[:, t]] += rates * (reward[:, t] - value[every, choice[:, t]])
    return pack_sessions(choice, reward, every, n_actions=2)


PLACES = [[RateAt(0)]]


def test_one_rate_for_everybody_is_found_from_any_start() -> None:
    data = learners(np.full(40, 0.3), seed=0)
    found = [profile_rates(data, [state(("value", keep))], PLACES) for keep in (0.05, 0.95)]
    for profile in found:
        assert abs(1 - profile.rates[0] - 0.3) < 3 * profile.std_error[0]
    assert found[0].rates[0] == pytest.approx(found[1].rates[0], abs=0.02)
    assert spread_rates(data, found[0], PLACES).gain < 0


def test_rates_of_their_own_are_found_where_people_differ() -> None:
    rates = np.random.default_rng(0).choice([0.1, 0.5, 0.9], 40)
    data = learners(rates, seed=1)
    own = spread_rates(data, profile_rates(data, [state(("value", 0.5))], PLACES), PLACES)
    assert own.gain > 5
    assert np.corrcoef(1 - own.mean[:, 0], rates)[0, 1] > 0.85
    assert np.allclose(own.mixture.belongs.sum(axis=1), 1)


def test_states_are_chosen_and_fitted_from_trials_alone(cohort) -> None:
    library = [*STATES, state("last", "run"), state(("choices", 0.9))]
    chosen = choose_states(cohort[0], library, begin=[library[:1]])
    assert {"last", "rewarded_0.5"} <= {s.name for s in chosen.states[: chosen.n_own]}
    again = choose_states(cohort[0], library, begin=[library[:1]])
    assert again.states == chosen.states
    fit = fit_pooled(cohort[0], chosen.states, chosen.n_own, start=chosen.path[-1].fit)
    assert fit.pooled.shape == (60, len(chosen.states))
    assert np.ptp(fit.pooled[:, chosen.n_own :], axis=0).max(initial=0.0) < 1e-9
