"""Every precoded model is the learner that its documentation names."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.estimate.refit import refit
from spicestat.errors import ConfigError
from spicestat.models.precoded import (
    LEARNING_RATE_RNN_CONFIG,
    PRECODED,
    RESCOLA_WAGNER_CONFIG,
    RESCORLA_WAGNER_CONFIG,
    ParticipantEmbeddingRNN,
)
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

CHOSEN, NOT_CHOSEN, RATE = "x_value_reward_chosen", "x_value_reward_not_chosen", "x_learning_rate_reward"
UP, DOWN, OTHER = "x_learning_rate_positive", "x_learning_rate_negative", "x_learning_rate_counterfactual"
CHOICE, MEMORY = "x_value_choice", "x_value_memory"
BETA = ("beta", "x_value_reward")
LOG_ODDS = {(CHOSEN, "1"): -0.4, (CHOSEN, CHOSEN): 0.7, (CHOSEN, "c_reward"): 0.9}
FORGET = {(NOT_CHOSEN, "1"): 0.1, (NOT_CHOSEN, NOT_CHOSEN): 0.8}
EVERY_RATE = {(RATE, "1"): 0.3, (RATE, RATE): 0.1, (RATE, "c_reward"): 0.2, (RATE, "c_value_reward"): -0.15}
KNOWN = {
    "rescorla_wagner": LOG_ODDS,
    "forgetting": LOG_ODDS | FORGET,
    "learning_rate": EVERY_RATE | FORGET | {BETA: 4.0},
    "choice": EVERY_RATE | FORGET | {(CHOICE, CHOICE): 0.6, (CHOICE, "c_action"): -0.4, BETA: 3.0},
    "participant_embedding": {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0},
    "asymmetric": {(UP, "1"): 0.5, (UP, UP): 0.1, (UP, "c_value_reward"): -0.2}
    | {(DOWN, "1"): 0.1, (DOWN, DOWN): -0.1, (DOWN, "c_value_reward"): 0.3}
    | FORGET
    | {BETA: 3.0},
    "counterfactual": EVERY_RATE
    | {(OTHER, "1"): 0.2, (OTHER, OTHER): 0.1, (OTHER, "c_reward"): -0.1, (OTHER, "c_value_reward"): 0.15}
    | {BETA: 3.0},
    "working_memory": {(RATE, "1"): 0.2, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
    | {(MEMORY, f"c_choice_lag{lag}"): 0.4 - 0.1 * lag for lag in range(4)}
    | {(MEMORY, f"c_reward_lag{lag}"): 1.0 - 0.3 * lag for lag in range(4)},
}
ELSEWHERE = {"drift_diffusion"}
"""Models with a test file of their own."""


def ragged_data(n_actions, seed=0):
    """Return three participants with blocks of different lengths, missing choices and missing rewards.

    Half of the rewards of actions that were not chosen are shown.
    """
    rng = np.random.default_rng(seed)
    table = simulate_cohort(3, 40, n_blocks=2, n_actions=n_actions, seed=seed).trials.astype({"reward": "float64"})
    table = table.drop(table.index[table["trial"].gt(12) & table["block"].eq(2)])
    table = table.astype({"choice": "float64"})
    table.loc[rng.random(len(table)) < 0.1, "reward"] = np.nan
    table.loc[rng.random(len(table)) < 0.1, ["choice", "reward"]] = np.nan
    data = SequenceDataset.from_trials(read_trials(table, block="block", trial="trial"))
    shown = torch.from_numpy(rng.integers(0, 2, data.rewards.shape).astype("float32"))
    chosen = (data.actions > 0) | ~data.valid[..., None]
    hidden = torch.from_numpy(rng.random(data.rewards.shape) < 0.5)
    return replace(data, rewards=torch.where(chosen, data.rewards, torch.where(hidden, torch.nan, shown)))


def test_every_model_is_tested_against_numpy():
    assert set(KNOWN) | ELSEWHERE == set(PRECODED) | ELSEWHERE


@pytest.mark.parametrize("n_actions", [2, 3])
@pytest.mark.parametrize("name", list(KNOWN))
def test_equations_are_the_learner_they_say_to_be(name, n_actions, build, equations_of, numpy_logits):
    data = ragged_data(n_actions)
    equations = equations_of(name, 3, KNOWN[name])
    model = build(name, n_actions, 3)
    logits = equation_logits(model, data, equations).numpy()
    expected = numpy_logits(name, data, equations.coefficients, equations.terms)
    where = data.valid.numpy()
    np.testing.assert_allclose(logits[where], expected[where], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(KNOWN))
def test_refit_reports_the_log_likelihood_of_an_independent_learner(name, build, equations_of, numpy_log_likelihood):
    data = ragged_data(2, seed=3)
    result = refit(build(name, 2, 3), data, equations_of(name, 3, KNOWN[name]))
    expected = numpy_log_likelihood(name, data, result.equations.coefficients, result.equations.terms)
    np.testing.assert_allclose(result.log_likelihood, expected, rtol=0, atol=1e-10)


def test_quadratic_terms_of_the_state_and_products_agree_with_numpy(build, equations_of, numpy_logits):
    data = ragged_data(2, seed=5)
    values = {(CHOSEN, "1"): 0.1, (CHOSEN, "x_value_reward_chosen^2"): 0.4, (CHOSEN, f"{CHOSEN} c_reward"): 0.5}
    equations = equations_of("rescorla_wagner", 3, values, degree=2)
    logits = equation_logits(build("rescorla_wagner"), data, equations).numpy()
    expected = numpy_logits("rescorla_wagner", data, equations.coefficients, equations.terms)
    np.testing.assert_allclose(logits[data.valid], expected[data.valid], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["learning_rate", "participant_embedding"])
def test_oracle_likelihood_at_the_simulated_parameters(name, build, equations_of):
    """The cohort's own probabilities are those of the learning-rate model at the true parameters."""
    cohort = simulate_cohort(4, 60, n_blocks=2, n_actions=3, seed=2)
    data = SequenceDataset.from_trials(read_trials(cohort.trials, block="block", trial="trial"))
    truth = cohort.truth
    values = {
        (RATE, "1"): truth["alpha"],
        (NOT_CHOSEN, "1"): 0.5 * truth["forget"],
        (NOT_CHOSEN, NOT_CHOSEN): 1 - truth["forget"],
        BETA: truth["beta"],
    }
    logits = equation_logits(build(name, 3, 4), data, equations_of(name, 4, values))
    log_probability = torch.log_softmax(logits, dim=-1).gather(-1, data.targets[..., None]).squeeze(-1)
    assert float(-log_probability[data.mask].mean()) == pytest.approx(cohort.oracle_nll, abs=1e-12)


