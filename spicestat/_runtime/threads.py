"""Torch's threads and random state, which all Python threads share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from spicestat._runtime.blas import one_blas_thread

__all__ = ["one_thread", "seeded"]

_RANDOM = threading.RLock()
_COUNT = threading.Lock()
_inside: list[int] = []
"""Numbers of threads that torch had when each block of `one_thread` began, of those that have not ended."""


@contextmanager
def seeded(seed: int, devices: Sequence[Any] = ()) -> Iterator[None]:
    """Let torch draw from a seed inside the block, and leave its random state as it was.

    Torch has one random state for all threads of Python, so that one block waits for another to end.
    """
    with _RANDOM, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread inside the block: small tensors only lose by more, and sums stay reproducible.

    Torch has one number for all threads of Python: it goes back to what it was when the last block ends.
    """
    with _COUNT:
        _inside.append(torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        with _COUNT:
            before = _inside.pop()
            if not _inside:
                torch.set_num_threads(before)
