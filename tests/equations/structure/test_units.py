"""The unit of reward changes nothing but the unit of the coefficients."""

import numpy as np
import pytest

from spicestat import spice_group
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.equations.structure.units import in_unit_of_data, unit_factors
from spicestat.errors import ScaleWarning
from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.fit.play import simulate_fit
from spicestat.fit.predict import predict_choices
from spicestat.fit.splitting import spice_fit_split
from spicestat.fit.update import spice_update
from spicestat.models.precoded import (
    LEARNING_RATE_RNN_CONFIG,
    PRECODED,
    LearningRateRNN,
    ModelDeclaration,
    ModuleDeclaration,
)
from spicestat.simulate import simulate_cohort
from spicestat.studies.population import group_population
from spicestat.studies.power import spice_power

# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings(
    "ignore::spicestat.errors.ContradictionWarning", "ignore::spicestat.errors.ConvergenceWarning"
)

COHORT = simulate_cohort(6, 60, n_blocks=6, seed=4)
TRIALS = COHORT.trials
UNITS = {
    ("beta", "x_value_reward"): -1,
    ("x_value_reward_not_chosen", "1"): 1,
    ("x_learning_rate_reward", "c_reward"): -1,
    ("x_learning_rate_reward", "c_value_reward"): -1,
}
"""Powers of the unit of reward in the coefficients that have one, of the linear terms of the default model."""


def scaled_trials(scale):
    return TRIALS.assign(reward=scale * TRIALS["reward"])


@pytest.fixture(scope="module")
def plain():
    return spice_fit(TRIALS, people=COHORT.people, block="block", model="choice", epochs=5)


@pytest.fixture(scope="module", params=[25.0, 0.01])
def scaled(request):
    return request.param, spice_fit(
        scaled_trials(request.param), people=COHORT.people, block="block", model="choice", epochs=5
    )


def factors_of(table, scale):
    return np.array([scale ** UNITS.get(key, 0) for key in zip(table["module"], table["term"], strict=True)])


def test_structure_and_fit_are_the_same(plain, scaled):
    _, fit = scaled
    np.testing.assert_array_equal(fit.model.equations.status, plain.model.equations.status)
    np.testing.assert_allclose(fit.scores["nll"], plain.scores["nll"], atol=1e-9)


def test_coefficients_are_in_the_unit_of_the_data(plain, scaled):
    scale, fit = scaled
    factor = factors_of(plain.tidy(), scale)
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(fit.tidy()[column], factor * plain.tidy()[column], rtol=1e-9)
    own = factor[: plain.coefficients.covariance.shape[1]]
    np.testing.assert_allclose(
        fit.coefficients.covariance, plain.coefficients.covariance * np.outer(own, own), rtol=1e-9
    )


@pytest.mark.parametrize("method", ["hierarchical", "meta", "multivariate_meta", "mixed"])
def test_group_tests_are_the_same(method, plain, scaled):
    _, fit = scaled
    own, other = (spice_group(one, "~ anxiety", method=method, max_unidentified=1.0).tidy() for one in (plain, fit))
    np.testing.assert_allclose(own["p_value"], other["p_value"], atol=1e-6)


def test_what_is_shown_is_in_the_unit_of_the_data(scaled):
    scale, fit = scaled
    assert f"divided by {scale:g} inside" in repr(fit)
    beta = fit.tidy().query("module == 'beta'")["pooled"].iloc[0]
    text = fit.equations_frame().query("module == 'beta(x_value_reward)'")["equation"].iloc[0]
    assert text == f"beta(x_value_reward) = {beta:.3f}"
    assert set(simulate_fit(fit, n_trials=20, n_blocks=1)["reward"]) == {0.0, scale}
    assert fit.trials.to_frame()["reward"].max() == pytest.approx(scale)


def test_the_likelihood_in_the_unit_of_the_data(scaled):
    """It is that of the refit at the estimates, and its derivatives are those of small steps."""
    _, fit = scaled
    likelihood = fit.choice_likelihood()
    own = fit.coefficients.wide()[list(likelihood.terms)].to_numpy()
    value, gradient, _ = likelihood.derivatives(own)
    np.testing.assert_allclose(value, fit.model.refit.log_likelihood, rtol=1e-9)
    some = likelihood.select([2, 5])
    np.testing.assert_allclose(some.log_likelihood(own[None, [2, 5]])[0], value[[2, 5]], rtol=1e-12)
    away = 0.9 * own
    value, gradient, _ = likelihood.derivatives(away)
    for k in range(own.shape[1]):
        step = np.zeros_like(own)
        step[:, k] = 1e-6 * np.abs(own[:, k]).max()
        rise = (likelihood.log_likelihood((away + step)[None]) - likelihood.log_likelihood((away - step)[None]))[0]
        np.testing.assert_allclose(rise / 2, gradient[:, k] * step[:, k], rtol=1e-4, atol=1e-8)


def test_further_trials_are_read_in_the_unit_of_the_fit(plain, scaled, tmp_path):
    scale, fit = scaled
    unlucky = TRIALS.assign(reward=TRIALS["reward"].where(TRIALS["trial"] < 3, 0.0))
    expected = predict_choices(plain, unlucky)["p_1"]
    for one in (fit, load_fit(fit.save(tmp_path / "fit"))):
        found = predict_choices(one, unlucky.assign(reward=scale * unlucky["reward"]))["p_1"]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.fixture(scope="module")
def updated(plain):
    return spice_update(plain, TRIALS)


