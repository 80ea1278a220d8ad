"""What commands print: progress, tables, and errors as one line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from spicestat._runtime.bars import progress_bars
from spicestat._runtime.interrupts import kept_interrupts
from spicestat._runtime.progress import Progress
from spicestat.cli.given import as_spoken
from spicestat.errors import InputError, SpicestatError, SpicestatWarning

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FAILED", "INTERRUPTED", "reporting", "show", "shown_progress"]

_BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
_NO_MEMORY = ("allocate memory", "failed to map segment", "start new thread", "out of memory")
_errors = Console(stderr=True, highlight=False)


@contextmanager
def reporting() -> Iterator[None]:
    """Turn our errors and warnings into one line each on stderr, and errors into exit codes."""
    with kept_interrupts(), warnings.catch_warnings():
        warnings.simplefilter("always", SpicestatWarning)
        warnings.showwarning = lambda message, *_: _errors.print(
            f"warning: {as_spoken(message)}", style="yellow", markup=False, soft_wrap=True
        )
        try:
            yield
            # a full disk behind `>` would be noticed after the exit code
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # typer knows what `| head` is
        except SpicestatError as error:
            _say(as_spoken(error))
            raise typer.Exit(_BAD_INPUT if isinstance(error, InputError) else FAILED) from error
        except KeyboardInterrupt as error:
            _errors.print("interrupted; nothing was saved but the --checkpoint, if there is one")
            raise typer.Exit(INTERRUPTED) from error
        except (MemoryError, OSError, ImportError, RuntimeError) as error:
            if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
                _say(f"there is not enough memory ({error}). Try: fit fewer participants at once")
            elif isinstance(error, OSError):
                _say(f"the output cannot be written: {error}. Try: check rights and free space")
                _drop_output()
            else:
                raise
            # the traceback holds what did not fit
            raise typer.Exit(FAILED) from None


def _say(problem: str) -> None:
    _errors.print(f"error: {problem}", style="red", markup=False, soft_wrap=True)


def _drop_output() -> None:
    """Send what standard output still holds nowhere, as Python would fail with it once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Progress | None]:
    """Show progress on stderr, unless quiet."""
    if quiet:
        yield None
        return
    with progress_bars(_errors) as report:
        yield report


def show(frame: pd.DataFrame, title: str) -> None:
    """Print a data frame as a table."""
    table = Table(box=None, pad_edge=False)
    for name in frame.columns:
        table.add_column(name, justify="right" if frame[name].dtype.kind == "f" else "left", no_wrap=True)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    typer.echo(f"\n{title}")
    # a narrow terminal or a pipe wraps long lines, but must not cut numbers off
    Console(highlight=False, width=max(_errors.width, 160)).print(table)
