"""The page of a report: sections with texts, tables and figures in one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure

import spicestat
from spicestat._files.atomic import write_file
from spicestat.group.after.text import P_VALUES, p_value_text

__all__ = ["Picture", "Section", "Sheet", "picture", "sheet", "write_page"]

_MOST_ROWS = 400
_LEAST_PIXELS = 65  # per inch: the labels, of 8 points, are then 7 pixels high


@dataclass(frozen=True)
class Sheet:
    """A table whose cells are text, some columns numbers: shown at once, or when its caption is clicked."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure as base64 of a PNG, what it shows in words, and the width in pixels below which it scrolls."""

    png: str
    alt: str
    least_width: int


@dataclass(frozen=True)
class Section:
    """One section of the page, in this order."""

    title: str
    texts: Sequence[str] = ()
    lines: Sequence[str] = ()
    formulas: Sequence[Markup] = ()
    figures: Sequence[Picture] = ()
    tables: Sequence[Sheet] = ()


def sheet(frame: pd.DataFrame, caption: str, folded: bool = False) -> Sheet:
    """Write a frame as text: numbers with four digits, p-values with decimals, nothing for gaps, at most 400 rows.

    Examples
    --------
    >>> sheet(pd.DataFrame({"n": [3], "share": [1 / 3], "p_value": [2e-9], "who": [None]}), "Who").rows
    (('3', '0.3333', '<0.001', ''),)
    """
    shown = frame.head(_MOST_ROWS)
    if len(shown) < len(frame):
        caption = f"{caption} (the first {len(shown)} of {len(frame)} rows)"
    rows = tuple(
        tuple(_cell(value, name) for value, name in zip(row, frame.columns, strict=True))
        for row in shown.itertuples(index=False, name=None)
    )
    numeric = tuple(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes)
    return Sheet(caption, tuple(map(str, frame.columns)), rows, numeric, folded)


def _cell(value: object, name: str) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)) or value is pd.NA:
        return ""
    if not isinstance(value, float):
        return str(value)
    return p_value_text(value) if name in P_VALUES else f"{value:.4g}"


def picture(figure: Figure, alt: str) -> Picture:
    """Draw a figure; ``alt`` says in words what it shows."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    width = round(_LEAST_PIXELS * figure.get_figwidth())
    return Picture(base64.b64encode(buffer.getvalue()).decode("ascii"), alt, width)


def write_page(
    path: str | Path, title: str, summary: str, warnings: Sequence[str], sections: Sequence[Section]
) -> Path:
    """Write the page; everything that comes from data is escaped.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    template = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    ).from_string(files("spicestat.report").joinpath("templates/report.html").read_text(encoding="utf-8"))
    html = template.render(
        title=title, summary=summary, warnings=warnings, sections=sections, version=spicestat.__version__
    )
    write_file(path, html.encode())
    return Path(path)
