"""PrecodedModel: what a model's file says about the model, so that it is listed and found by name."""

from __future__ import annotations

from dataclasses import dataclass

from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig

__all__ = ["PrecodedModel"]


@dataclass(frozen=True)
class PrecodedModel:
    """A ready-made model; its file has one as ``MODEL``, and the file's name is the model's.

    Attributes
    ----------
    rnn_class : type of BaseRNN
    config : SpiceConfig
    adds : str
        What sets it apart from the other models, in a few words.
    coefficients : str
        Which coefficients to read, in a few words.
    """

    rnn_class: type[BaseRNN]
    config: SpiceConfig
    adds: str
    coefficients: str
