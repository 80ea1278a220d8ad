"""Maxima of smooth penalised likelihoods, with some coefficients held fixed, and where their profiles fall off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

__all__ = ["Maximum", "Point", "likelihood_ratio", "maximise", "profile_limit"]

_MAX_ITERATIONS = 1000
_GRADIENT_TOLERANCE = 1e-11
_MAX_HALVINGS = 40

_PLAIN_STEPS = 10
"""Steps without the penalty's curvature, which often suffice; where evidences say little, thousands would not."""

_DIFFERENCE = 1e-6
_FLAT = 1e-6
_ROUNDING = 1e-11


@dataclass(frozen=True)
class Point:
    """A penalised log-likelihood at one beta.

    Attributes
    ----------
    value : float
    gradient : ndarray of shape (p,)
    information : ndarray of shape (p, p)
        Positive definite, for steps where ``curvature`` is not.
    curvature : ndarray of shape (p, p)
        Minus the Hessian, where that of the penalty may be missing.
    """

    value: float
    gradient: np.ndarray
    information: np.ndarray
    curvature: np.ndarray


@dataclass(frozen=True)
class Maximum:
    """Where a penalised likelihood is largest, with some coefficients held fixed or none."""

    beta: np.ndarray
    point: Point
    converged: bool


Evaluate = Callable[[np.ndarray], Point]


def maximise(evaluate: Evaluate, n: int, start: np.ndarray, free: np.ndarray) -> Maximum:
    """Maximise over the free coefficients, the others staying at ``start``.

    Newton's method with halved steps, for columns of mean square 1.

    Parameters
    ----------
    evaluate : callable
        Returns the `Point` at coefficients (p,).
    n : int
        Number of outcomes, to which slopes are compared.
    start : ndarray of shape (p,)
    free : bool ndarray of shape (p,)
    """
    beta, point = start, evaluate(start)
    if not free.any():
        return Maximum(beta, point, True)
    for number in range(_MAX_ITERATIONS):
        if np.abs(point.gradient[free]).max() <= _GRADIENT_TOLERANCE * n:
            return Maximum(beta, point, True)
        curvature = point.curvature if number < _PLAIN_STEPS else _whole_curvature(evaluate, beta, point, free)
        step = np.zeros_like(beta)
        step[free] = _ascent(point, curvature, free)
        moved = _halved(evaluate, beta, point, step, free)
        if moved is None:
            break
        beta, point = moved
    # near the maximum, rounding keeps the value from growing while the score is as good as zero
    return Maximum(beta, point, bool(np.abs(point.gradient[free]).max() <= 1e-7 * n))


def likelihood_ratio(full: Maximum, restricted: Maximum) -> float:
    """Return twice the difference of the maxima, never below 0."""
    return max(0.0, 2.0 * (full.point.value - restricted.point.value))


def profile_limit(evaluate: Evaluate, n: int, full: Maximum, column: int, side: float, target: float) -> float:
    """Return where the profile of one coefficient falls to ``target``, to the left (side -1) or right of its peak.

    NaN where it cannot be found.
    """
    free = np.arange(len(full.beta)) != column
    centre = float(full.beta[column])
    width = float(np.sqrt(np.linalg.inv(full.point.information)[column, column]))
    # where there are several maxima, the closest one that is known leads to the same one again
    known = {0.0: (full.beta, full.point.value - target)}

    def excess(distance: float) -> float:
        if distance not in known:
            start = known[min(known, key=lambda other: abs(other - distance))][0].copy()
            start[column] = centre + side * distance
            found = maximise(evaluate, n, start, free)
            known[distance] = (found.beta if found.converged else start, found.point.value - target)
        return known[distance][1]

    near, far = 0.0, 1.5 * width
    for _ in range(60):
        if excess(far) < 0:
            break
        near, far = far, 1.5 * far
    else:
        return np.nan
    distance = brentq(excess, near, far, xtol=1e-13 * max(far, abs(centre)), rtol=1e-13)
    return centre + side * float(distance)


def _whole_curvature(evaluate: Evaluate, beta: np.ndarray, point: Point, free: np.ndarray) -> np.ndarray:
    """Minus the Hessian with that of the penalty, by differences of the gradient; its eigenvalues by size.

    So steps go uphill where the surface bends upwards, too.
    """
    moves = _DIFFERENCE * np.diag(free.astype("float64"))
    slopes = np.stack([evaluate(beta + move).gradient if move.any() else point.gradient for move in moves])
    curvature = (point.gradient - slopes) / _DIFFERENCE
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    sizes = np.abs(values)
    return np.asarray((vectors * np.maximum(sizes, _FLAT * sizes.max())) @ vectors.T)


def _ascent(point: Point, curvature: np.ndarray, free: np.ndarray) -> np.ndarray:
    gradient = point.gradient[free]
    block = curvature[np.ix_(free, free)]
    if np.linalg.eigvalsh(block)[0] <= 1e-10 * np.trace(block):
        block = point.information[np.ix_(free, free)]
    step = np.linalg.lstsq(block, gradient, rcond=None)[0]
    # columns have mean square 1, so that 5 is a long step on the logit scale
    return np.asarray(step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300)))


def _halved(
    evaluate: Evaluate, beta: np.ndarray, point: Point, step: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, Point] | None:
    for halving in range(_MAX_HALVINGS):
        candidate = beta + step * 0.5**halving
        moved = evaluate(candidate)
        grown = moved.value >= point.value - 1e-14 * abs(point.value)
        if (grown or _closer(point, moved, free)) and not np.array_equal(candidate, beta):
            return candidate, moved
    return None


def _closer(point: Point, moved: Point, free: np.ndarray) -> bool:
    """Whether the slope halved where values differ by rounding only."""
    before, after = (np.abs(each.gradient[free]).max() for each in (point, moved))
    return bool(after < 0.5 * before and abs(moved.value - point.value) < _ROUNDING * max(1.0, abs(point.value)))