def test_rescorla_wagner_keeps_the_values_of_actions_not_chosen(build):
    model = build("rescorla_wagner", 3)
    xs = torch.tensor([[[1.0, 0, 0, 1, 0, 0, 0]]])
    with torch.no_grad():
        _, state = model(xs, batch_first=True)
    value = state["x_value_reward"][0]
    assert value[1:].tolist() == [0.0, 0.0]
    assert value[0] != 0.0


@pytest.mark.parametrize("n_participants", [0, -1])
def test_participant_embedding_needs_participants(n_participants):
    with pytest.raises(ConfigError, match="number of participants"):
        ParticipantEmbeddingRNN(n_actions=2, n_participants=n_participants)


@pytest.mark.parametrize("name", ["rescorla_wagner", "forgetting", "learning_rate"])
def test_negative_numbers_of_participants_are_refused(name, build):
    with pytest.raises(ConfigError, match="n_participants"):
        build(name, 2, -1)


@pytest.mark.parametrize("name", list(KNOWN))
def test_each_module_of_the_config_is_a_network_of_the_class(name, build):
    assert sorted(build(name, 2, 2).submodules_rnn) == sorted(PRECODED[name][1].rnn_modules)


@pytest.mark.parametrize("name", ["rescorla_wagner", "forgetting", "learning_rate"])
def test_without_participants_there_is_one_network_for_everybody(name, build):
    model = build(name, 2)
    xs = torch.tensor([[[1.0, 0, 1, 0, 0]], [[1.0, 0, 1, 0, 7]]])
    logits, _ = model(xs, batch_first=True)
    assert torch.equal(logits[0], logits[1])
    assert not hasattr(model, "participant_embedding")


@pytest.mark.parametrize("name", list(KNOWN))
def test_participants_differ_by_their_embedding(name, build):
    model = build(name, 2, 2)
    xs = torch.tensor([[[1.0, 0, 1, 0, 0]], [[1.0, 0, 1, 0, 1]]])
    logits, _ = model(xs, batch_first=True)
    assert not torch.equal(logits[0], logits[1])


def test_the_spelling_of_the_spice_documentation_is_kept():
    assert RESCOLA_WAGNER_CONFIG is RESCORLA_WAGNER_CONFIG
    assert PRECODED["participant_embedding"][1] is LEARNING_RATE_RNN_CONFIG
