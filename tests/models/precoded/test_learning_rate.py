"""learning_rate: a rate of its own in front of the prediction error."""

import pytest
import torch
from model_contract import BETA, EVERY_RATE, FORGET, NOT_CHOSEN, RATE, ModelContract
from numpy_learners import learning_rate

from spicestat.equations.estimate.forward import equation_logits
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset


class TestLearningRate(ModelContract):
    name = "learning_rate"
    known = EVERY_RATE | FORGET | {BETA: 4.0}
    learner = staticmethod(learning_rate)


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
