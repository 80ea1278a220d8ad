"""Columns that look like what was on the screen, and were not named."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat.errors import SuspiciousDataWarning, warn_user
from spicestat.trials.export_shapes import snake
from spicestat.trials.labels import label_key

__all__ = ["notice_unseen"]

Codes = npt.NDArray[np.int64]

_SHOWN = re.compile(
    r"(^|_)(stim(ulus|uli|uls)?|cue|image|img|picture|pic|symbol|pair|card|option|offer|item|state|condition|"
    r"set_?size|n_?stim(uli)?|amount|delay|magnitude|effort|risk)s?(_|$)"
)
_LATER = re.compile(r"2$|second|final|chosen|correct|outcome|feedback|reward")
"""What comes after the choice, as the second state of two, was not seen before it."""

_SIDES = re.compile(r"(^|_)(left|right|top|bottom|upper|lower|centre|center|middle|a|b|one|two|1|2)(_|$)")
_FEWEST_TRIALS, _MOST_LEVELS, _MANY_NUMBERS = 50, 0.5, 6


def notice_unseen(
    table: pd.DataFrame, choice: str, sequence: Codes, used: Collection[str], covariates: Collection[str]
) -> None:
    """Warn of columns that are called like what is on the screen, vary within blocks, and have no role.

    Parameters
    ----------
    table : DataFrame
        The trials as read.
    choice : str
        Its column of choices.
    sequence : ndarray of int64, shape (n_rows,)
        Which sequence of learning a row belongs to.
    used : collection of str
        Columns with any role.
    covariates : collection of str
        Those that describe people.
    """
    free = [str(name) for name in table.columns if name not in used and name not in covariates]
    free = [name for name in free if _SHOWN.search(snake(name)) and not _LATER.search(name.casefold())]
    found = [name for name in free if _varies_within(table[name], sequence)]
    if found:
        shown = ", ".join(map(repr, found[:4]))
        verbs = ("look", "have") if len(found) > 1 else ("looks", "has")
        warn_user(
            f"column{'s' if len(found) > 1 else ''} {shown} {verbs[0]} like what was on the screen and {verbs[1]} no "
            f"role, so that all trials count as one bandit: {_remedy(table, choice, found)}; drop what does not matter "
            "(docs/tasks.md)",
            SuspiciousDataWarning,
        )


def _varies_within(column: pd.Series[Any], sequence: Codes) -> bool:
    """Whether a column changes within most blocks, and repeats itself there, as what is shown does."""
    codes = pd.factorize(column)[0]
    there = codes >= 0
    if there.sum() < _FEWEST_TRIALS:
        return False
    levels = pd.Series(codes[there]).groupby(sequence[there]).nunique()
    return bool((levels > 1).mean() > 0.5 and levels.sum() <= _MOST_LEVELS * there.sum())


def _remedy(table: pd.DataFrame, choice: str, found: Sequence[str]) -> str:
    """Recommend the role that the columns' names and values suggest."""
    numbers = [
        name
        for name in found
        if pd.api.types.is_numeric_dtype(table[name].dtype) and table[name].nunique() > _MANY_NUMBERS
    ]
    sides = [name for name in found if _SIDES.search(name.casefold()) and name not in numbers]
    if len(sides) > 1:
        taken = [str(label) for label in table[choice].dropna().unique().tolist()]
        items = {label_key(label) for name in sides for label in table[name].dropna().unique().tolist()}
        if items & set(map(label_key, taken)):
            return f"pass options={sides[:2]!r}"
        by_place = {label: name for label in taken for name in sides if label.casefold() in name.casefold()}
        return f"pass options={by_place or {'<choice>': sides[0]}!r}, the item at each position"
    if numbers:
        return f"pass attributes={{'<name>': [...]}} with a column for each action, or context={numbers[0]!r}"
    return f"pass stimulus={found[0]!r} if each of its values is learned of, or context={found[0]!r}"
