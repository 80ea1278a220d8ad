"""Values that look like codes for "missing" (-1, 99, "NR", ...), labels that look alike, numbers stored as text."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.missing_values import MissingValues, remedy
from spicestat.errors import CovariateError, DataError, SuspiciousDataWarning, warn_user
from spicestat.trials.labels import alike, label_key

__all__ = ["is_code", "notice_alike", "notice_choices", "notice_covariates", "notice_numbers"]

_ENDINGS = (7, 8, 9)
_LARGE = frozenset(
    float(sign * int(f"{digit}" * length)) for digit in _ENDINGS for length in (2, 3, 4, 5) for sign in (-1, 1)
) | frozenset(float(sign * (10**length - less)) for length in (2, 3, 4) for less in (2, 3) for sign in (-1, 1))
_SMALL = frozenset({-1.0, 0.0, 9.0, -9.0, -8.0, -7.0})
_NEGATIVE = frozenset(float(-number) for number in range(1, 10))
_WORDS = frozenset(
    ("na", "nan", "n/a", "#n/a", "n.a.", "n.a", "<na>", "nr", "n.r.", ".", "-", "--", "?", "missing", "miss", "missed")
)
# what may be a category of people ("none") says nothing of the kind as a choice
_CHOICE_WORDS = _WORDS | {
    "none", "null", "undefined", "omission", "omitted", "timeout", "time out", "too slow", "tooslow", "late",
    "no response", "noresponse", "no_response", "no resp", "noresp", "nil", "invalid",
}  # fmt: skip
_WARN_OFTEN_AT, _WARN_AT, _REFUSE_AT = 1.0, 1.5, 7.5
_RARE_CHOICE, _RARE_NUMBER = 0.25, 0.1
_FEWEST = 5
_MOSTLY = 0.8


def is_code(label: object) -> bool:
    """Say whether a choice's label looks like a code for "missed".

    Examples
    --------
    >>> [is_code(label) for label in (-1, "-99", "NR", "left", 1)]
    [True, True, True, False, False]
    """
    return _is_sure_code(label) or _as_number(label_key(label)) in _SMALL | _NEGATIVE


def _is_sure_code(label: object) -> bool:
    """Say whether a label is a word for "missed" or a number that no key or option has, such as -99."""
    text = label_key(label)
    return text.casefold() in _CHOICE_WORDS or _as_number(text) in _LARGE


def _as_number(text: str) -> float:
    """Return a number that text says, also with a decimal comma; else NaN."""
    try:
        return float(text.replace(",", ".", 1))
    except ValueError:
        return float("nan")


def notice_choices(
    codes: npt.NDArray[np.int64],
    labels: Sequence[Hashable],
    rewards: npt.NDArray[np.float64],
    times: npt.NDArray[np.float64] | None,
    column: str,
    missing: MissingValues,
) -> None:
    """Warn of labels that look like codes for missed trials: they never pay, have no response time, or say so.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Choices as positions in ``labels``, -1 where missing.
    labels : sequence
    rewards : ndarray, shape (n, k)
        The reward columns as read; NaN where missing.
    times : ndarray of shape (n,), optional
        Response times, in any unit.
    column : str
    missing : MissingValues
        Nothing is said where it settles the column.
    """
    if missing.settles(column) or len(labels) < 3:
        return
    made = codes >= 0
    for code, label in enumerate(labels):
        own = codes == code
        share = own.sum() / max(made.sum(), 1)
        word = label_key(label).casefold() in _CHOICE_WORDS
        if not own.any() or share > (0.5 if word else _RARE_CHOICE) or np.isnan(rewards[own]).all():
            continue
        why = None
        if times is not None and _untimed(times[own], times[made & ~own]):
            why = "which never have a response time"
        elif is_code(label) and _constant(rewards[own]) and not _constant(rewards[made & ~own]):
            why = "whose reward is always the same"
        elif _is_sure_code(label):
            why = "which is no usual name of an option"
        if why is not None:
            warn_user(
                f"{own.sum()} trials ({100 * share:.0f} %) have the label {label!r} in choice column '{column}', {why}"
                f": it looks like a code for missed trials. If it is, pass {remedy(column, [label])}; if it is an "
                f"action, {remedy(column, [])} or actions=[...] says so",
                SuspiciousDataWarning,
            )


def _constant(values: npt.NDArray[np.float64]) -> bool:
    present = values[~np.isnan(values)]
    return present.size > 0 and bool((present == present[0]).all())


def _untimed(own: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> bool:
    return not (own > 0).any() and float((others > 0).mean()) > _MOSTLY


def notice_numbers(
    values: npt.ArrayLike, column: str, what: str, missing: MissingValues, *, refuse: bool = True
) -> None:
    """Warn of numbers that look like codes for "missing", or refuse them where no other reading makes sense.

    A number such as 99, -9 or -999 is refused where it lies 7.5 or more interquartile ranges beyond all other values
    (with an interquartile range of 0, their range counts). A warning is given from 1.5 of them, from 1 where it occurs
    5 times or more, and where it is the only negative value or the only one besides two, as 9 is besides 0 and 1.

    Parameters
    ----------
    values : array, shape (n,)
        NaN where missing.
    column : str
    what : {"reward", "response time", "input", "covariate"}
        For the message.
    missing : MissingValues
        Nothing is said where it settles the column.
    refuse : bool, default True
        False gives warnings only.

    Raises
    ------
    DataError
        A code was found where no number could be.
    CovariateError
        The same, in a covariate.

    Examples
    --------
    >>> from spicestat._files.missing_values import as_missing
    >>> notice_numbers([31, 44, 25, 38, 29, -99, 51], "age", "covariate", as_missing(None))
    Traceback (most recent call last):
      ...
    spicestat.errors.CovariateError: covariate column 'age' has the value -99 in 1 of 7 rows, far from all others...
    """
    if missing.settles(column):
        return
    numbers = np.asarray(values, dtype="float64")
    numbers = numbers[np.isfinite(numbers)]
    distinct, counts = np.unique(numbers, return_counts=True)
    for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        if value not in _LARGE and (value not in _SMALL or count > _RARE_NUMBER * len(numbers)):
            continue
        rest = numbers[(numbers != value) & ~np.isin(numbers, list(_LARGE - {value}))]
        strength = _strength(value, rest)
        if strength < (_WARN_OFTEN_AT if count >= _FEWEST else _WARN_AT) and not _stands_alone(value, rest):
            continue
        sure = strength >= _REFUSE_AT and value != 0 and (value in _LARGE or count > 1)
        _tell_number(value, count, len(numbers), column, what, refuse=refuse and sure)


def _strength(value: float, rest: npt.NDArray[np.float64]) -> float:
    """Return the distance of a value from all others, in their interquartile ranges."""
    large = value in _LARGE
    if len(rest) < (2 if large else _FEWEST) or rest.min() <= value <= rest.max():
        return 0.0
    low, high = float(rest.min()), float(rest.max())
    if low == high and not large:
        return 0.0
    quartiles = np.quantile(rest, (0.25, 0.75))
    scale = float(quartiles[1] - quartiles[0]) or high - low or max(abs(high), 1.0)
    return (value - high if value > high else low - value) / scale


def _stands_alone(value: float, rest: npt.NDArray[np.float64]) -> bool:
    """Say whether a value is the only negative one, or lies outside where all others are one of two."""
    n_other = len(np.unique(rest))
    if len(rest) < _FEWEST or n_other < 2:
        return False
    return bool(value < 0 <= rest.min()) or (n_other == 2 and not rest.min() <= value <= rest.max())


def _tell_number(value: float, count: int, n: int, column: str, what: str, *, refuse: bool) -> None:
    found = f"{what} column '{column}' has the value {value:g} in {count} of {n} rows"
    do = (
        f"if it stands for a missing value, pass {remedy(column, [value])}; if it is real, {remedy(column, [])} says so"
    )
    if refuse:
        kind = CovariateError if what == "covariate" else DataError
        raise kind(f"{found}, far from all others, and it is a usual code for missing values", do=do)
    warn_user(f"{found}, which looks like a code for missing values: {do}", SuspiciousDataWarning)


def notice_alike(labels: Sequence[Hashable], column: str, what: str) -> None:
    """Warn of labels that differ only in case, blanks, zeros around a number or how Unicode writes a character."""
    groups = alike(labels)
    if groups:
        shown = "; ".join(", ".join(map(repr, group)) for group in groups[:3]) + ("; ..." if len(groups) > 3 else "")
        warn_user(
            f"{what} column '{column}' has labels that differ only in case, blanks or zeros around a number, and count "
            f"as different: {shown}; correct them if they mean the same",
            SuspiciousDataWarning,
        )


def notice_covariates(people: pd.DataFrame, missing: MissingValues, *, used: Collection[str] = ()) -> None:
    """Look at every column of a table of people for codes, labels that are alike, and numbers that came as text.

    Parameters
    ----------
    people : DataFrame
        Covariates alone, one row per participant.
    missing : MissingValues
        Columns that it settles are left alone, but for labels that are alike.
    used : collection of str, default ()
        Columns that a model uses: there, what can be nothing but a code is an error.

    Raises
    ------
    CovariateError
        A covariate in ``used`` has a value that makes no sense.
    """
    for name in map(str, people.columns):
        column = people[name]
        if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            if column.dtype.kind != "c":
                values = column.to_numpy(dtype="float64", na_value=np.nan)
                notice_numbers(values, name, "covariate", missing, refuse=name in used)
        elif column.dtype == object or isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype):
            _notice_text(column.dropna(), name, missing, used=name in used)


def _notice_text(column: pd.Series[Any], name: str, missing: MissingValues, *, used: bool) -> None:
    levels = [value for value in column.unique().tolist() if isinstance(value, str)]
    notice_alike(levels, name, "covariate")
    if missing.settles(name) or not levels:
        return
    # a column of Excel's may hold numbers and text side by side
    numbers = np.array([np.isfinite(_as_number(label_key(value))) for value in column], dtype=bool)
    odd = column[~numbers].unique().tolist()
    words = [level for level in levels if level.strip().casefold() in _WORDS or (odd and _as_number(level) in _LARGE)]
    share = float(numbers.mean())
    if odd and share >= _MOSTLY and numbers.sum() >= 3:
        shown = ", ".join(map(repr, odd[:5]))
        found = f"covariate column '{name}' is text because of {shown} among {numbers.sum()} numbers"
        do = f"correct the cells or, where they stand for missing values, pass {remedy(name, odd[:5])}"
        if used and set(odd) <= set(words):
            raise CovariateError(found, do=do)
        warn_user(f"{found}; as categories each number would have an effect of its own: {do}", SuspiciousDataWarning)
    elif words:
        count = int(column.isin(words).sum())
        warn_user(
            f"covariate column '{name}' has {', '.join(map(repr, words))} in {count} of {len(column)} rows, which "
            f"counts as a category of its own: if it stands for a missing value, pass {remedy(name, words)}; if not, "
            f"{remedy(name, [])} says so",
            SuspiciousDataWarning,
        )
    elif (
        not odd
        and len(levels) > _FEWEST
        and not any(level.strip()[:1] == "0" != level.strip() and level.strip()[1:2].isdigit() for level in levels)
    ):
        warn_user(
            f"covariate column '{name}' has numbers that are stored as text, and counts as {len(levels)} categories: "
            "convert it, for example with astype(float), if it is meant as a number",
            SuspiciousDataWarning,
        )
