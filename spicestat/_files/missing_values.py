"""The argument ``missing``: which values mean "not there", in all columns or in some."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat._files.table_formats import as_numbers
from spicestat.errors import ConfigError

__all__ = ["MissingValues", "as_missing", "mark_missing", "remedy"]


@dataclass(frozen=True)
class MissingValues:
    """Which values are missing ones.

    Attributes
    ----------
    everywhere : tuple or None
        In all columns but those of ids; None where nothing was said about all columns.
    columns : mapping of str to tuple
        In these columns.
    """

    everywhere: tuple[Any, ...] | None
    columns: Mapping[str, tuple[Any, ...]]

    def settles(self, column: str) -> bool:
        """Say whether the user has decided about a column, so that codes in it are meant."""
        return self.everywhere is not None or column in self.columns

    def plain(self) -> list[Any] | dict[str, list[Any]] | None:
        """Return what was given, as JSON can hold it."""
        if self.everywhere is not None:
            return list(self.everywhere)
        return {name: list(values) for name, values in self.columns.items()} or None


def as_missing(missing: Any) -> MissingValues:
    """Check the argument ``missing``.

    Parameters
    ----------
    missing : value, sequence of values or mapping of str to such, optional
        Numbers and text.

    Raises
    ------
    ConfigError
        It is something else.

    Examples
    --------
    >>> as_missing({"age": -99}).columns, as_missing([-1, "NR"]).everywhere
    ({'age': (-99,)}, (-1, 'NR'))
    """
    if isinstance(missing, MissingValues):
        return missing
    if missing is None:
        return MissingValues(None, {})
    if isinstance(missing, Mapping):
        return MissingValues(None, {str(name): _values(values) for name, values in missing.items()})
    return MissingValues(_values(missing), {})


def _values(given: Any) -> tuple[Any, ...]:
    values = (given,) if isinstance(given, str) or not isinstance(given, Collection) else tuple(given)
    plain = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    odd = [value for value in plain if not isinstance(value, str | int | float)]
    if odd:
        raise ConfigError(
            "`missing` holds something that cannot be the value of a cell",
            got=repr(odd[0]),
            allowed="numbers and text: a list for all columns, or a mapping of columns to lists",
        )
    return plain


def mark_missing(
    frame: pd.DataFrame, missing: MissingValues, ids: Collection[str] = (), labels: Collection[str] = ()
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Make values missing, and numbers of text that has only numbers left.

    Parameters
    ----------
    frame : DataFrame
    missing : MissingValues
    ids : collection of str
        Columns that a list for all columns leaves alone.
    labels : collection of str
        Columns that stay text.

    Returns
    -------
    frame : DataFrame
        A copy where something has changed.
    counts : dict
        For each column the values that were found, as text, and how often.

    Examples
    --------
    >>> table = pd.DataFrame({"id": ["a", "b"], "age": ["31", "n.a."]})
    >>> marked, counts = mark_missing(table, as_missing({"age": ["n.a."]}))
    >>> marked["age"].tolist(), counts
    ([31.0, nan], {'age': {'n.a.': 1}})
    """
    changed: dict[str, pd.Series[Any]] = {}
    counts: dict[str, dict[str, int]] = {}
    for name in frame.columns:
        everywhere = () if name in ids else missing.everywhere or ()
        values = missing.columns.get(str(name), everywhere)
        hit = np.zeros(len(frame), dtype=bool)
        for value in values:
            own = _equal(frame[name], value)
            if own.any():
                hit |= own
                counts.setdefault(str(name), {})[str(value)] = int(own.sum())
        if hit.any():
            rest = frame[name].mask(hit)
            changed[name] = rest if name in ids or name in labels else as_numbers(rest)
    return (frame.assign(**changed) if changed else frame), counts


def _equal(column: pd.Series[Any], value: object) -> np.ndarray:
    """Say where a cell is a value: by text, or by number where both are numbers."""
    try:
        codes, uniques = pd.factorize(column)
    except TypeError:  # lists and the like
        return np.zeros(len(column), dtype=bool)
    same = np.array([_same(cell, value) for cell in uniques] + [False], dtype=bool)
    found: np.ndarray = same[codes]
    return found


def _same(cell: object, value: object) -> bool:
    if str(cell).strip() == str(value).strip():
        return True
    if isinstance(cell, bool | np.bool_) or isinstance(value, bool):
        return False
    try:
        return float(cell) == float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def remedy(column: str, values: Collection[object]) -> str:
    """Return the argument that makes values of a column missing.

    Examples
    --------
    >>> remedy("age", [-99.0, "n.a."])
    "missing={'age': [-99, 'n.a.']}"
    """
    plain = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return f"missing={{{column!r}: {plain!r}}}"
