"""Studies: questions that take many fits or simulations to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spicestat._lazy import lazy_names

_HOMES = {
    "CardResult": "spicestat.studies.card",
    "CompareResult": "spicestat.studies.compare",
    "ModelSelection": "spicestat.studies.model_selection",
    "PipelinePermutation": "spicestat.studies.pipeline_permutation",
    "PowerResult": "spicestat.studies.power",
    "choice_curve_check": "spicestat.studies.choice_curves",
    "compare_models": "spicestat.studies.model_selection",
    "icc": "spicestat.studies.icc",
    "pipeline_permutation": "spicestat.studies.pipeline_permutation",
    "posterior_check": "spicestat.studies.posterior_check",
    "spice_card": "spicestat.studies.card",
    "spice_compare": "spicestat.studies.compare",
    "spice_power": "spicestat.studies.power",
    "spice_reliability": "spicestat.studies.reliability",
    "split_half": "spicestat.studies.icc",
}

__all__ = [
    "CardResult",
    "CompareResult",
    "ModelSelection",
    "PipelinePermutation",
    "PowerResult",
    "choice_curve_check",
    "compare_models",
    "icc",
    "pipeline_permutation",
    "posterior_check",
    "spice_card",
    "spice_compare",
    "spice_power",
    "spice_reliability",
    "split_half",
]

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow names that are found when used
    from spicestat.studies.card import CardResult as CardResult
    from spicestat.studies.card import spice_card as spice_card
    from spicestat.studies.choice_curves import choice_curve_check as choice_curve_check
    from spicestat.studies.compare import CompareResult as CompareResult
    from spicestat.studies.compare import spice_compare as spice_compare
    from spicestat.studies.icc import icc as icc
    from spicestat.studies.icc import split_half as split_half
    from spicestat.studies.model_selection import ModelSelection as ModelSelection
    from spicestat.studies.model_selection import compare_models as compare_models
    from spicestat.studies.pipeline_permutation import PipelinePermutation as PipelinePermutation
    from spicestat.studies.pipeline_permutation import pipeline_permutation as pipeline_permutation
    from spicestat.studies.posterior_check import posterior_check as posterior_check
    from spicestat.studies.power import PowerResult as PowerResult
    from spicestat.studies.power import spice_power as spice_power
    from spicestat.studies.reliability import spice_reliability as spice_reliability

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
