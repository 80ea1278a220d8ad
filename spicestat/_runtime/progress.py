"""Progress reports, and a line a minute with the time left for long work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "heartbeat", "silent"]

Progress = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, message)."""


def silent(_stage: str, _done: int, _total: int, _message: str) -> None:
    """Report nothing."""


@contextmanager
def heartbeat(say: Callable[[str], object], what: str, seconds: float = 60.0) -> Iterator[Progress]:
    """Say every so often that work goes on, until the block ends.

    Parameters
    ----------
    say : callable
        Called with one line; from a thread of its own.
    what : str
        What is going on until a stage is reported.
    seconds : float, default 60
        Between two lines, and before the first.

    Yields
    ------
    callable
        Takes reports of progress (stage, done, total, message), from which the estimate is made.

    Examples
    --------
    >>> with heartbeat(print, "Fitting") as report:
    ...     report("rnn", 1, 10, "")
    """
    ended, stage = threading.Event(), _Stage(what)

    def beat() -> None:
        while not ended.wait(seconds):
            say(stage.line(time.monotonic()))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield stage.report
    finally:
        ended.set()
        thread.join()


class _Stage:
    """What is going on, since when, and how far it is."""

    def __init__(self, name: str) -> None:
        self.name, self.began, self.done, self.total = name, time.monotonic(), 0, 0

    def report(self, stage: str, done: int, total: int, _message: str) -> None:
        if stage != self.name:
            self.name, self.began = stage, time.monotonic()
        self.done, self.total = done, total

    def line(self, now: float) -> str:
        taken = now - self.began
        if not self.total:
            return f"{self.name}: {_span(taken)} so far"
        left = f", about {_span(taken * (self.total - self.done) / self.done)} left" if self.done else ""
        return f"{self.name}: {self.done} of {self.total}, {_span(taken)} so far{left}"


def _span(seconds: float) -> str:
    """Return a length of time in words.

    Examples
    --------
    >>> _span(59), _span(150), _span(9000)
    ('59 s', '2.5 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"
