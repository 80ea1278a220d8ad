"""Integer codes for labels of any type: participants, actions, experiments, blocks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat.errors import ColumnError

__all__ = ["as_label", "code_labels", "labels_to_series", "sort_labels"]


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


def sort_labels(labels: Iterable[Hashable]) -> tuple[Hashable, ...]:
    """Sort distinct labels: numbers by value, then strings, then anything else by its printed form.

    Examples
    --------
    >>> sort_labels(["b", 10, "a", 2])
    (2, 10, 'a', 'b')
    """
    return tuple(sorted(set(labels), key=_sort_key))


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
    blank = {label for label in found if isinstance(label, str) and not label.strip()}
    if isinstance(series.dtype, pd.CategoricalDtype):
        present = set(found)
        labels = tuple(label for label in map(as_label, series.cat.categories) if label in present)
    else:
        labels = sort_labels(found)
    labels = tuple(label for label in labels if label not in blank)
    position = {label: code for code, label in enumerate(labels)}
    # a missing value is code -1; an empty text is one, as R's read.csv() reads empty cells of text columns so
    recode = np.array([position.get(label, -1) for label in found] + [-1], dtype=np.int64)
    return recode[codes], labels


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
