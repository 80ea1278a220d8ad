"""What every precoded model has to be: the learner that its page describes, and what all models share.

A model's own test file derives a class from `ModelContract`, so that these tests run for it:

    class TestForgetting(ModelContract):
        name = "forgetting"
        known = {("x_value_reward_chosen", "1"): -0.4, ...}  # coefficients at which the two are compared

        @staticmethod
        def learner(equations, actions, rewards, logits): ...  # see numpy_learners
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy_learners import log_likelihood_of, logits_of

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.estimate.refit import refit
from spicestat.models.precoded import PRECODED
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

# terms that several models share
RATE, NOT_CHOSEN, BETA = "x_learning_rate_reward", "x_value_reward_not_chosen", ("beta", "x_value_reward")
FORGET = {(NOT_CHOSEN, "1"): 0.1, (NOT_CHOSEN, NOT_CHOSEN): 0.8}
EVERY_RATE = {(RATE, "1"): 0.3, (RATE, RATE): 0.1, (RATE, "c_reward"): 0.2, (RATE, "c_value_reward"): -0.15}


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


class ModelContract:
    """Tests of one precoded model against an independent learner."""

    name = ""
    known = {}

    @staticmethod
    def learner(equations, actions, rewards, logits):
        raise NotImplementedError

    @pytest.mark.parametrize("n_actions", [2, 3])
    def test_equations_are_the_learner_they_say_to_be(self, n_actions, build, equations_of):
        data = ragged_data(n_actions)
        equations = equations_of(self.name, 3, self.known)
        logits = equation_logits(build(self.name, n_actions, 3), data, equations).numpy()
        expected = logits_of(self.learner, data, equations.coefficients, equations.terms)
        where = data.valid.numpy()
        np.testing.assert_allclose(logits[where], expected[where], rtol=0, atol=1e-12)

    def test_refit_reports_the_log_likelihood_of_an_independent_learner(self, build, equations_of):
        data = ragged_data(2, seed=3)
        # wherever it has come to in a few steps
        start = equations_of(self.name, 3, self.known)
        result = refit(build(self.name, 2, 3), data, start, starts=[], max_iter=3)
        expected = log_likelihood_of(self.learner, data, result.equations.coefficients, result.equations.terms)
        np.testing.assert_allclose(result.log_likelihood, expected, rtol=0, atol=1e-10)

    def test_each_module_of_the_config_is_a_network_of_the_class(self, build):
        assert sorted(build(self.name, 2, 2).submodules_rnn) == sorted(PRECODED[self.name][1].rnn_modules)

    def test_participants_differ_by_their_embedding(self, build):
        model = build(self.name, 2, 2)
        xs = torch.tensor([[[1.0, 0, 1, 0, 0]], [[1.0, 0, 1, 0, 1]]])
        logits, _ = model(xs, batch_first=True)
        assert not torch.equal(logits[0], logits[1])
