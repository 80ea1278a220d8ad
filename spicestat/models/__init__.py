"""Models: networks whose modules sparse equations can replace, and what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spicestat._lazy import lazy_names

_HOMES = {
    "BaseRNN": "spicestat.models.base",
    "EnsembleEmbedding": "spicestat.models.pieces",
    "ResidualModule": "spicestat.models.pieces",
    "ScalingConstant": "spicestat.models.pieces",
    "SpiceConfig": "spicestat.models.config",
}

__all__ = [
    "BaseRNN",
    "EnsembleEmbedding",
    "ResidualModule",
    "ScalingConstant",
    "SpiceConfig",
]

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow names that are found when used
    from spicestat.models.base import BaseRNN as BaseRNN
    from spicestat.models.config import SpiceConfig as SpiceConfig
    from spicestat.models.pieces import EnsembleEmbedding as EnsembleEmbedding
    from spicestat.models.pieces import ResidualModule as ResidualModule
    from spicestat.models.pieces import ScalingConstant as ScalingConstant

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
