"""Ctrl-C raises KeyboardInterrupt inside the context, and everything is as before after it."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

import pytest

from spicestat.r.interrupts import _get_c_handler, _set_c_handler, plain_interrupts


def as_reticulate_does(number: int, frame: FrameType | None) -> None:
    raise RuntimeError("(Unknown exception occurred)")


@pytest.fixture
def odd_handlers() -> object:
    """Install a Python handler that raises the wrong error, and no handler in C (SIG_IGN)."""
    before = signal.signal(signal.SIGINT, as_reticulate_does)
    _set_c_handler(1)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("odd_handlers")
def test_an_interrupt_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), plain_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


@pytest.mark.usefixtures("odd_handlers")
def test_both_handlers_are_put_back() -> None:
    with plain_interrupts():
        assert _get_c_handler() != 1
    assert signal.getsignal(signal.SIGINT) is as_reticulate_does
    assert _get_c_handler() == 1


def test_other_threads_leave_the_handlers_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with plain_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
