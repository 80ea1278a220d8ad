"""Ready-made models; each has a class and a `SpiceConfig`."""

from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.asymmetric import (
    ASYMMETRIC_RNN_CONFIG,
    INTERACTION_RNN_CONFIG,
    AsymmetricRNN,
    InteractionRNN,
)
from spicestat.models.precoded.choice import CHOICE_RNN_CONFIG, ChoiceRNN
from spicestat.models.precoded.counterfactual import COUNTERFACTUAL_RNN_CONFIG, CounterfactualRNN
from spicestat.models.precoded.declared import DeclaredModel, ModelDeclaration, ModuleDeclaration
from spicestat.models.precoded.drift_diffusion import DRIFT_DIFFUSION_CONFIG, DriftDiffusionRNN
from spicestat.models.precoded.forgetting import FORGETTING_RNN_CONFIG, ForgettingRNN
from spicestat.models.precoded.learning_rate import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.models.precoded.participant_embedding import ParticipantEmbeddingRNN
from spicestat.models.precoded.rescorla_wagner import RESCOLA_WAGNER_CONFIG, RESCORLA_WAGNER_CONFIG, RescorlaWagnerRNN
from spicestat.models.precoded.working_memory import WORKING_MEMORY_RNN_CONFIG, WorkingMemoryRNN

__all__ = [
    "ASYMMETRIC_RNN_CONFIG",
    "CHOICE_RNN_CONFIG",
    "COUNTERFACTUAL_RNN_CONFIG",
    "DRIFT_DIFFUSION_CONFIG",
    "FORGETTING_RNN_CONFIG",
    "INTERACTION_RNN_CONFIG",
    "LEARNING_RATE_RNN_CONFIG",
    "PRECODED",
    "RESCOLA_WAGNER_CONFIG",
    "RESCORLA_WAGNER_CONFIG",
    "WORKING_MEMORY_RNN_CONFIG",
    "AsymmetricRNN",
    "ChoiceRNN",
    "CounterfactualRNN",
    "DeclaredModel",
    "DriftDiffusionRNN",
    "ForgettingRNN",
    "InteractionRNN",
    "LearningRateRNN",
    "ModelDeclaration",
    "ModuleDeclaration",
    "ParticipantEmbeddingRNN",
    "RescorlaWagnerRNN",
    "WorkingMemoryRNN",
]

PRECODED: dict[str, tuple[type[BaseRNN], SpiceConfig]] = {
    "rescorla_wagner": (RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG),
    "forgetting": (ForgettingRNN, FORGETTING_RNN_CONFIG),
    "learning_rate": (LearningRateRNN, LEARNING_RATE_RNN_CONFIG),
    "choice": (ChoiceRNN, CHOICE_RNN_CONFIG),
    "participant_embedding": (ParticipantEmbeddingRNN, LEARNING_RATE_RNN_CONFIG),
    "asymmetric": (AsymmetricRNN, ASYMMETRIC_RNN_CONFIG),
    "counterfactual": (CounterfactualRNN, COUNTERFACTUAL_RNN_CONFIG),
    "working_memory": (WorkingMemoryRNN, WORKING_MEMORY_RNN_CONFIG),
    "drift_diffusion": (DriftDiffusionRNN, DRIFT_DIFFUSION_CONFIG),
}
"""Model names of `spice_fit` and the command line, with class and config."""
