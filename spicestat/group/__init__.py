"""Group models: relate equation coefficients to covariates of the participants (no torch, no pysindy)."""

from spicestat.group.api import spice_group
from spicestat.group.inputs.contract import Posterior, Presence
from spicestat.group.result import GroupResult, load_group

__all__ = ["GroupResult", "Posterior", "Presence", "load_group", "spice_group"]
