"""Ready-made models; each has a class and a `SpiceConfig`."""

from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.precoded.choice import CHOICE_RNN_CONFIG, ChoiceRNN
from spicestat.precoded.forgetting import FORGETTING_RNN_CONFIG, ForgettingRNN
from spicestat.precoded.learning_rate import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.precoded.participant_embedding import ParticipantEmbeddingRNN
from spicestat.precoded.rescorla_wagner import RESCOLA_WAGNER_CONFIG, RESCORLA_WAGNER_CONFIG, RescorlaWagnerRNN

__all__ = [
    "CHOICE_RNN_CONFIG",
    "FORGETTING_RNN_CONFIG",
    "LEARNING_RATE_RNN_CONFIG",
    "PRECODED",
    "RESCOLA_WAGNER_CONFIG",
    "RESCORLA_WAGNER_CONFIG",
    "ChoiceRNN",
    "ForgettingRNN",
    "LearningRateRNN",
    "ParticipantEmbeddingRNN",
    "RescorlaWagnerRNN",
]

PRECODED: dict[str, tuple[type[BaseRNN], SpiceConfig]] = {
    "rescorla_wagner": (RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG),
    "forgetting": (ForgettingRNN, FORGETTING_RNN_CONFIG),
    "learning_rate": (LearningRateRNN, LEARNING_RATE_RNN_CONFIG),
    "choice": (ChoiceRNN, CHOICE_RNN_CONFIG),
    "participant_embedding": (ParticipantEmbeddingRNN, LEARNING_RATE_RNN_CONFIG),
}
"""Model names of `spice_fit` and the command line, with class and config."""
