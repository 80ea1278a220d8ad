"""Group models: relate equation coefficients to covariates of the participants (no torch, no pysindy)."""

from spicestat.group.api import spice_group
from spicestat.group.result import GroupResult

__all__ = ["GroupResult", "spice_group"]
