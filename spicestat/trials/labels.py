"""Labels and their integer codes, and the rule for when two labels are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat.errors import ColumnError, CovariateError, SuspiciousDataWarning, warn_user

__all__ = [
    "alike",
    "as_label",
    "code_labels",
    "label_key",
    "labels_to_series",
    "match_labels",
    "sort_labels",
    "tidy_text",
]

_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
# zero-width characters and byte-order marks, which nobody sees
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))


def as_label(value: Any) -> Hashable:
    """Return a value as a plain Python label.

    NumPy scalars become Python scalars, integer-valued floats become ints (one missing value turns
    a whole integer column into floats) and dates become ISO 8601 strings.

    Examples
    --------
    >>> as_label(np.float64(2.0)), as_label(2.5), as_label("2"), as_label(np.bool_(True))
    (2, 2.5, '2', True)
    >>> as_label(pd.Timestamp("2026-01-31"))
    '2026-01-31T00:00:00'
    """
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, date):  # datetime and Timestamp are dates, too
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    label: Hashable = value
    return label


def label_key(label: object) -> str:
    """Return what a label says, by which labels are told apart and matched, in trials, people and group models.

    ``1``, ``1.0`` and ``"1"`` say the same; so do texts that differ in surrounding blanks, in characters that
    nobody sees, or in the way in which Unicode writes a letter. ``"01"``, ``"1.10"`` and ``"P1"`` are other labels
    than ``"1"``, ``"1.1"`` and ``"p1"``.

    Examples
    --------
    >>> [label_key(label) for label in (1, 1.0, "1", " s01 ", np.int64(7), 2.5)]
    ['1', '1', '1', 's01', '7', '2.5']
    """
    plain = as_label(label)
    if isinstance(plain, str):
        return plain if plain.isalnum() and plain.isascii() else _visible(plain)
    return str(plain) if isinstance(plain, bool | int | float) else repr(plain)


def _visible(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(_INVISIBLE)).strip()


def _loose_key(label: object) -> str:
    """Return what is left of a label without case, blanks and zeros in front of numbers."""
    text = unicodedata.normalize("NFKC", label_key(label)).casefold()
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", "".join(text.split()))
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def alike(labels: Iterable[Hashable]) -> list[list[Hashable]]:
    """Group labels that differ only in case, blanks, zeros around a number or how Unicode writes a character.

    Examples
    --------
    >>> alike(["f", "F", "m", "1.1", "1.10", "007", "7"])
    [['f', 'F'], ['007', '7']]
    """
    groups: dict[str, list[Hashable]] = {}
    for label in labels:
        groups.setdefault(_loose_key(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def match_labels(
    labels: Sequence[Hashable], offered: Sequence[Hashable], *, here: str, there: str
) -> npt.NDArray[np.int64]:
    """Return the position of each label among those that another table offers, -1 where it is not there.

    Parameters
    ----------
    labels, offered : sequence
        No two of either may say the same; see `label_key`.
    here, there : str
        What the tables of ``labels`` and ``offered`` are called.

    Raises
    ------
    CovariateError
        A label is not there, but one that looks like it: ``"01"`` and ``"1"``, ``"P1"`` and ``"p1"``.

    Examples
    --------
    >>> match_labels([1, "b"], ["a", "1"], here="the trials", there="the people table").tolist()
    [1, -1]
    """
    row_of = {label_key(label): row for row, label in enumerate(offered)}
    rows = np.array([row_of.get(label_key(label), -1) for label in labels], dtype=np.int64)
    taken = set(rows.tolist())
    spare = {_loose_key(label): label for row, label in enumerate(offered) if row not in taken}
    lost = (label for label, row in zip(labels, rows.tolist(), strict=True) if row < 0)
    pairs = [(label, spare[_loose_key(label)]) for label in lost if _loose_key(label) in spare]
    if pairs:
        shown = ", ".join(f"{own!r} and {other!r}" for own, other in pairs[:3])
        raise CovariateError(
            f"ids of {len(pairs)} participant{'s' if len(pairs) > 1 else ''} look alike, but are not the same in "
            f"{here} and in {there}",
            got=shown + (", ..." if len(pairs) > 3 else ""),
            do="write them the same way in both tables; zeros in front stay where ids are read as text",
        )
    return rows


def sort_labels(labels: Iterable[Hashable]) -> tuple[Hashable, ...]:
    """Sort distinct labels: numbers by value, then strings, then anything else by its printed form.

    Strings that all are numbers, as labels from files may be, are sorted by value, too.

    Examples
    --------
    >>> sort_labels(["b", 10, "a", 2]), sort_labels(["10", "9", "1.10", "1.1"])
    ((2, 10, 'a', 'b'), ('1.1', '1.10', '9', '10'))
    """
    distinct = set(labels)
    if distinct and all(isinstance(label, str) and _PLAIN_NUMBER.fullmatch(label.strip()) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (float(str(label)), str(label))))
    return tuple(sorted(distinct, key=_sort_key))


def _sort_key(label: Hashable) -> tuple[int, float, str]:
    if isinstance(label, bool | int | float):
        return 0, label, ""
    if isinstance(label, str):
        return 1, 0, label
    return 2, 0, f"{type(label).__name__} {label!r}"


def code_labels(series: pd.Series[Any], what: str = "label") -> tuple[npt.NDArray[np.int64], tuple[Hashable, ...]]:
    """Code the distinct labels of a column as 0, 1, ... in sorted order.

    Parameters
    ----------
    series : Series
        Labels of any hashable type. A categorical keeps the order of its categories; categories
        that do not occur get no code.
    what : str, default "label"
        Role of the column, for the error message.

    Returns
    -------
    codes : ndarray of int64, shape (n_rows,)
        Position of each label in ``labels``; -1 where the value is missing or blank text.
    labels : tuple
        The distinct labels as plain Python objects.

    Examples
    --------
    >>> codes, labels = code_labels(pd.Series([2.0, None, 1.0]))
    >>> codes.tolist(), labels
    ([1, -1, 0], (1, 2))
    """
    try:
        codes, uniques = pd.factorize(series)
    except TypeError as error:
        raise ColumnError(
            f"{what} column '{series.name}' holds values that cannot be labels: {error}",
            do="recode it as numbers or strings",
        ) from error
    found = [as_label(value) for value in uniques]
    forms: dict[str, dict[Hashable, None]] = {}
    for label in found:
        forms.setdefault(label_key(label), {})[label] = None
    # a missing value is code -1; an empty text is one, as R's read.csv() reads empty cells of text columns so
    forms.pop("", None)
    name = {key: _one_form(key, list(labels)) for key, labels in forms.items()}
    _tell_merged(forms, what, series.name)
    if isinstance(series.dtype, pd.CategoricalDtype):
        keys = dict.fromkeys(key for label in series.cat.categories if (key := label_key(label)) in name)
        ordered = tuple(name[key] for key in keys)
    else:
        ordered = sort_labels(name.values())
    position = {label_key(label): code for code, label in enumerate(ordered)}
    recode = np.array([position.get(label_key(label), -1) for label in found] + [-1], dtype=np.int64)
    return recode[codes], ordered


def _one_form(key: str, labels: list[Hashable]) -> Hashable:
    return labels[0] if len(labels) == 1 else key


def _tell_merged(forms: dict[str, dict[Hashable, None]], what: str, column: object) -> None:
    merged = [list(labels) for labels in forms.values() if len(labels) > 1]
    if merged:
        shown = "; ".join(" and ".join(map(repr, labels)) for labels in merged[:3])
        warn_user(
            f"{what} column '{column}' writes {len(merged)} label{'s' if len(merged) > 1 else ''} in several ways that "
            f"differ in blanks, invisible characters or type only, and are taken for one: {shown}"
            f"{'; ...' if len(merged) > 3 else ''}",
            SuspiciousDataWarning,
        )


def tidy_text(column: pd.Series[Any], what: str) -> pd.Series[Any]:
    """Return a column in which blank text is missing, and text has no blanks around it; others as they are.

    Examples
    --------
    >>> tidy_text(pd.Series(["f ", " ", "m"]), "covariate").tolist()
    ['f', nan, 'm']
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories
        if all(not isinstance(level, str) or level == _visible(level) != "" for level in levels):
            return column
        codes, names = code_labels(column.astype(object).astype(pd.CategoricalDtype(levels)), what)
        tidied = pd.Categorical.from_codes(codes.tolist(), pd.Index([label_key(name) for name in names]))
        return pd.Series(tidied, index=column.index, name=column.name)
    if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return column
    texts = [value for value in column.dropna().tolist() if isinstance(value, str)]
    changed = {text: _visible(text) or None for text in set(texts) if text != _visible(text) or not _visible(text)}
    if not changed:
        return column
    forms: dict[str, dict[Hashable, None]] = {}
    for text in dict.fromkeys(texts):
        forms.setdefault(_visible(text), {})[text] = None
    forms.pop("", None)
    _tell_merged(forms, what, column.name)
    return column.map(lambda value: changed.get(value, value) if isinstance(value, str) else value).replace(
        {None: np.nan}
    )


def labels_to_series(labels: Iterable[Hashable], codes: npt.NDArray[np.int64] | None = None) -> pd.Series[Any]:
    """Return labels as a column, or the labels of ``codes`` (-1 gives a missing value).

    Examples
    --------
    >>> labels_to_series(("a", "b"), np.array([1, 0, 1])).tolist()
    ['b', 'a', 'b']
    """
    values = list(labels)
    if codes is None:
        codes = np.arange(len(values), dtype=np.int64)
    elif (codes < 0).any():
        values.append(None)
    plain = all(isinstance(value, bool) for value in values) or not any(isinstance(value, bool) for value in values)
    # pandas infers int64, float64, bool or str from plain labels; mixed labels and tuples stay objects
    plain = plain and not any(isinstance(value, tuple) for value in values)
    column = pd.Series(values) if plain else pd.Series(_object_array(values))
    return column.iloc[codes].reset_index(drop=True)


def _object_array(values: list[Any]) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # element by element: numpy would unpack tuples
        array[position] = value
    return array
