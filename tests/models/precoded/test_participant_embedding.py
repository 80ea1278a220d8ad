"""participant_embedding: learning_rate that always has an embedding."""

import pytest
from model_contract import BETA, NOT_CHOSEN, RATE, ModelContract
from numpy_learners import learning_rate

from spicestat.errors import ConfigError
from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, PRECODED, ParticipantEmbeddingRNN


class TestParticipantEmbedding(ModelContract):
    name = "participant_embedding"
    known = {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
    learner = staticmethod(learning_rate)


@pytest.mark.parametrize("n_participants", [0, -1])
def test_it_needs_participants(n_participants):
    with pytest.raises(ConfigError, match="number of participants"):
        ParticipantEmbeddingRNN(n_actions=2, n_participants=n_participants)


def test_its_equations_are_those_of_the_learning_rate_model():
    assert PRECODED["participant_embedding"][1] is LEARNING_RATE_RNN_CONFIG
