"""Weights that the population shares: what is not known of them is in the errors of means, and in no contrast."""

from dataclasses import replace

import numpy as np
import pytest

from spicestat import simulate_cohort, spice_fit, spice_group
from spicestat.fit.history import lay_out_weights
from spicestat.fit.packing import pack_table
from spicestat.group.inputs.links import find_link
from spicestat.group.inputs.shared import covariance_from_shared, draws_from_shared, step_of_all
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.states import state

LAST = ("beta", "last")


@pytest.fixture(scope="module")
def fit():
    """One weight is everybody's own and two are shared, of states that all follow what was chosen."""
    cohort = simulate_cohort(30, 60, seed=3)
    found = spice_fit(cohort.trials, block="block", trial="trial", people=cohort.people)
    pooled = fit_pooled(pack_table(found.trials), (state("last"), state(("rewarded", 0.5)), state(("choices", 0.8))), 1)
    return replace(found, pooled=pooled, coefficients=lay_out_weights(found.trials, pooled, found.coefficients.info))


@pytest.fixture(scope="module")
def as_known(fit):
    """The same where shared weights are known."""
    pooled = fit.pooled
    covariance = pooled.mean_covariance.copy()
    covariance[:, pooled.n_own :] = covariance[pooled.n_own :] = 0.0
    return replace(fit, pooled=replace(pooled, mean_covariance=covariance))


def test_the_mean_is_known_as_well_as_where_all_weights_are_estimated_together(fit, as_known):
    """The joint covariance of `fit_pooled` counts shared weights and means as one."""
    error = spice_group(fit, "~ 1").tidy()["std_error"].iloc[0]
    assert error == pytest.approx(fit.pooled.std_error[0], rel=0.1)
    assert spice_group(as_known, "~ 1").tidy()["std_error"].iloc[0] < 0.8 * error


@pytest.mark.parametrize("formula", ["~ diagnosis + anxiety", "~ 0 + diagnosis"])
def test_contrasts_are_as_if_shared_weights_were_known(fit, as_known, formula):
    found, known = (spice_group(each, formula).covariance[LAST] for each in (fit, as_known))
    more = (found - known).to_numpy()
    step = np.array([name == "(Intercept)" or formula.startswith("~ 0") for name in found.index], dtype=float)
    shared = fit.choice_likelihood().shared
    moved = shared.with_own @ np.linalg.solve(shared.covariance, shared.with_own.T)
    np.testing.assert_allclose(more, moved * np.outer(step, step), atol=1e-8)


@pytest.mark.parametrize("method", ["hierarchical", "multivariate_meta"])
def test_kernels_at_levels_know_that_means_go_against_shared_weights(fit, method):
    """The mean of two halves of the people is the population's kernel, and has the error that the fit gives it."""
    people = fit.trials.people.assign(half=np.array(["a", "b"])[np.arange(30) % 2])
    group = spice_group(fit, "~ half", data=people, method=method)
    levels = group.kernels("half", events=["choice"], lags=5).tidy().query("quantity == 'total'")
    low, high, contrast = levels["std_error"]
    # mean of both: its error is that of the levels less what the contrast, of people alone, has in them
    of_mean = np.sqrt((low**2 + high**2) / 2.0 - contrast**2 / 4.0)
    table = fit.kernels(events=["choice"], lags=5, structure="given").influence
    total = table.query("scope == 'population' and quantity == 'total'")["std_error"].iloc[0]
    assert of_mean == pytest.approx(total, rel=0.12)


def test_draws_have_the_covariance_that_effects_get(fit):
    likelihood, mean = fit.choice_likelihood(), np.array([0.7])
    for link, slope in (("identity", 1.0), ("log", np.exp(0.7))):
        links = [find_link(link)]
        covariance = covariance_from_shared(likelihood, links, [np.ones((30, 1))], mean)
        np.testing.assert_allclose(covariance, likelihood.shared.of_own / slope**2)
        draws = draws_from_shared(likelihood, links, mean, 4000, np.random.default_rng(1))
        # the variance of 4000 draws is 2 % off, one standard error
        np.testing.assert_allclose(np.cov(draws.T), covariance[0, 0], rtol=0.1)


def test_designs_without_an_intercept_that_spans_everybody_come_as_near_as_they_can():
    X = np.column_stack([np.arange(6.0), np.arange(6.0) ** 2])
    assert np.abs(X @ step_of_all(X) - 1.0).mean() < 0.5
