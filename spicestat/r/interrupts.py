"""Ctrl-C while Python runs inside R."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["plain_interrupts"]


@contextmanager
def plain_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, as it does in Python alone, and put R's handling back afterwards.

    reticulate's own handler calls R from within Python's, where R may find the same interrupt
    pending: with version 1.28 that gave a RuntimeError instead of KeyboardInterrupt, and later
    a segmentation fault. While this context is open, R does not hear of the signal.

    Examples
    --------
    >>> with plain_interrupts():
    ...     signal.getsignal(signal.SIGINT) is signal.default_int_handler
    True
    """
    python_handler = signal.getsignal(signal.SIGINT)
    if python_handler is None or threading.current_thread() is not threading.main_thread():
        # signal.signal() could not put these back
        yield
        return
    c_handler = _get_c_handler()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, python_handler)
        # signal.signal() knows nothing of the handler in C that R and reticulate share
        _set_c_handler(c_handler)


def _get_c_handler() -> int | None:
    function = ctypes.pythonapi.PyOS_getsig
    function.argtypes, function.restype = [ctypes.c_int], ctypes.c_void_p
    handler: int | None = function(signal.SIGINT)
    return handler


def _set_c_handler(handler: int | None) -> None:
    function = ctypes.pythonapi.PyOS_setsig
    function.argtypes, function.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    function(signal.SIGINT, handler)
