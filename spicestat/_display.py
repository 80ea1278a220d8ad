"""How results are displayed: within a screen of text, or as a small block of HTML in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

import pandas as pd

__all__ = ["html_block", "screen", "shortlist"]

_LINES, _COLUMNS = 25, 100
_ROWS, _CELL = 10, 40


def screen(text: str, more: str) -> str:
    r"""Return a text of at most 25 lines of at most 100 characters; ``more`` says where the rest is.

    Examples
    --------
    >>> print(screen("\n".join("abc" * 10), "tidy()").splitlines()[-1])
    (6 more lines: see tidy())
    """
    lines = [
        piece
        for line in text.splitlines()
        for piece in (
            textwrap.wrap(line, _COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
            if len(line) > _COLUMNS
            else [line]
        )
    ]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"({len(lines) - _LINES + 1} more lines: see {more})"]
    return "\n".join(lines)


def shortlist(names: Sequence[object], limit: int = 8) -> str:
    """Return a few names, and how many more there are.

    Examples
    --------
    >>> shortlist(["a", "b", "c"], 2), shortlist([])
    ('a, b and 1 more', 'none')
    """
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    shown = (_short(str(name)) for name in names[:limit])
    return (", ".join(shown) or "none") + more


def html_block(title: str, notes: Sequence[str], frame: pd.DataFrame | None = None) -> str:
    """Return a heading, a few lines and the first rows of a table as HTML; whatever the data hold is shown as text.

    Examples
    --------
    >>> html_block("Fit", ["<b>"])
    '<div><strong>Fit</strong><br>&lt;b&gt;</div>'
    """
    lines = [f"<strong>{escape(_short(title, 3 * _COLUMNS))}</strong>"]
    lines += [escape(_short(note, 3 * _COLUMNS)) for note in notes[:_ROWS]]
    parts = ["<br>".join(lines)]
    if frame is not None:
        parts.append(_table(frame))
    return f"<div>{''.join(parts)}</div>"


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(_short(str(name)))}</th>" for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_short(_cell(value)))}</td>" for value in row) + "</tr>"
        for row in frame.head(_ROWS).itertuples(index=False, name=None)
    )
    left = len(frame) - _ROWS
    more = f"<em>{left} more rows</em>" if left > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(text: str, width: int = _CELL) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
