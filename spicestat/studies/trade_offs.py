"""Trade-offs: what choices cannot tell apart, from the information that they carry about coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.pooled.packed import Floats

__all__ = ["FlatDirection", "TradeOff", "flat_direction", "information_correlations", "trade_offs"]

_RIDGE = 1e-9
_EMPTY = 1e-10
_LOADING = 0.3


@dataclass(frozen=True)
class TradeOff:
    """Two coefficients and their correlation, of the size of the median over people; NaN where nobody has both."""

    first: int
    second: int
    correlation: float


@dataclass(frozen=True)
class FlatDirection:
    """Direction in which the choices of all people say least.

    Attributes
    ----------
    share : float
        Information in it, of what it would be if its coefficients had nothing in common.
    members : tuple of int
        Coefficients that take part.
    """

    share: float
    members: tuple[int, ...]


def information_correlations(information: Floats) -> Floats:
    """Correlate estimates that have the inverse of some information as their covariance.

    Parameters
    ----------
    information : ndarray of shape (N, K, K)
        Of each person's choices. Directions without information count as nearly without; coefficients without any
        have no correlations.

    Returns
    -------
    ndarray of shape (N, K, K)

    Examples
    --------
    >>> sum_alone = np.array([[[4.0, 4.0], [4.0, 4.0]]])
    >>> information_correlations(sum_alone).round(3).tolist()
    [[[1.0, -1.0], [-1.0, 1.0]]]
    """
    information = (information + information.transpose(0, 2, 1)) / 2.0
    diagonal = np.einsum("nkk->nk", information)
    largest = np.maximum(np.abs(np.nan_to_num(diagonal)).max(axis=1, keepdims=True), _EMPTY)
    known = np.asarray(np.isfinite(information).all(axis=(1, 2)))[:, None]
    told = np.asarray(known & (diagonal > _EMPTY * largest), dtype=np.bool_)
    scale = np.where(told, np.sqrt(np.where(told, diagonal, 1.0)), 1.0)
    both = told[:, :, None] & told[:, None]
    shared = np.where(both, information / (scale[:, :, None] * scale[:, None]), np.eye(information.shape[1]))
    values, vectors = np.linalg.eigh(shared)
    inverse = (vectors / np.maximum(values, _RIDGE)[:, None]) @ vectors.transpose(0, 2, 1)
    spread = np.sqrt(np.einsum("nkk->nk", inverse))
    return np.asarray(np.where(both, inverse / (spread[:, :, None] * spread[:, None]), np.nan))


def trade_offs(correlations: Floats) -> list[TradeOff]:
    """Return all pairs with the median over people of their correlation's size, and its usual sign.

    Examples
    --------
    >>> [pair.correlation for pair in trade_offs(np.array([[[1.0, -0.9], [-0.9, 1.0]], [[1.0, -0.7], [-0.7, 1.0]]]))]
    [-0.8]
    """
    pairs = []
    for first, second in zip(*np.triu_indices(correlations.shape[1], 1), strict=True):
        known = correlations[:, first, second]
        known = known[np.isfinite(known)]
        sign = np.sign(np.median(known)) if len(known) else np.nan
        size = np.median(np.abs(known)) if len(known) else np.nan
        pairs.append(TradeOff(int(first), int(second), float(sign * size)))
    return pairs


def flat_direction(information: Floats) -> FlatDirection:
    """Return the direction that the choices of all people (N, K, K) together say least about.

    Examples
    --------
    >>> flat_direction(np.array([[[4.0, 4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 1.0]]])).members
    (0, 1)
    """
    known = information[np.isfinite(information).all(axis=(1, 2))]
    values = np.linalg.eigvalsh(known)
    # of whom the estimate is no maximum, the curvature says nothing
    total = known[values[:, 0] >= -(_RIDGE**0.5) * np.abs(values).max(axis=1)].sum(axis=0)
    total = (total + total.T) / 2.0
    diagonal = np.diag(total)
    scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(total / np.outer(scale, scale))
    members = np.flatnonzero(np.abs(vectors[:, 0]) > _LOADING)
    return FlatDirection(max(float(values[0]), 0.0), tuple(members.tolist()))
