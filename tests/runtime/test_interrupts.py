"""Ctrl-C ends whatever is going on, also where Python would swallow it."""

import gc
import os
import signal
import sys
import time

import pytest

from spicestat._runtime.interrupts import kept_interrupts


class Raises:
    """An object that is interrupted while it is deleted."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)


def test_an_interrupt_in_a_destructor_is_raised():
    with pytest.raises(KeyboardInterrupt), kept_interrupts():
        Raises()
        time.sleep(5)


def test_an_interrupt_in_a_callback_of_the_garbage_collector_is_raised():
    """JAX installs such a callback."""
    calls = []

    def callback(*_):
        if not calls:
            calls.append(1)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    gc.callbacks.append(callback)
    try:
        with pytest.raises(KeyboardInterrupt), kept_interrupts():
            gc.collect()
            time.sleep(5)
    finally:
        gc.callbacks.remove(callback)
    assert calls


def test_other_errors_go_where_they_went(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))

    class Broken:
        def __del__(self):
            raise ZeroDivisionError

    with kept_interrupts():
        Broken()
    assert seen == [ZeroDivisionError]
