"""Ctrl-C in places where Python would swallow it."""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_interrupts"]

_SECONDS = 0.02


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise a KeyboardInterrupt that Python swallows again, a moment later.

    Python prints and forgets whatever is raised in a callback of the garbage collector, of which JAX installs
    one, or while an object is deleted; without this, Ctrl-C at such a moment would do nothing.

    Examples
    --------
    >>> before = sys.unraisablehook
    >>> with kept_interrupts():
    ...     sys.unraisablehook is before
    False
    """
    before = sys.unraisablehook

    def raise_again(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # not from here, where it would be swallowed once more
            timer = threading.Timer(_SECONDS, _thread.interrupt_main)
            timer.daemon = True
            timer.start()
        else:
            before(unraisable)

    sys.unraisablehook = raise_again
    try:
        yield
    finally:
        sys.unraisablehook = before
