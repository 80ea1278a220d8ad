"""Ready-made models: each file has a class, its `SpiceConfig` and, in ``MODEL``, a description by which it is found."""

from importlib import import_module
from pkgutil import iter_modules

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
from spicestat.models.precoded.description import PrecodedModel
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


def _described() -> dict[str, PrecodedModel]:
    """Find the models: every file of this folder that says so by a `PrecodedModel` called ``MODEL``."""
    files = {found.name: import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)}
    return {name: file.MODEL for name, file in files.items() if hasattr(file, "MODEL")}


DESCRIBED: dict[str, PrecodedModel] = _described()
"""What each model's file says about it, by name."""
PRECODED: dict[str, tuple[type[BaseRNN], SpiceConfig]] = {
    name: (model.rnn_class, model.config) for name, model in DESCRIBED.items()
}
"""Model names of `spice_fit` and the command line, with class and config."""
