"""Maximum likelihood of a covariance between participants, where each participant's own information is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from spicestat.errors import NumericalError

__all__ = ["CovarianceFit", "Evidence", "Weighted", "fit_at_covariance", "is_singular", "maximise_covariance"]

_EM_STEPS = 3
_HALVINGS = 30
_DECREMENT = 1e-11
_FLOOR = 1e-9
_LONGEST = 4.0
_NO_INFORMATION = "the group model's likelihood cannot be computed: for some coefficient no participant tells enough"
_SIMPLER = "use a simpler formula, fewer terms, or leave out participants with extreme standard errors"


class Weighted(NamedTuple):
    """What participants' data say at one covariance between participants.

    ``weight`` (n, d, d) is the inverse W of the marginal covariance, ``pulled`` (n, d) is W y, and ``log_det`` the
    sum of log determinants of the marginal covariances, up to a constant.
    """

    weight: np.ndarray
    pulled: np.ndarray
    log_det: float


class Evidence(Protocol):
    """What n participants' own data say about their d coefficients."""

    def weigh(self, sigma: np.ndarray) -> Weighted | None:
        """Return the weights at a covariance (d, d) between participants; None where it is not allowed."""

    def quadratic(self, sigma: np.ndarray, mean: np.ndarray, score: np.ndarray) -> float:
        """Return minus twice the exponent of the marginal likelihood, given means and W (y - mean), both (n, d)."""


@dataclass(frozen=True)
class CovarianceFit:
    """A maximum of the likelihood.

    Attributes
    ----------
    sigma : ndarray of shape (d, d)
        Covariance between participants.
    gamma : ndarray of shape (d, p)
        Regression coefficients.
    covariance : ndarray of shape (d * p, d * p)
        Generalised-least-squares covariance of ``gamma.ravel()``.
    deviations : ndarray of shape (n, d)
        Participants' predicted deviations from their means.
    deviation_covariance : ndarray of shape (n, d, d)
        Covariance of (deviation - its prediction), at the maximum.
    value : float
        Log likelihood without the terms in 2 pi and X'X.
    n_iter : int
        Newton steps.
    converged : bool
        The last step promised next to nothing, and no direction that ``sigma`` lacks would raise the likelihood.
    """

    sigma: np.ndarray
    gamma: np.ndarray
    covariance: np.ndarray
    deviations: np.ndarray
    deviation_covariance: np.ndarray
    value: float
    n_iter: int
    converged: bool


@dataclass(frozen=True)
class _Point:
    """The likelihood at one covariance; ``gradient`` is its derivative with respect to it, as a matrix."""

    sigma: np.ndarray
    value: float
    gradient: np.ndarray
    weight: np.ndarray
    score: np.ndarray
    gamma: np.ndarray
    inverse: np.ndarray
    hat: np.ndarray | None


