"""One thread for the linear algebra of numpy and scipy, whatever the machine has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["on_one_blas_thread", "one_blas_thread"]

P = ParamSpec("P")
R = TypeVar("R")


class _Here(threading.local):
    """Whether this thread of Python is in a block."""

    inside = False


_here = _Here()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread inside the block.

    Our matrices are small and many. With more threads most of the time goes into waiting for each other: a group model
    of 92 occasions took 35 s of processor time with two threads, and 4 s with one.
    """
    if _here.inside:  # looking for the libraries takes milliseconds
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        _here.inside = True
        try:
            yield
        finally:
            _here.inside = False


def on_one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in a block of `one_blas_thread`, so that warnings still point at the line of the user."""

    @wraps(function)
    def limited(*arguments: P.args, **settings: P.kwargs) -> R:
        with one_blas_thread():
            return function(*arguments, **settings)

    return limited
