"""Rescorla-Wagner and forgetting have no inverse temperature, so that their scale is identified."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.estimate.refit import refit
from spicestat.simulate import Parameter, simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

CHOSEN, NOT_CHOSEN = "x_value_reward_chosen", "x_value_reward_not_chosen"
RATE, BETA = "x_learning_rate_reward", ("beta", "x_value_reward")
ALPHA, FORGET = 0.3, {"rescorla_wagner": 0.0, "forgetting": 0.25}


def truth(name, alpha, forget, beta):
    """Coefficients of a learner with values from .5, in log odds."""
    chosen = {(CHOSEN, "1"): -0.5 * alpha * beta, (CHOSEN, CHOSEN): 1 - alpha, (CHOSEN, "c_reward"): alpha * beta}
    return chosen | ({(NOT_CHOSEN, NOT_CHOSEN): 1 - forget} if name == "forgetting" else {})


def cohort(name, n_participants=20, beta=3.0, seed=1):
    parameters = {
        "alpha": Parameter(ALPHA, 0.1, {}, 0.05, 0.95),
        "forget": Parameter(FORGET[name]),
        "beta": Parameter(beta, 0.6, {}, 0.5, 20.0),
    }
    found = simulate_cohort(n_participants, 200, n_blocks=4, parameters=parameters, seed=seed)
    return found, SequenceDataset.from_trials(read_trials(found.trials, block="block", trial="trial"))


@pytest.mark.parametrize("name", list(FORGET))
def test_they_express_the_textbook_learner(name, build, equations_of):
    """Same choice probabilities as the learning-rate model with beta, alpha and values from .5."""
    _, data = cohort(name, 3)
    forget = FORGET[name]
    fixed = {(NOT_CHOSEN, "1"): 0.5 * forget, (NOT_CHOSEN, NOT_CHOSEN): 1 - forget}
    textbook = equations_of("learning_rate", 3, {(RATE, "1"): ALPHA, BETA: 3.0} | fixed)
    expected = equation_logits(build("learning_rate", 2, 3), data, textbook)
    found = equation_logits(build(name, 2, 3), data, equations_of(name, 3, truth(name, ALPHA, forget, 3.0)))
    where = data.valid
    torch.testing.assert_close(torch.softmax(found, -1)[where], torch.softmax(expected, -1)[where], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(FORGET))
def test_nobody_is_unidentified(name, build, equations_of):
    """With free values and an inverse temperature, 38 % of such a cohort were (forgetting, beta 3)."""
    _, data = cohort(name)
    start = equations_of(name, 20, truth(name, ALPHA, FORGET[name], 3.0))
    result = refit(build(name, 2, 20), data, start)
    assert not result.unidentified.any()
    error = np.sqrt(np.diagonal(result.covariance, axis1=1, axis2=2))
    position = start.terms.index((CHOSEN, "c_reward"))
    assert np.median(error[:, position] / result.equations.coefficients[:, position]) < 0.35


def test_rewards_in_other_units_only_change_the_coefficient_of_the_reward(build, equations_of):
    _, data = cohort("forgetting", 4)
    points = replace(data, rewards=data.rewards * 20)
    start = truth("forgetting", ALPHA, 0.25, 3.0)
    one = refit(build("forgetting", 2, 4), data, equations_of("forgetting", 4, start))
    start[CHOSEN, "c_reward"] /= 20
    many = refit(build("forgetting", 2, 4), points, equations_of("forgetting", 4, start))
    factor = np.array([1 / 20 if term == "c_reward" else 1.0 for _, term in one.equations.terms])
    np.testing.assert_allclose(many.log_likelihood, one.log_likelihood, atol=1e-6)
    np.testing.assert_allclose(many.equations.coefficients, one.equations.coefficients * factor, atol=1e-3)
