"""Results written where `--out` says: a table or a figure, by the ending of the file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spicestat.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_figure", "check_result", "print_or_write", "write_figure", "write_result"]

_FIGURES = (".png", ".svg", ".pdf")
_DPI = 200


def check_result(out: Path | None) -> None:
    """Refuse what `write_result` could not write, before anything is computed.

    Raises
    ------
    StorageError
    """
    from spicestat._files.atomic import check_file_target
    from spicestat._files.tables import check_table_target

    if out is not None:
        (check_file_target if _is_figure(out) else check_table_target)(out)


def check_figure(out: Path) -> None:
    """Refuse what `write_figure` could not write, before anything is computed.

    Raises
    ------
    ConfigError, StorageError
    """
    if not _is_figure(out):
        raise ConfigError("this is no name of a figure", got=str(out), allowed=f"a name that ends in {_FIGURES}")
    check_result(out)


def write_result(table: pd.DataFrame, plot: Callable[[], Any], out: Path | None) -> None:
    """Write the table, or the figure that ``plot`` draws (an Axes or a Figure), and say so."""
    if out is None:
        return
    if _is_figure(out):
        write_figure(plot(), out)
    else:
        _write(table, out)


def write_figure(drawn: Any, out: Path) -> None:
    """Write a figure, or that of an Axes."""
    from spicestat._files.atomic import write_file

    buffer = io.BytesIO()
    figure = getattr(drawn, "figure", drawn)
    figure.savefig(buffer, format=out.suffix[1:].lower(), dpi=_DPI, bbox_inches="tight")
    write_file(out, buffer.getvalue())
    typer.echo(f"written to {out}")


def print_or_write(table: pd.DataFrame, out: Path | None) -> None:
    """Print a table as CSV, or write it to a file."""
    from spicestat._files.tables import csv_text

    if out is None:
        typer.echo(csv_text(table), nl=False)
    else:
        _write(table, out)


def _write(table: pd.DataFrame, out: Path) -> None:
    from spicestat._files.tables import write_table

    write_table(table, out)
    typer.echo(f"{len(table)} rows written to {out}")


def _is_figure(out: Path) -> bool:
    return out.suffix.lower() in _FIGURES
