"""Covariates of a group model as a report says them: what is compared, and who has which level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.after.fitted import design_of
from spicestat.group.formula.functions import level_word
from spicestat.group.result import GroupResult

__all__ = ["UNKNOWN", "comparisons", "effect_words", "people_levels"]

UNKNOWN = "unknown"
_MOST_LEVELS = 4


def comparisons(group: GroupResult) -> list[str]:
    """Say what each factor's effects are differences from; nothing of other codings than treatment contrasts.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit, spice_group
    >>> cohort = simulate_cohort(12, 80, n_blocks=2, seed=4)
    >>> fit = spice_fit(cohort.trials, block="block", trial="trial", people=cohort.people)
    >>> comparisons(spice_group(fit, "~ diagnosis"))
    ['diagnosispatient is the difference of patient (n = 6) from control (n = 6), the first level of diagnosis.']
    """
    levels, frame, told = _treatment_levels(group), design_of(group).frame, []
    assert frame is not None  # else there are no levels
    for factor, (first, *others) in levels.items():
        n = Counter(map(level_word, frame[factor]))
        text = "; ".join(f"{factor}{level} is the difference of {level} (n = {n[level]})" for level in others)
        told.append(f"{text} from {first} (n = {n[first]}), the first level of {factor}.")
    return told


def effect_words(group: GroupResult) -> dict[str, str]:
    """Return what differences between levels are called in sentences, by their columns of the design.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit, spice_group
    >>> cohort = simulate_cohort(12, 80, n_blocks=2, seed=4)
    >>> fit = spice_fit(cohort.trials, block="block", trial="trial", people=cohort.people)
    >>> effect_words(spice_group(fit, "~ diagnosis + age"))
    {'diagnosispatient': 'diagnosis (patient - control)'}
    """
    levels = _treatment_levels(group).items()
    return {
        f"{factor}{level}": f"{factor} ({level} - {first})" for factor, (first, *others) in levels for level in others
    }


def _treatment_levels(group: GroupResult) -> dict[str, list[str]]:
    """Return the first level of each factor, and those of the others whose differences from it are in the design."""
    design, found = design_of(group), {}
    for factor, values in design.levels.items():
        first, *others = map(level_word, values)
        there = [level for level in others if f"{factor}{level}" in design.names]
        if there:
            found[factor] = [first, *there]
    return found


def people_levels(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult | None) -> tuple[str, Sequence[str]] | None:
    """Return the first covariate of a group model and the level of everybody in the fit, or None without one.

    Numbers are halved at the median; a factor with more than four levels has none here.
    """
    frame = None if group is None else design_of(group).frame
    people = None if group is None or group.table is None else group.table.people
    if frame is None or people is None or not len(frame.columns):
        return None
    name = str(frame.columns[0])
    if name not in people:
        return None
    own = people.drop_duplicates("participant").set_index("participant")[name].reindex(fit.trials.participants)
    if pd.api.types.is_bool_dtype(own) or not pd.api.types.is_numeric_dtype(own):
        levels = [UNKNOWN if pd.isna(value) else level_word(value) for value in own]
    else:
        middle = float(own.median())
        words = np.where(own > middle, f"above {middle:.3g}", f"up to {middle:.3g}")
        levels = [UNKNOWN if pd.isna(value) else str(word) for value, word in zip(own, words, strict=True)]
    return (name, levels) if 1 < len({*levels} - {UNKNOWN}) <= _MOST_LEVELS else None
