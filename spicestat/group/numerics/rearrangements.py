"""Permutations and sign flips of participants: all of them where they are few, otherwise a random sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np

from spicestat._checks import seed_number
from spicestat.errors import DataError, ShapeError

__all__ = ["Rearrangements", "permutation_rows", "restrict_permutations", "sign_flips"]


@dataclass(frozen=True)
class Rearrangements:
    """Permutations or sign flips of n participants; the first leaves everybody where they are.

    Attributes
    ----------
    rows : ndarray of shape (R, n)
        Permutations: row numbers, int. Sign flips: 1.0 and -1.0.
    exact : bool
        Whether these are all there are, so that p-values have no Monte Carlo error.
    """

    rows: np.ndarray
    exact: bool


def permutation_rows(
    n: int, n_permutations: int = 9999, *, seed: int = 0, strata: Sequence[Any] | np.ndarray | None = None
) -> Rearrangements:
    """Return permutations of n rows: all of them if there are at most ``n_permutations``, else a random sample.

    Parameters
    ----------
    n : int
        At least 2.
    n_permutations : int, default 9999
        How many to draw, beside the identity.
    seed : int, default 0
        The same seed gives the same permutations.
    strata : sequence of length n, optional
        Labels; rows are only exchanged within a label.

    Raises
    ------
    DataError
        No two rows can be exchanged.
    ShapeError
        ``strata`` is not of length n.

    Examples
    --------
    >>> permutation_rows(3).rows.tolist()
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    >>> permutation_rows(4, strata=["a", "a", "b", "b"]).rows.tolist()
    [[0, 1, 2, 3], [0, 1, 3, 2], [1, 0, 2, 3], [1, 0, 3, 2]]
    """
    blocks = _blocks(n, strata)
    total = math.prod(math.factorial(len(block)) for block in blocks)
    if total < 2:
        raise DataError(
            "no two participants can be exchanged, so there is nothing to permute",
            got=f"{n} participants" + ("" if strata is None else f" in {len(blocks)} strata"),
        )
    if total <= n_permutations:
        rows = np.tile(np.arange(n), (total, 1))
        for row, orders in enumerate(product(*(permutations(block.tolist()) for block in blocks))):
            for block, order in zip(blocks, orders, strict=True):
                rows[row, block] = order
        return Rearrangements(rows, exact=True)
    rng = np.random.default_rng(seed_number(seed))
    rows = np.tile(np.arange(n, dtype="int32"), (n_permutations + 1, 1))
    for block in blocks:
        rows[1:, block] = rng.permuted(rows[1:, block], axis=1)
    return Rearrangements(rows, exact=False)


def sign_flips(n: int, n_permutations: int = 9999, *, seed: int = 0) -> Rearrangements:
    """Return sign flips of n residuals: all of them if there are at most ``n_permutations``, else a random sample.

    Examples
    --------
    >>> sign_flips(2).rows.tolist()
    [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    """
    if n < 1:
        raise DataError("there is nobody whose sign could be flipped", got=f"{n} participants")
    if n < 63 and 2**n <= n_permutations:
        return Rearrangements(np.array(list(product((1.0, -1.0), repeat=n))), exact=True)
    rows = np.ones((n_permutations + 1, n), dtype="float32")
    rows[1:] = np.random.default_rng(seed_number(seed)).choice((1.0, -1.0), size=(n_permutations, n))
    return Rearrangements(rows, exact=False)


def restrict_permutations(rows: np.ndarray, subset: np.ndarray) -> np.ndarray:
    r"""Restrict permutations of all participants to some of them.

    Each participant of the subset takes the first of the subset that comes up in
    :math:`\pi(i), \pi(\pi(i)), \dots`, which takes everyone else out of the cycles of :math:`\pi`. A uniform
    permutation stays uniform, and participants who do not meet an absent one keep their place, so that
    equations with a few different participants are still permuted together.

    Parameters
    ----------
    rows : ndarray of int, shape (R, n)
        Permutations.
    subset : ndarray of int, shape (m,)
        Rows that stay, increasing.

    Returns
    -------
    ndarray of int, shape (R, m)
        Permutations of 0, ..., m - 1.

    Examples
    --------
    >>> restrict_permutations(np.array([[2, 0, 3, 1]]), np.array([0, 2, 3])).tolist()
    [[1, 2, 0]]
    """
    kept = np.zeros(rows.shape[1], dtype=bool)
    kept[subset] = True
    found = rows[:, subset]
    while True:
        lost = ~kept[found]
        if not lost.any():
            break
        found = np.where(lost, np.take_along_axis(rows, found, axis=1), found)
    return np.searchsorted(subset, found)


def _blocks(n: int, strata: Sequence[Any] | np.ndarray | None) -> list[np.ndarray]:
    if strata is None:
        return [np.arange(n)]
    labels = list(strata)
    if len(labels) != n:
        raise ShapeError("`strata` does not match the participants", got=len(labels), allowed=n)
    members: dict[Any, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    return [np.array(rows) for rows in members.values()]