class _Likelihood:
    """Likelihood of the covariance, with coefficients profiled out, and its derivatives."""

    def __init__(self, evidence: Evidence, X: np.ndarray, restricted: bool) -> None:
        self.evidence, self.X, self.restricted = evidence, X, restricted
        n, p = X.shape
        self.squares = (X[:, :, None] * X[:, None, :]).reshape(n, p * p)

    def at(self, sigma: np.ndarray) -> _Point | None:
        """Evaluate, or return None where the likelihood does not exist."""
        weighted = self.evidence.weigh(sigma)
        if weighted is None:
            return None
        weight, (n, p), d = weighted.weight, self.X.shape, len(sigma)
        gram = (weight.reshape(n, d * d).T @ self.squares).reshape(d, d, p, p).transpose(0, 2, 1, 3)
        root = _cholesky(gram.reshape(d * p, d * p))
        if root is None:
            return None
        half = np.linalg.inv(root)
        inverse = half.T @ half
        gamma = (inverse @ (weighted.pulled.T @ self.X).ravel()).reshape(d, p)
        mean = self.X @ gamma.T
        score = weighted.pulled - np.einsum("nab,nb->na", weight, mean)
        value = -0.5 * (weighted.log_det + self.evidence.quadratic(sigma, mean, score))
        gradient = 0.5 * (score.T @ score - weight.sum(axis=0))
        hat = None
        if self.restricted:
            value -= float(np.sum(np.log(np.diag(root))))
            spread = inverse.reshape(d, p, d, p).transpose(1, 3, 0, 2).reshape(p * p, d * d)
            hat = weight @ (self.squares @ spread).reshape(n, d, d) @ weight
            gradient = gradient + 0.5 * hat.sum(axis=0)
        if not np.isfinite(value):
            return None
        return _Point(sigma, float(value), gradient, weight, score, gamma, inverse, hat)

    def information(self, at: _Point, tangents: np.ndarray) -> np.ndarray:
        """Return minus the second derivative along symmetric directions (m, d, d) of the covariance, (m, m)."""
        m, d = tangents.shape[:2]
        n, p = self.X.shape
        flat, weights = tangents.reshape(m, d * d), at.weight.reshape(n, d * d)
        outer = (at.score[:, :, None] * at.score[:, None, :]).reshape(n, d * d)
        pull = (at.score[:, :, None] * self.X[:, None, :]).reshape(n, d * p)
        sandwich = 0.5 * weights if at.hat is None else 0.5 * weights - at.hat.reshape(n, d * d)
        # sum over participants of A Tk B Tl, A being u u' less half of W (less the part that REML takes off)
        mixed = _interlaced((outer - sandwich).T @ weights, d)
        total = flat @ mixed @ flat.T
        # X'W Tk u for each direction
        crossed = (weights.T @ pull).reshape(d, d, d, p).transpose(1, 2, 0, 3).reshape(d * d, d * p)
        slopes = flat @ crossed
        total = total - slopes @ at.inverse @ slopes.T
        if at.hat is not None:
            pairs = (weights[:, :, None] * weights[:, None, :]).reshape(n, d**4).T @ self.squares
            pairs = pairs.reshape(d, d, d, d, p, p).transpose(1, 2, 0, 4, 3, 5).reshape(d * d, (d * p) ** 2)
            grams = at.inverse @ (flat @ pairs).reshape(m, d * p, d * p)
            total = total - 0.5 * grams.reshape(m, -1) @ grams.transpose(0, 2, 1).reshape(m, -1).T
        return np.asarray(0.5 * (total + total.T))


def maximise_covariance(
    evidence: Evidence, X: np.ndarray, starts: Sequence[np.ndarray], *, restricted: bool, max_iter: int = 100
) -> CovarianceFit:
    r"""Maximise the (restricted) likelihood of :math:`\Sigma` where :math:`\theta_i \sim N(\Gamma x_i, \Sigma)`.

    Each step moves a root :math:`L` of :math:`\Sigma = LL'`, lower triangular along the current principal axes, with
    a diagonal that may become zero. A singular :math:`\Sigma` (a correlation of 1, a variance of 0) is then an
    ordinary stationary point which Newton's method reaches in a few steps; with the logarithm of the diagonal
    it would lie at infinity, and along fixed axes at the end of a curved valley. The Hessian is exact,

    .. math::

        -\partial_{kl} \ell = y'P\dot V_k P \dot V_l P y - \tfrac12 \mathrm{tr}(P \dot V_k P \dot V_l)
        - \mathrm{tr}(\partial_\Sigma \ell\, \ddot\Sigma_{kl}),

    its eigenvalues are taken by size so that each step goes uphill, and steps are halved until the likelihood
    rises. Each start gets a few EM steps first, :math:`\Sigma + \frac2n \Sigma\, \partial_\Sigma \ell\, \Sigma`, which
    are slow but cannot fail. A maximum with a singular :math:`\Sigma` is accepted only if the likelihood falls in every
    direction that :math:`\Sigma` lacks. The best start wins.

    Parameters
    ----------
    evidence : Evidence
        Scaled so that the variances are of the order of 1.
    X : ndarray of shape (n, p)
        Covariates with orthonormal columns.
    starts : sequence of ndarray of shape (d, d)
        Positive definite.
    restricted : bool
        REML instead of ML.
    max_iter : int, default 100
        Newton steps per start.

    Raises
    ------
    NumericalError
        The likelihood cannot be evaluated at any start.

    References
    ----------
    Lindstrom & Bates (1988), https://doi.org/10.1080/01621459.1988.10478693.
    """
    likelihood = _Likelihood(evidence, X, restricted)
    # what overflows on the way is not a likelihood, and the step is halved
    with np.errstate(all="ignore"):
        found = [fit for start in starts if (fit := _climb(likelihood, start, max_iter)) is not None]
    if not found:
        raise NumericalError(_NO_INFORMATION, do=_SIMPLER)
    return _described(likelihood, *max(found, key=lambda fit: fit[0].value))


