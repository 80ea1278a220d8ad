"""Progress bars: in a terminal, in a notebook, and a line a minute elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from spicestat._runtime.progress import Progress, heartbeat

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["progress_bars"]

_STAGES = {
    "rnn": "Training the RNN",
    "equations": "Finding equations",
    "refit": "Estimating coefficients",
    "group": "Fitting the group model",
    "ladder": "Predicting left-out choices",
    "card": "Checking the study",
    "report": "Writing the report",
}


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[Progress]:
    """Show how far long work is: bars in a terminal or notebook, elsewhere a line a minute.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where bars and lines go. Default: standard error; in a notebook, below the cell.

    Yields
    ------
    callable
        What `spice_fit`, `spice_group`, `spice_ladder` and `spice_card` take as ``progress``.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> with progress_bars() as progress:
    ...     fit = spice_fit(simulate_cohort(4, 40, seed=1).trials, block="block", trial="trial", progress=progress)
    """
    display = _notebook() if console is None else None
    if display is not None:
        yield _Below(display)
        return
    from rich.console import Console

    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        with heartbeat(console.print, "Reading") as tell:
            yield lambda stage, *news: tell(_STAGES.get(stage, stage), *news)
        return
    with _terminal(console) as report:
        yield report


@contextmanager
def _terminal(console: Console) -> Iterator[Progress]:
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int, message: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES.get(stage, stage), total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=message)

        yield report


def _notebook() -> Any:
    """Return IPython's ``display`` in a notebook; None elsewhere."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    if interactive is None or shell is None or not hasattr(shell, "kernel"):
        return None
    return interactive.display.display


class _Below:
    """Bars below a notebook's cell: one piece of HTML that is replaced, which needs no widgets."""

    def __init__(self, display: Any) -> None:
        self._rows: dict[str, tuple[int, int, str]] = {}
        self._handle = display(self, display_id=True)

    def __call__(self, stage: str, done: int, total: int, message: str) -> None:
        self._rows[stage] = (done, total, message)
        self._handle.update(self)

    def __repr__(self) -> str:
        rows = ((_STAGES.get(stage, stage), *row) for stage, row in self._rows.items())
        return "\n".join(f"{stage}: {done}/{total} {message}" for stage, done, total, message in rows)

    def _repr_html_(self) -> str:
        rows = (
            f"{escape(_STAGES.get(stage, stage))} <progress value='{done}' max='{max(total, 1)}'></progress> "
            f"{escape(message)}"
            for stage, (done, total, message) in self._rows.items()
        )
        return f"<div>{'<br>'.join(rows)}</div>"
