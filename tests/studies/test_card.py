"""spice_card: recovery, trade-offs, structures, curves and scope; rates over 200 cohorts are in benchmarks/card."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spicestat import read_trials, simulate_cohort, spice_card, spice_fit
from spicestat.errors import ConfigError, ConvergenceWarning
from spicestat.fit.history import assemble_history
from spicestat.fit.packing import pack_table
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.states import state
from spicestat.simulate import simulate_diffusion_cohort
from spicestat.studies.card_checks import (
    _recovery,
    choice_curves,
    flat_directions,
    pairs_of_coefficients,
    pairs_of_means,
    scope,
)
from spicestat.studies.redrawn import RedrawnHistory, redrawn
from spicestat.studies.trade_offs import flat_direction, information_correlations, trade_offs

STATES = (state("last"), state(("rewarded", 0.5)))


@pytest.fixture(scope="module")
def table():
    return read_trials(simulate_cohort(16, 120, n_blocks=3, seed=4).trials, block="block", trial="trial")


@pytest.fixture(scope="module")
def equations(table):
    """A fit of equations."""
    with warnings.catch_warnings():
        # so few trials and epochs do not identify everybody
        warnings.simplefilter("ignore", ConvergenceWarning)
        return spice_fit(table, model="rescorla_wagner", epochs=10)


def given(table, *states):
    """A fit of given states."""
    data = pack_table(table)
    return assemble_history(table, data, fit_pooled(data, states), math.nan, 0)


@pytest.fixture(scope="module")
def card(table):
    return spice_card(given(table, *STATES), n_simulations=2, seed=1)


def test_the_card_is_one_tidy_table(card):
    assert list(card.table) == ["check", "subject", "value", "threshold", "flag", "meaning"]
    assert card.table["flag"].dtype == bool
    assert card.table["meaning"].str.len().gt(10).all()
    checks = {"recovery", "bias", "trade-off", "trade-off, pooled", "trade-off of means", "flat direction", "structure",
              "equivalent state", "choice curve", "scope"}  # fmt: skip
    assert set(card.table["check"]) == checks
    assert card.glance()["n_flagged"].item() == card.table["flag"].sum()
    shown = repr(card)
    assert all(subject in shown.replace("\n  ", " ") for subject in card.flagged["subject"])
    assert card._repr_html_().startswith("<div>")


def test_the_same_seed_gives_the_same_card(table, card):
    again = spice_card(given(table, *STATES), n_simulations=2, seed=1)
    pd.testing.assert_frame_equal(again.table, card.table)
    other = spice_card(given(table, *STATES), n_simulations=2, seed=2).table
    assert not other["value"].equals(card.table["value"])


def test_weights_whose_sum_alone_counts_are_flagged_and_no_others(table):
    """A trace that keeps nothing is the last choice."""
    fit = given(table, *STATES, state(("choices", 0.0)))
    pairs = {check.subject: check for check in pairs_of_coefficients(fit) if check.check == "trade-off"}
    planted = pairs.pop("beta:last ~ beta:choices_0")
    assert planted.flag and planted.value < -0.999
    assert not any(check.flag for check in pairs.values())
    assert {c.subject for c in pairs_of_means(fit) if c.flag} == {"beta:last ~ beta:choices_0"}
    (flat,) = flat_directions(fit)
    assert flat.flag and flat.subject == "beta:last + beta:choices_0"
    assert not any(c.flag for c in flat_directions(given(table, *STATES)))


def test_coefficients_of_equations_whose_sum_alone_counts_are_flagged(equations):
    likelihood = equations.choice_likelihood()
    planted = SameTwice(likelihood)
    n = len(likelihood.terms)
    estimates = equations.coefficients.wide().to_numpy()
    own = estimates[:, [equations.coefficients.terms.index(term) for term in likelihood.terms]]
    # the sum of two halves
    halves = np.column_stack([own[:, 0] / 2, own[:, 1:], own[:, 0] / 2])
    information = planted.derivatives(halves)[2]
    pair = next(p for p in trade_offs(information_correlations(information)) if (p.first, p.second) == (0, n))
    assert pair.correlation < -0.999
    assert set(flat_direction(information).members) == {0, n}


class SameTwice:
    """The likelihood of equations whose first coefficient is the sum of two."""

    def __init__(self, likelihood):
        self.likelihood = likelihood

    def derivatives(self, at):
        summed = at[:, :-1].copy()
        summed[:, 0] += at[:, -1]
        value, slope, information = self.likelihood.derivatives(summed)
        to = np.concatenate([np.eye(summed.shape[1]), np.eye(summed.shape[1])[:, :1]], axis=1)
        return value, slope @ to, to.T @ information @ to


def test_correlations_are_those_of_the_inverse_information():
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(5, 4, 4))
    information = roots @ roots.transpose(0, 2, 1)
    covariance = np.linalg.inv(information)
    sd = np.sqrt(np.einsum("nkk->nk", covariance))
    np.testing.assert_allclose(
        information_correlations(information), covariance / (sd[:, :, None] * sd[:, None]), rtol=1e-5, atol=1e-6
    )
    information[2, 1], information[2, :, 1] = 0.0, 0.0
    assert np.isnan(information_correlations(information)[2, 1]).all()


def test_recovery_compares_the_people_that_are_identified():
    rng = np.random.default_rng(5)
    true = rng.normal(size=400)
    noisy = true + 0.7 * rng.normal(size=400)
    recovery, bias = _recovery("x", [true, true], [noisy, noisy])
    assert recovery.value == pytest.approx(np.corrcoef(true, noisy)[0, 1])
    assert (recovery.flag, bias.flag) == (False, False)
    shifted = _recovery("x", [true, -true], [noisy + 1.0, -noisy + 1.02])[1]
    assert shifted.flag and shifted.value == pytest.approx(1.0, abs=0.1)
    lost = np.full(400, np.nan)
    (unknown,) = _recovery("x", [true], [lost])
    assert unknown.flag and math.isnan(unknown.value)


def test_simulated_people_with_large_differences_are_recovered(table):
    study = RedrawnHistory(given(table, *STATES))
    rng = np.random.default_rng(1)
    people = np.column_stack([np.linspace(-4, 4, 16), np.linspace(3, -1, 16)])
    found = study.estimate(study.choose(people, rng))
    assert np.corrcoef(found[:, 0], people[:, 0])[0, 1] > 0.95


def test_people_who_repeat_more_than_their_weights_say_are_noticed(table):
    fit = given(table, *STATES)
    assert not any(check.flag for check in choice_curves(redrawn(fit), np.random.default_rng(0)))
    never = replace(fit, pooled=replace(fit.pooled, pooled=fit.pooled.pooled - [[2.0, 0.0]]))
    flagged = [check for check in choice_curves(redrawn(never), np.random.default_rng(0)) if check.flag]
    assert "repeated" in {check.subject for check in flagged}
    assert "% were observed and" in flagged[0].meaning


def test_scope_says_who_and_what_is_not_in_it(table):
    trials = simulate_cohort(6, 60, seed=1).trials
    own = trials["participant"] == "p1"
    trials.loc[own & (own.cumsum() > 1), "choice"] = np.nan
    with pytest.warns(Warning, match="1 of 6"):
        fit = spice_fit(trials, block="block", trial="trial")
    rows = {check.subject: check for check in scope(fit)}
    assert rows["people left out"].value == pytest.approx(1 / 6) and rows["people left out"].flag
    assert any("better than choice shares" in name for name in rows)


def test_a_card_of_equations(equations):
    card = spice_card(equations, n_simulations=1)
    assert {"recovery", "trade-off", "flat direction", "structure", "choice curve", "scope"} <= set(card.table["check"])
    assert card.table.query("check == 'structure'")["value"].between(0, 1).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::spicestat.errors.SpicestatWarning")
def test_response_times_are_not_drawn_anew():
    fit = spice_fit(simulate_diffusion_cohort(3, 40, seed=1).trials, rt="rt", model="drift_diffusion", epochs=2)
    card = spice_card(fit, n_simulations=1)
    assert "recovery" not in set(card.table["check"]) and "trade-off" in set(card.table["check"])
    with pytest.raises(ConfigError, match="response times"):
        redrawn(fit)


def test_settings_are_checked(table):
    with pytest.raises(ConfigError, match="n_simulations"):
        spice_card(given(table, *STATES), n_simulations=0)