def fit_at_covariance(evidence: Evidence, X: np.ndarray, sigma: np.ndarray, *, restricted: bool) -> CovarianceFit:
    """Return the coefficients and the likelihood at a known covariance between participants.

    Parameters are those of `maximise_covariance`, with ``sigma`` of shape (d, d).

    Raises
    ------
    NumericalError
        The likelihood does not exist there.
    """
    likelihood = _Likelihood(evidence, X, restricted)
    at = likelihood.at(sigma)
    if at is None:
        raise NumericalError(_NO_INFORMATION, do=_SIMPLER)
    return _described(likelihood, at, 0, True)


def is_singular(sigma: np.ndarray) -> bool:
    """Return whether a covariance (d, d), scaled to variances of the order of 1, is singular.

    Examples
    --------
    >>> is_singular(np.ones((2, 2))), is_singular(np.eye(2))
    (True, False)
    """
    values = np.linalg.eigvalsh(sigma)
    return bool(values[0] <= 1e-8 * max(float(values[-1]), 1e-8))


def _described(likelihood: _Likelihood, at: _Point, n_iter: int, converged: bool) -> CovarianceFit:
    return CovarianceFit(
        sigma=at.sigma,
        gamma=at.gamma,
        covariance=at.inverse,
        deviations=at.score @ at.sigma,
        deviation_covariance=_deviation_covariance(likelihood, at),
        value=at.value,
        n_iter=n_iter,
        converged=converged,
    )


def _climb(likelihood: _Likelihood, start: np.ndarray, max_iter: int) -> tuple[_Point, int, bool] | None:
    """Go uphill from one start; return the point, the number of steps and whether it is a maximum."""
    at = likelihood.at(start)
    if at is None:
        return None
    for _ in range(_EM_STEPS):
        at = _em_step(likelihood, at)
    n_iter = 0
    for _ in range(len(start) + 1):
        at, steps, converged = _newton(likelihood, at, max_iter - n_iter)
        n_iter += steps
        missing = _missing_direction(at)
        if missing is None or n_iter >= max_iter:
            return at, n_iter, converged and missing is None
        widened = likelihood.at(at.sigma + np.outer(missing, missing))
        if widened is None or widened.value <= at.value:
            return at, n_iter, False
        at = widened
    return at, n_iter, False


def _newton(likelihood: _Likelihood, at: _Point, max_iter: int) -> tuple[_Point, int, bool]:
    for n_iter in range(1, max_iter + 1):
        axes = _Axes.of(at.sigma)
        step, gain = _newton_step(likelihood, at, axes)
        moved = _line_search(likelihood, at, axes, step, gain)
        if gain < _DECREMENT * max(1.0, 1e-3 * abs(at.value)):
            return moved or at, n_iter, True
        if moved is None:
            moved = _em_step(likelihood, at)
            if moved.value <= at.value:
                return at, n_iter, False
        at = moved
    return at, max_iter, False


class _Axes(NamedTuple):
    """Principal axes (columns of ``vectors``) of a covariance, standard deviations along them in falling order."""

    vectors: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, sigma: np.ndarray) -> _Axes:
        values, vectors = np.linalg.eigh(sigma)
        return cls(vectors[:, ::-1], np.sqrt(values[::-1].clip(0.0)))

    def moved(self, step: np.ndarray) -> np.ndarray:
        """Return the covariance after a step of the lower triangular root."""
        root = np.diag(self.spread)
        root[_lower_triangle(len(root))] += step
        root = self.vectors @ root
        return np.asarray(root @ root.T)