def test_updates_keep_the_unit(updated, scaled):
    scale, fit = scaled
    np.testing.assert_allclose(spice_update(fit, scaled_trials(scale)).scores["nll"], updated.scores["nll"], atol=1e-9)


def test_splits_keep_the_unit():
    settings = {"block": "block", "model": "rescorla_wagner", "epochs": 2}
    own, other = (spice_fit_split(part, **settings) for part in (TRIALS, scaled_trials(100.0)))
    np.testing.assert_allclose(other.scores["nll"], own.scores["nll"], atol=1e-9)


def test_studies_are_drawn_in_the_unit_of_the_data(plain, scaled):
    scale, fit = scaled
    own, other = (group_population(one, spice_group(one, "~ 1", max_unidentified=1.0)) for one in (plain, fit))
    factor = np.array([scale ** UNITS.get(term, 0) for term in own.terms])
    np.testing.assert_allclose(other.mean, factor * own.mean, rtol=1e-5)
    np.testing.assert_allclose(other.covariance, np.outer(factor, factor) * own.covariance, rtol=1e-4, atol=1e-12)
    drawn = spice_power(fit, "beta", effect=0.0, n_participants=8, n_trials=60, n_simulations=2, group=None)
    true = fit.coefficients.wide()[("beta", "x_value_reward")].median()
    estimated = drawn.studies["std_error"].median()
    # in another unit it would be off by the scale, 25 or 1/100
    assert 0.1 < estimated / true < 10.0


@pytest.mark.parametrize("model", ["declared", "counterfactual"])
def test_without_forgetting_not_even_the_zero_matters(model):
    """Gains and losses of one, or zero and one: the same values but for their zero and unit."""
    structures, nll = [], []
    for low, start in ((0.0, 0.5), (-1.0, 0.0)):
        rate = ModuleDeclaration("x_rate", "x_value", inputs=["c_reward"], kind="rate", cells="chosen")
        declared = ModelDeclaration(modules=[rate], states={"x_value": start})
        trials = TRIALS.assign(reward=low + (1 - low) * TRIALS["reward"])
        fit = spice_fit(trials, block="block", epochs=40, model=declared if model == "declared" else model)
        structures.append(fit.model.equations.status)
        nll.append(fit.scores["nll"].iloc[2])
    np.testing.assert_array_equal(*structures)
    assert nll[0] == pytest.approx(nll[1], abs=1e-6)


def test_values_start_in_the_middle_unless_the_model_says_otherwise():
    losses = TRIALS.assign(reward=-10.0 * TRIALS["reward"])
    fit = spice_fit(losses, block="block", epochs=1, model="learning_rate")
    assert fit.model.network.start_values["x_value_reward"] == -0.5
    assert "values start at -5" in " ".join(repr(fit).split())
    rate = ModuleDeclaration("x_rate", "x_value", kind="rate", cells="chosen")
    model = ModelDeclaration(modules=[rate], states={"x_value": -2.0})
    declared = spice_fit(losses, block="block", epochs=1, model=model)
    assert declared.model.network.start_values["x_value"] == pytest.approx(-0.2)


class NoUnitsRNN(LearningRateRNN):
    """Says nothing about units."""

    reward_units = None


def test_rewards_are_left_alone_where_the_model_does_not_know_its_units():
    with pytest.warns(ScaleWarning, match="reward_units"):
        fit = spice_fit(scaled_trials(10.0), block="block", epochs=1, model=(NoUnitsRNN, LEARNING_RATE_RNN_CONFIG))
    assert fit.trials.frame[["reward_0", "reward_1"]].max(axis=None) == 10.0
    assert (fit.model.unit_factors == 1).all()


@pytest.mark.parametrize("name", list(PRECODED))
def test_precoded_models_know_the_units_of_all_their_terms(name):
    rnn_class, config = PRECODED[name]
    model = rnn_class(n_actions=2, n_participants=2)
    named = {*config.rnn_modules, *config.control_parameters, *(set(model.betas) - set(model.bounds))}
    assert named <= set(model.reward_units)
    assert set(model.centred_states) <= set(model.init_values)


def declaration(**settings):
    rate = {"name": "x_rate", "target": "x_value", "kind": "rate", "cells": "chosen"}
    states = {"x_value": 0.0, "x_trace": 0.0}
    return ModelDeclaration(modules=[ModuleDeclaration(**(rate | settings))], states=states, hidden=["x_trace"])


def test_units_of_declared_models():
    units = declaration(inputs=["x_trace"]).reward_units
    assert (units["x_value"], units["x_rate"], units["c_trace"], units["c_reward"]) == (1, 0, 0, 1)
    assert declaration(toward="c_action").reward_units["x_value"] == 0
    # a value in log odds that is led to a reward: nobody knows in which unit
    rate = ModuleDeclaration("x_rate", "x_value", kind="rate", cells="chosen")
    assert ModelDeclaration(modules=[rate], states={"x_value": 0.0}, betas=[]).reward_units is None


def test_factors_of_products_and_powers():
    library = ModuleLibrary("x_value", ("x_value", "c_reward"), ((0, 0), (1, 0), (1, 1), (0, 2)))
    equations = EquationSet((library,), ("x_value",), np.ones((1, 5)), np.ones((1, 5), dtype="int8"))
    units = {"x_value": 1, "c_reward": 1}
    assert unit_factors(equations, units, 10.0).tolist() == pytest.approx([10.0, 1.0, 0.1, 0.1, 0.1])
    assert unit_factors(equations, None, 10.0).tolist() == [1.0] * 5
    shown = in_unit_of_data(equations, unit_factors(equations, units, 10.0))
    assert shown.coefficients[0, 0] == pytest.approx(10.0)
