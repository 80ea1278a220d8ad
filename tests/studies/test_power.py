"""spice_power: studies are drawn from the fitted distribution, and counted as they should be."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import spicestat.studies.power
from spicestat.agents.simulation import simulate_model
from spicestat.equations.estimate.refit import refit
from spicestat.errors import ConfigError, DataError
from spicestat.fit.api import spice_fit
from spicestat.fit.network_fit import SpiceFit, assemble_fit
from spicestat.group import spice_group
from spicestat.simulate import BanditsDrift, simulate_cohort
from spicestat.studies.players import players_of
from spicestat.studies.population import Population, fitted_population, group_population, population_of_group
from spicestat.studies.power import PowerResult, _position, _summary, spice_power, wilson_interval
from spicestat.studies.simulated_study import StudyPlan, simulate_studies
from spicestat.studies.study_design import StudyDesign
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

RATE = ("x_value_reward_chosen", "c_reward")
TASK = BanditsDrift(0.2)


@pytest.fixture(scope="module")
def fit(equations_of):
    """Twelve Rescorla-Wagner learners with 200 trials, fitted with the true structure."""
    cohort = simulate_cohort(12, 200, n_blocks=10, seed=2)
    trials = read_trials(cohort.trials, block="block", people=cohort.people)
    made = spice_fit(trials, model="rescorla_wagner", epochs=1)
    values = {RATE: 0.4, (RATE[0], RATE[0]): 0.6}
    return with_structure(made, equations_of("rescorla_wagner", 12, values | beta_of(made)))


def beta_of(made):
    return {key: 3.0 for key in made.model.equations.terms if key[0] == "beta"}


def with_structure(made, equations):
    data = SequenceDataset.from_trials(made.trials)
    model = made.model.with_refit(refit(made.model.network, data, equations))
    return assemble_fit(made.trials, data, replace(model, inclusion=np.ones(equations.status.shape)), "rescorla_wagner")


def power(fit, **settings):
    given = {
        "effect": 0.3,
        "n_participants": 10,
        "n_trials": 60,
        "environment": TASK,
        "n_simulations": 6,
        "method": "meta",
    }
    return spice_power(fit, RATE, **given | settings)


def test_a_huge_effect_is_found_and_none_is_not_always(fit):
    # this model has no inverse temperature, so that the coefficient is in units of it
    found = power(fit, effect=[0.0, 2.0], n_participants=20, n_trials=100, n_simulations=12, seed=3)
    table = found.tidy().set_index("effect")
    # at effect 0, 10 of 12 false positives have probability 1e-11
    assert table.loc[2.0, "power"] > 0.8
    assert table.loc[0.0, "power"] < 0.8
    assert table.loc[2.0, "type_s"] == 0
    assert table["type_m"].notna().tolist() == [False, True]
    assert abs(table.loc[2.0, "mean_estimate"] - 2.0) < 0.7
    assert found.glance()["method"].item() == "meta"
    assert len(found.studies) == 24


def test_the_seed_decides_not_the_number_of_jobs(fit):
    effects = [0.0, 0.5]  # designs are what jobs share
    one, two = (power(fit, effect=effects, n_simulations=2, n_jobs=n_jobs) for n_jobs in (1, 2))
    other = power(fit, effect=effects, n_simulations=2, seed=1)
    pd.testing.assert_frame_equal(one.studies, two.studies)
    assert not one.studies.equals(other.studies)


def test_a_module_with_one_estimated_term_will_do():
    terms = [("x", "1"), ("x", "r"), ("beta", "x")]
    assert [_position(name, terms) for name in ("x:r", ("x", "1"), "beta", ("beta",))] == [1, 0, 2, 2]
    for name, allowed in (("x", "x:1, x:r\\."), ("y", "x:1, x:r, beta:x")):
        with pytest.raises(ConfigError, match=f"Allowed: {allowed}"):
            _position(name, terms)


def test_every_design_is_simulated_and_drawn(fit):
    found = power(fit, n_participants=[6, 8], n_trials=[40, 60], n_blocks=2, n_simulations=1, covariates="binary")
    assert list(zip(found.table["n_participants"], found.table["n_trials"], strict=True)) == [
        (6, 40),
        (6, 60),
        (8, 40),
        (8, 60),
    ]
    assert len(found.plot().axes[0].get_lines()) >= 2


def test_the_default_method_is_that_of_the_default_analysis(fit):
    found = spice_power(fit, RATE, effect=0.3, n_participants=8, n_trials=60, environment=TASK, n_simulations=2)
    assert found.glance()["method"].item() == "hierarchical"
    assert found.studies["estimate"].notna().all()


def test_any_group_method_and_its_settings(fit):
    assert power(fit, method="ols", n_simulations=2, terms=RATE[1]).glance()["method"].item() == "ols"
    with pytest.raises(ConfigError, match="unknown group method"):
        power(fit, method="magic")


def test_a_simulator_of_your_own(fit):
    seen = []

    def simulate(model, equations, n_trials, n_blocks, seed):
        seen.append((equations.n_participants, n_trials, n_blocks))
        return simulate_model(model, equations, TASK, n_trials, n_blocks, seed=seed).trials

    found = power(fit, environment=None, simulate=simulate, n_simulations=2, n_blocks=2)
    assert seen == [(20, 30, 2)]
    assert found.studies["estimate"].notna().any()


def test_the_population_is_that_of_the_fit(fit):
    found = fitted_population(fit)
    estimates = fit.tidy().query("module == @RATE[0] and term == @RATE[1]")["estimate"]
    position = found.terms.index(RATE)
    assert estimates.min() < found.mean[position] < estimates.max()
    # less than the estimates, which have sampling errors on top
    assert 0 <= found.covariance[position, position] < estimates.var()


def test_a_group_model_can_give_the_population(fit):
    group = spice_group(fit, "~ anxiety")
    found = group_population(fit, group)
    rows = group.to_frame().query("module == @RATE[0] and sparse_term == @RATE[1]").set_index("term")["estimate"]
    # anxiety is a z-score over all participants
    assert found.mean[found.terms.index(RATE)] == pytest.approx(rows["(Intercept)"], abs=0.05)
    assert found.covariance[found.terms.index(RATE)][found.terms.index(RATE)] == pytest.approx(
        rows["sd__(Intercept)"] ** 2
    )
    with pytest.raises(ConfigError, match="no mean"):
        group_population(fit, spice_group(fit, "~ 1", terms=RATE[1]))


def test_correlations_of_a_group_model_come_along():
    terms = (("m", "a"), ("m", "b"))
    rows = [
        ("a", "fixed", None, "(Intercept)", 0.5),
        ("b", "fixed", None, "(Intercept)", 2.0),
        ("a", "ran_pars", "participant", "sd__(Intercept)", 0.2),
        ("b", "ran_pars", "participant", "sd__(Intercept)", 3.0),
        ("b", "ran_pars", "participant", "cor__(Intercept).m:a", -0.4),
    ]
    table = pd.DataFrame(rows, columns=["sparse_term", "effect", "group", "term", "estimate"]).assign(module="m")
    design = SimpleNamespace(names=["(Intercept)"], matrix=np.ones((5, 1)))
    plain = SimpleNamespace(occasions=())
    group = SimpleNamespace(design=design, coefficients=table, links={terms[1]: "log"}, table=plain)
    found = population_of_group(group, terms)
    np.testing.assert_allclose(found.mean, [0.5, 2.0])
    # covariance: -.4 x .2 x 3
    np.testing.assert_allclose(found.covariance, [[0.04, -0.24], [-0.24, 9.0]])
    assert found.links == ("identity", "log")


@pytest.mark.parametrize("covariate", ["binary", "continuous"])
def test_an_effect_is_about_the_mean_of_the_population(fit, covariate):
    """Without variance between participants, they differ from the mean by the effect times the centred covariate."""
    played = []

    def simulate(model, equations, n_trials, n_blocks, seed):
        played.append(equations.coefficients.copy())
        return simulate_model(model, equations, TASK, n_trials, n_blocks, seed=seed).trials

    terms, mean = fitted_population(fit).terms, np.array([0.4, 0.5])
    position = terms.index(RATE)
    population = Population(terms, mean, np.zeros((2, 2)), ("identity", "identity"))
    design = StudyDesign.of("~ x", covariate, 1, {})
    plan = StudyPlan(players_of(fit, None, simulate), population, position, design, ("(Intercept)", "x"), 1, "ols", {})
    simulate_studies(plan, 8, 20, {"x": 0.1}, [0], [5])
    x = design.people(8, np.random.default_rng([5]))["x"]
    free = np.flatnonzero(fit.model.equations.status[0] == 1)
    shifts = played[0][:, free] - mean
    np.testing.assert_allclose(shifts[:, 1 - position], 0.0, atol=1e-12)
    np.testing.assert_allclose(shifts[:, position], 0.1 * (x - x.mean()), atol=1e-12)


def test_no_two_parts_of_the_studies_share_their_random_numbers(fit, monkeypatch):
    seeds = []

    def simulated(plan, n, n_trials, effects, studies, seed):
        seeds.append(tuple(seed))
        return simulate_studies(plan, n, n_trials, effects, studies, seed)

    monkeypatch.setattr(spicestat.studies.power, "simulate_studies", simulated)
    monkeypatch.setattr(spicestat.studies.power, "_PARTICIPANTS_AT_ONCE", 8)
    found = power(fit, n_participants=8, n_trials=40, effect=[0.0, 0.1], n_simulations=2, seed=7)
    assert len(set(seeds)) == len(seeds) == 4
    assert {seed[0] for seed in seeds} == {7}
    assert found.studies["estimate"].nunique() == 4


def test_each_study_is_of_its_own_participants(fit):
    found = power(fit, n_participants=8, n_trials=40, n_simulations=3)
    assert found.studies["estimate"].nunique() == 3


def test_draws_have_the_mean_spread_and_links_of_the_population():
    """20 000 draws: tolerances are 5 standard errors."""
    population = Population(
        (("m", "a"), ("m", "b")), np.array([0.0, 1.0]), np.array([[1.0, 0.5], [0.5, 1.0]]), ("logit", "log")
    )
    shift = np.zeros((20_000, 2))
    shift[:, 0] = 0.5
    drawn = population.draw(np.random.default_rng(1), shift)
    linked = np.column_stack([np.log(drawn[:, 0] / (1 - drawn[:, 0])), np.log(drawn[:, 1])])
    np.testing.assert_allclose(linked.mean(axis=0), [0.5, 1.0], atol=5 / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(linked.T), population.covariance, atol=5 * np.sqrt(2 / 20_000))


def test_counting():
    studies = pd.DataFrame(
        {
            "design": 1,
            "n_participants": 10,
            "n_trials": 40,
            "term": "x",
            "effect": 0.2,
            "estimate": [0.4, -0.3, 0.1, np.nan],
            "std_error": 0.1,
            "p_value": [0.01, 0.02, 0.3, np.nan],
            "conf_low": [0.2, -0.5, -0.1, np.nan],
            "conf_high": [0.6, -0.1, 0.3, np.nan],
            "converged": [True, True, True, False],
            "same_scale": True,
            "message": ["", "", "", "failed"],
        }
    )
    row = _summary(studies, 0.05).iloc[0]
    assert (row["power"], row["type_s"], row["share_withheld"], row["share_failed"]) == (0.5, 0.5, 0.0, 0.25)
    assert row["type_m"] == pytest.approx(0.35 / 0.2)
    assert row["coverage"] == pytest.approx(2 / 3)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx(wilson_interval(2, 4))
    assert isinstance(PowerResult(_summary(studies, 0.05), studies, {}).tidy(), pd.DataFrame)


def test_sizes_are_compared_on_one_scale_only():
    """A study whose group model chose another link counts for power, but says nothing about size and coverage."""
    studies = pd.DataFrame(
        {
            "design": 1,
            "n_participants": 10,
            "n_trials": 40,
            "term": "x",
            "effect": 0.2,
            "estimate": [0.4, 5.0],
            "std_error": 0.1,
            "p_value": [0.01, 0.01],
            "conf_low": [0.1, 4.8],
            "conf_high": [0.6, 5.2],
            "converged": True,
            "same_scale": [True, False],
            "message": "",
        }
    )
    row = _summary(studies, 0.05).iloc[0]
    assert (row["power"], row["coverage"], row["type_m"]) == (1.0, 1.0, pytest.approx(2.0))


def test_wilson_intervals_are_the_roots_of_their_equation():
    for successes, n in ((0, 5), (3, 7), (40, 40), (113, 200)):
        for limit in wilson_interval(successes, n):
            # |share - p| = 1.96 standard errors at p itself
            assert (successes / n - limit) ** 2 == pytest.approx(1.959963985**2 * limit * (1 - limit) / n, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"simulate": lambda *_: None}, "what is played"),
        ({"n_trials": 61, "n_blocks": 2}, "multiple"),
        ({"alpha": 1.0}, "alpha"),
        ({"covariates": "age"}, "unknown kind of covariate 'x'"),
        ({"covariates": {"age": "binary"}}, "not in the formula"),
        ({"covariates": "within"}, "n_occasions=2"),
        ({"n_occasions": 2, "formula": "~ x + (1 | participant)"}, "between occasions: the fit has none"),
        ({"shares": {"occasion": 0.3}}, "Allowed: none here"),
        ({"formula": "~ x + (1 | site)", "covariates": {"site": 4}}, "nothing of site"),
        ({"formula": "~ x + (1 | site)"}, "'site' is a grouping"),
        ({"formula": "~ x + (1 | site)", "covariates": {"site": 4}, "shares": {"site": 1.0}}, "share of 'site'"),
        ({"formula": "~ x * y"}, "several effects"),
        ({"effect": {"z": 0.3}}, "no columns of the design"),
        ({"n_participants": 3}, "n_participants"),
    ],
)
def test_settings_are_checked(fit, settings, match):
    with pytest.raises(ConfigError, match=match):
        power(fit, **settings)


def test_coefficients_and_structures_are_checked(fit):
    with pytest.raises(ConfigError, match="not estimated"):
        spice_power(fit, ("x", "y"), effect=1.0, n_participants=8, n_trials=40, environment=TASK)
    few = SpiceFit(fit.trials, _copy_with(fit, converged=np.zeros(12, dtype=bool)), fit.coefficients, fit.scores)
    with pytest.raises(DataError, match="too few participants"):
        fitted_population(few)


def _copy_with(fit, **changes):
    return fit.model.with_refit(replace(fit.model.refit, **changes))


def test_settings_of_the_group_model_are_checked_before_anything_is_simulated(fit):
    for settings, words in (({"estimatr": "ML"}, "no such setting"), ({"conf_levl": 0.9}, "did you mean 'conf_level'")):
        with pytest.raises(ConfigError, match=words):
            spice_power(fit, RATE, effect=0.1, n_participants=8, n_trials=60, n_simulations=10**6, **settings)
    with pytest.raises(ConfigError, match=r"write 0\.05"):
        spice_power(fit, RATE, effect=0.1, n_participants=8, n_trials=60, n_simulations=10**6, alpha=5)
