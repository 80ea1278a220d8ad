"""Cells of CSV files that a spreadsheet would execute as formulas."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

__all__ = ["as_cells", "from_cells"]

# an apostrophe in front is what spreadsheets themselves use for "this is text"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_CELL = re.compile(r"'+[=+\-@\t\r]")


def as_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before texts and column names that begin with ``=``, ``+``, ``-``, ``@``, tab or return.

    A spreadsheet would run them as formulas. Numbers that are written as text, such as ``-1``, stay.

    Examples
    --------
    >>> as_cells(pd.DataFrame({"id": ["=1+1", "-1", "a"]}))["id"].tolist()
    ["'=1+1", '-1', 'a']
    >>> from_cells(as_cells(pd.DataFrame({"id": ["=1+1", "'=1+1"]})))["id"].tolist()
    ['=1+1', "'=1+1"]
    """
    return _mapped(frame, lambda text: f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text)


def from_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the apostrophe away that `as_cells` puts before a text."""
    return _mapped(frame, lambda text: text[1:] if _CELL.match(text) else text)


def _mapped(frame: pd.DataFrame, change: Any) -> pd.DataFrame:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    result = frame.rename(columns=changed)
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        if isinstance(column.dtype, pd.CategoricalDtype):
            result.isetitem(
                position, column.cat.rename_categories([changed(value) for value in column.cat.categories]).array
            )
        elif column.dtype == object or isinstance(column.dtype, pd.StringDtype):
            result.isetitem(position, column.map(changed).astype(column.dtype).array)
    return result


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