@lru_cache(maxsize=64)
def _lower_triangle(d: int) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.tril_indices(d)
    return row, column


def _newton_step(likelihood: _Likelihood, at: _Point, axes: _Axes) -> tuple[np.ndarray, float]:
    """Return an uphill step of the root's lower triangle, and the gain that the gradient promises."""
    row, column = _lower_triangle(len(axes.spread))
    rows = axes.vectors.T[row]
    tangents = rows[:, :, None] * (axes.spread[:, None] * axes.vectors.T)[column][:, None, :]
    gradient = axes.vectors.T @ at.gradient @ axes.vectors
    slope = 2.0 * (gradient * axes.spread)[row, column]
    hessian = likelihood.information(at, tangents + tangents.transpose(0, 2, 1))
    hessian = hessian - 2.0 * gradient[np.ix_(row, row)] * (column[:, None] == column)
    values, vectors = np.linalg.eigh(hessian)
    size = np.abs(values)
    size = np.maximum(size, _FLOOR * max(float(size.max()), np.finfo(float).tiny))
    step = vectors @ ((vectors.T @ slope) / size)
    length = float(np.linalg.norm(step))
    longest = _LONGEST * (1.0 + float(np.linalg.norm(axes.spread)))
    step = step * min(1.0, longest / max(length, np.finfo(float).tiny))
    return step, float(slope @ step)


def _line_search(likelihood: _Likelihood, at: _Point, axes: _Axes, step: np.ndarray, gain: float) -> _Point | None:
    slack = 1e-13 * (1.0 + abs(at.value))
    for halving in range(_HALVINGS):
        share = 0.5**halving
        trial = likelihood.at(axes.moved(share * step))
        if trial is not None and trial.value >= at.value + 1e-4 * share * gain - slack:
            return trial
    return None


def _em_step(likelihood: _Likelihood, at: _Point) -> _Point:
    sigma = at.sigma + 2.0 / len(likelihood.X) * at.sigma @ at.gradient @ at.sigma
    moved = likelihood.at(0.5 * (sigma + sigma.T))
    return at if moved is None or moved.value < at.value else moved


def _missing_direction(at: _Point) -> np.ndarray | None:
    """Return a short vector v with a higher likelihood at sigma + v v', where sigma has no variance along v."""
    values, vectors = np.linalg.eigh(at.sigma)
    empty = vectors[:, values <= 1e-10 * max(float(values.max()), np.finfo(float).tiny)]
    if empty.shape[1] == 0:
        return None
    slopes, along = np.linalg.eigh(empty.T @ at.gradient @ empty)
    if slopes[-1] <= 1e-6 * float(np.abs(at.weight).sum(axis=0).max()):
        return None
    return np.asarray(empty @ along[:, -1]) * 0.03


def _deviation_covariance(likelihood: _Likelihood, at: _Point) -> np.ndarray:
    """Return Sigma - Sigma W Sigma, plus what the coefficients' own error adds."""
    (n, p), d = likelihood.X.shape, len(at.sigma)
    spread = at.inverse.reshape(d, p, d, p).transpose(1, 3, 0, 2).reshape(p * p, d * d)
    hat = at.weight @ (likelihood.squares @ spread).reshape(n, d, d) @ at.weight
    return np.asarray(at.sigma - at.sigma @ (at.weight - hat) @ at.sigma)


def _interlaced(total: np.ndarray, d: int) -> np.ndarray:
    """Rearrange sum_i A_i[a, b] B_i[c, e] so that Tk[.]' M Tl[.] is sum_i tr(A_i Tk B_i Tl) (A, B symmetric)."""
    # tr(A Tk B Tl) = A[e, a] Tk[a, b] B[b, c] Tl[c, e]
    return np.asarray(total.reshape(d, d, d, d).transpose(1, 2, 3, 0).reshape(d * d, d * d))


def _cholesky(matrix: np.ndarray) -> np.ndarray | None:
    try:
        root = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    diagonal = np.diag(root)
    return root if diagonal.min() > 1e-10 * diagonal.max() else None
