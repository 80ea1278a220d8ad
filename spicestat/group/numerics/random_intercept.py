"""REML of a linear mixed model with one random intercept, in closed form except for one ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from spicestat.errors import DataError, NumericalError, ShapeError

__all__ = ["RandomIntercept", "random_intercept"]

_LARGEST_RATIO = 1e8


@dataclass(frozen=True)
class RandomIntercept:
    """Linear mixed model with one random intercept.

    Attributes
    ----------
    beta : ndarray of shape (q,)
        Fixed effects.
    covariance : ndarray of shape (q, q)
        Their covariance at the REML variances (as lme4's ``vcov``).
    df : ndarray of shape (q,)
        Satterthwaite degrees of freedom (as lmerTest).
    sd_group, sd_residual : float
        Standard deviations of the random intercept and the residual.
    log_likelihood : float
        Restricted log likelihood, as lme4's ``logLik``.
    singular : bool
        The random-intercept variance is zero.
    converged : bool
        The variance ratio has a finite maximum.
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    sd_group: float
    sd_residual: float
    log_likelihood: float
    singular: bool
    converged: bool


@dataclass(frozen=True)
class _Profile:
    """Generalised least squares at one variance ratio, and what REML needs there.

    ``trace1``, ``trace2`` are tr(A^-1 A') and tr(A^-1 A'' - (A^-1 A')^2); ``rss1``, ``rss2`` the
    derivatives of the residual sum of squares; ``slope`` is A' (all with respect to the ratio).
    """

    beta: np.ndarray
    inverse: np.ndarray
    slope: np.ndarray
    rss: float
    rss1: float
    rss2: float
    log_det: float
    trace1: float
    trace2: float


class _Moments:
    """Cross products of (D, z), in total and of participant sums by number of rows."""

    def __init__(self, z: np.ndarray, D: np.ndarray, group: np.ndarray) -> None:
        joined = np.column_stack([D, z])
        codes = np.unique(group, return_inverse=True)[1]
        self.sizes = np.bincount(codes)
        sums = np.zeros((len(self.sizes), joined.shape[1]))
        np.add.at(sums, codes, joined)
        self.total = joined.T @ joined
        self.levels = np.unique(self.sizes)
        self.between = [sums[self.sizes == size].T @ sums[self.sizes == size] for size in self.levels]
        self.n, self.q = D.shape

    def profile(self, ratio: float) -> _Profile:
        """Solve at one ratio of group to residual variance."""
        shrink = 1.0 + ratio * self.levels
        whole = self.total - np.einsum("k,kij->ij", ratio / shrink, np.array(self.between))
        first = -np.einsum("k,kij->ij", shrink**-2.0, np.array(self.between))
        second = 2.0 * np.einsum("k,kij->ij", self.levels * shrink**-3.0, np.array(self.between))
        q = self.q
        root = np.linalg.cholesky(whole[:q, :q])
        half = np.linalg.solve(root, np.eye(q))
        inverse = half.T @ half
        beta = inverse @ whole[:q, q]
        contrast = np.append(-beta, 1.0)
        pull = (first @ contrast)[:q]
        turned = inverse @ first[:q, :q]
        return _Profile(
            beta=beta,
            inverse=inverse,
            slope=first[:q, :q],
            rss=float(contrast @ whole @ contrast),
            rss1=float(contrast @ first @ contrast),
            rss2=float(contrast @ second @ contrast - 2.0 * pull @ inverse @ pull),
            log_det=2.0 * float(np.sum(np.log(np.diag(root)))),
            trace1=float(np.trace(turned)),
            trace2=float(np.trace(inverse @ second[:q, :q]) - np.trace(turned @ turned)),
        )

    def deviance(self, ratio: float) -> float:
        """Return the REML criterion with the residual variance profiled out."""
        at = self.profile(ratio)
        free = self.n - self.q
        spread = float(np.sum(np.log1p(ratio * self.sizes)))
        return float(free * (1.0 + np.log(2.0 * np.pi * at.rss / free)) + spread + at.log_det)

    def slope(self, ratio: float) -> float:
        """Return the derivative of `deviance`."""
        at = self.profile(ratio)
        spread = float(np.sum(self.sizes / (1.0 + ratio * self.sizes)))
        return float((self.n - self.q) * at.rss1 / at.rss + spread + at.trace1)


def random_intercept(z: np.ndarray, D: np.ndarray, group: np.ndarray) -> RandomIntercept:
    r"""Fit :math:`z = D\beta + b_{g} + e`, :math:`b \sim N(0, \sigma_b^2)`, :math:`e \sim N(0, \sigma^2)`, by REML.

    With one random intercept the restricted likelihood depends, after profiling, on the single ratio
    :math:`\lambda = \sigma_b^2 / \sigma^2`, for which
    :math:`V^{-1} \propto I - \frac{\lambda}{1 + \lambda n_g} 11'` within participant g is explicit. The ratio is
    scanned from 0 and solved by Brent's method; there is no starting value and no failed iteration.
    Degrees of freedom are Satterthwaite's, with the observed information of
    :math:`(\sigma^2, \lambda)`; at :math:`\lambda = 0` they are n - q, as in lmerTest.

    Equal to ``lme4::lmer`` with lmerTest. statsmodels' MixedLM has the same maximum but was not used: its
    standard errors come from the joint Hessian (0.1 % off lme4's), its test is normal, and at a
    zero variance, which is common here, it can return NaN and an infinite likelihood.

    Parameters
    ----------
    z : ndarray of shape (n,)
    D : ndarray of shape (n, q)
        Rank q < n.
    group : ndarray of shape (n,)
        Participant of each row; some must have two rows or more.

    References
    ----------
    Bates et al. (2015), https://doi.org/10.18637/jss.v067.i01;
    Kuznetsova et al. (2017), https://doi.org/10.18637/jss.v082.i13.

    Examples
    --------
    >>> z, group = np.array([1.0, 1.2, 2.0, 2.4, 3.1, 2.9]), np.array([0, 0, 1, 1, 2, 2])
    >>> fit = random_intercept(z, np.ones((6, 1)), group)
    >>> round(float(fit.beta[0]), 3), fit.df.round(3).tolist()
    (2.1, [2.0])
    """
    z, D, group = np.asarray(z, dtype="float64"), np.asarray(D, dtype="float64"), np.asarray(group)
    n, q = D.shape
    if z.shape != (n,) or group.shape != (n,) or n <= q:
        raise ShapeError("z, D and group do not match", got=(z.shape, D.shape, group.shape), allowed="n > q rows")
    if len(np.unique(group)) == n:
        raise DataError(
            "a mixed model needs participants with more than one row",
            got="one row per participant",
            do='analyse several (module, term) pairs together, or use method="meta"',
        )
    units = np.linalg.norm(D, axis=0)
    if not (units > 0).all() or np.linalg.matrix_rank(D / units, tol=1e-9) < q:
        raise NumericalError("the design matrix of the mixed model is singular", do="use a simpler formula")
    start = np.linalg.lstsq(D / units, z, rcond=None)[0]
    residual = z - (D / units) @ start
    if residual @ residual <= 1e-24 * (z @ z):
        raise DataError("the covariates reproduce the estimates exactly, so there is no residual variance")
    moments = _Moments(residual, D / units, group)
    ratio, converged = _best_ratio(moments)
    at = moments.profile(ratio)
    variance = at.rss / (n - q)
    return RandomIntercept(
        beta=(start + at.beta) / units,
        covariance=variance * at.inverse / np.outer(units, units),
        df=_satterthwaite(moments, at, ratio, variance),
        sd_group=float(np.sqrt(ratio * variance)),
        sd_residual=float(np.sqrt(variance)),
        log_likelihood=-0.5 * (moments.deviance(ratio) + 2.0 * float(np.sum(np.log(units)))),
        singular=ratio == 0.0,
        converged=converged,
    )


def _best_ratio(moments: _Moments) -> tuple[float, bool]:
    """Return the ratio of variances that minimises the REML deviance, and whether it is finite."""
    grid = np.append(0.0, np.geomspace(1e-6, _LARGEST_RATIO, 57))
    left = int(np.argmin([moments.deviance(float(ratio)) for ratio in grid]))
    # to the left of a minimum the deviance falls, to its right it rises
    while left >= 0 and moments.slope(float(grid[left])) >= 0:
        left -= 1
    if left < 0:
        return 0.0, True
    while left + 1 < len(grid) and moments.slope(float(grid[left + 1])) < 0:
        left += 1
    if left + 1 == len(grid):
        return _LARGEST_RATIO, False
    return float(brentq(moments.slope, grid[left], grid[left + 1], xtol=1e-15, rtol=1e-14)), True


def _satterthwaite(moments: _Moments, at: _Profile, ratio: float, variance: float) -> np.ndarray:
    """Return degrees of freedom 2 c^2 / (g' S g) of each coefficient, S the covariance of (variance, ratio)."""
    free = moments.n - moments.q
    if ratio == 0.0:
        return np.full(moments.q, float(free))
    curvature = -float(np.sum((moments.sizes / (1.0 + ratio * moments.sizes)) ** 2)) + at.trace2 + at.rss2 / variance
    hessian = np.array([[free / variance**2, -at.rss1 / variance**2], [-at.rss1 / variance**2, curvature]])
    if np.linalg.eigvalsh(hessian).min() <= 0:
        return np.full(moments.q, np.nan)
    gradient = np.array([np.diag(at.inverse), -variance * np.diag(at.inverse @ at.slope @ at.inverse)])
    spread = np.einsum("iq,ij,jq->q", gradient, 2.0 * np.linalg.inv(hessian), gradient)
    return np.asarray(2.0 * (variance * np.diag(at.inverse)) ** 2 / spread)
