"""Tables of equations as text: what group results print, within the 80 columns of a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import pandas as pd

__all__ = ["P_VALUES", "equation_paragraphs", "p_value_text", "wrapped"]

_WIDTH = 80
P_VALUES = ("p_value", "p_adjusted")


def wrapped(text: str) -> str:
    """Break a text into lines that fit, indented from the second one on."""
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ")


def equation_paragraphs(frame: pd.DataFrame, labels: Sequence[str], numbers: Sequence[str]) -> str:
    """Return a paragraph for each equation, with columns that are aligned over all of them.

    Parameters
    ----------
    frame : DataFrame
        With ``module`` and ``sparse_term``.
    labels, numbers : sequence of str
        Columns to show; labels are cut where the numbers leave no room.

    Examples
    --------
    >>> frame = pd.DataFrame({"module": "beta", "sparse_term": "x_value", "term": ["(Intercept)", "age"],
    ...                       "estimate": [3.14159, -0.00031], "p_value": [1e-9, float("nan")]})
    >>> print(equation_paragraphs(frame, ["term"], ["estimate", "p_value"]))
    beta / x_value:
      term          estimate  p_value
      (Intercept)       3.14   <0.001
      age          -0.000310        -
    """
    header, *rows = _lines(frame, labels, numbers)
    names = [f"{module} / {term}:" for module, term in zip(frame["module"], frame["sparse_term"], strict=True)]
    paragraphs = [
        [name, header, *(row for row, own in zip(rows, names, strict=True) if own == name)]
        for name in dict.fromkeys(names)
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs)


def _lines(frame: pd.DataFrame, labels: Sequence[str], numbers: Sequence[str]) -> list[str]:
    right = [_column([name, *(_number(name, value) for value in frame[name])]) for name in numbers]
    taken = sum(2 + len(column[0]) for column in right)
    room = (_WIDTH - taken) // max(len(labels), 1) - 2
    left = [_column([name, *map(_label, frame[name])], room) for name in labels]
    return ["  " + "  ".join(cells).rstrip() for cells in zip(*left, *right, strict=True)]


def _column(cells: list[str], room: int | None = None) -> list[str]:
    """Pad numbers on the left, and labels, which have a ``room``, on the right."""
    if room is None:
        width = max(map(len, cells))
        return [cell.rjust(width) for cell in cells]
    cut = [cell if len(cell) <= room else f"{cell[: room - 1]}…" for cell in cells]
    width = max(map(len, cut))
    return [cell.ljust(width) for cell in cut]


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if name in P_VALUES:
        return p_value_text(value)
    return f"{value:#.3g}".rstrip(".")


def p_value_text(value: float) -> str:
    """Write a p-value with decimals, not digits: an adjusted value must not look smaller than the one it adjusts.

    Examples
    --------
    >>> p_value_text(0.0421), p_value_text(2e-9)
    ('0.042', '<0.001')
    """
    return "<0.001" if value < 0.001 else f"{value:.3f}"
