"""Reliability of estimates with known sampling variances: shares of true variance, and correlations of true values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.stats import chi2

from spicestat.errors import DataError, ShapeError
from spicestat.group.meta import meta_regression
from spicestat.settings import check_level

__all__ = ["LatentCorrelation", "ModelReliability", "latent_correlation", "model_reliability"]

_FLAT_SD = 1e-3
"""Share of the estimates' spread below which a latent standard deviation counts as zero."""

_BOUNDARY = 1.0 - 1e-6
"""Size of a correlation above which it counts as 1."""

_LARGEST_SD = 10.0
"""Bound of the search, in the same units: no latent standard deviation is near it."""


@dataclass(frozen=True)
class ModelReliability:
    """Share of the estimates' variance that is between participants.

    Attributes
    ----------
    tau2 : float
        Variance between participants (REML).
    mean_variance : float
        Mean sampling variance of an estimate.
    reliability, conf_low, conf_high : float
        tau2 / (tau2 + mean_variance) and its Q-profile interval.
    signal_to_noise : float
        tau / sqrt(mean_variance), Rouder & Haaf's gamma.
    n : int
        Participants.
    """

    tau2: float
    mean_variance: float
    reliability: float
    conf_low: float
    conf_high: float
    signal_to_noise: float
    n: int


@dataclass(frozen=True)
class LatentCorrelation:
    """Correlation over participants of two true values, of which only estimates are known.

    Attributes
    ----------
    correlation : float
        REML estimate; NaN where a variance between participants is zero, and where the estimate is at its boundary
        (-1 or 1) with an interval from -1 to 1, so that the data say nothing about it.
    conf_low, conf_high : float
        Profile-likelihood interval, within [-1, 1].
    tau2_first, tau2_second : float
        Variances between participants.
    n : int
        Participants.
    """

    correlation: float
    conf_low: float
    conf_high: float
    tau2_first: float
    tau2_second: float
    n: int


def model_reliability(estimate: np.ndarray, variance: np.ndarray, *, conf_level: float = 0.95) -> ModelReliability:
    r"""Reliability of estimates with known sampling variances, :math:`\tau^2 / (\tau^2 + \bar v)`.

    :math:`\tau^2` is the REML estimate of the random-effects model
    :math:`y_i \sim N(\mu, \tau^2 + v_i)`. Its interval inverts the exact distribution
    :math:`\sum_i (y_i - \hat\mu)^2 / (v_i + \tau^2) \sim \chi^2_{n-1}` (Q profile, as
    ``metafor::confint``), so it may lie beside the REML estimate in small samples.

    Parameters
    ----------
    estimate, variance : ndarray of shape (n,)
        Estimates and sampling variances; participants with a missing one are left out.
    conf_level : float, default 0.95
        In (0, 1).

    Raises
    ------
    ShapeError, DataError
        The arrays do not match, fewer than three participants have both, or a variance is not positive.

    References
    ----------
    Rouder & Haaf (2019), https://doi.org/10.3758/s13423-018-1558-y;
    Viechtbauer (2007), https://doi.org/10.1002/sim.2514.

    Examples
    --------
    >>> found = model_reliability(np.array([0.2, 0.5, 0.4, 0.9]), np.array([0.01, 0.02, 0.01, 0.03]))
    >>> round(found.tau2, 3), round(found.reliability, 3)
    (0.06, 0.774)
    """
    level = check_level(conf_level)
    y, v = _finite(estimate, variance)
    if len(y) < 3:
        raise DataError("a reliability needs three participants with an estimate and its variance", got=len(y))
    tau2 = meta_regression(y, v, np.ones((len(y), 1))).tau2
    noise = float(v.mean())
    low, high = (_q_profile(y, v, tail) for tail in (0.5 + level / 2, 0.5 - level / 2))
    share, share_low, share_high = (value / (value + noise) for value in (tau2, low, high))
    return ModelReliability(tau2, noise, share, share_low, share_high, float(np.sqrt(tau2 / noise)), len(y))


def latent_correlation(
    first: np.ndarray,
    second: np.ndarray,
    first_variance: np.ndarray,
    second_variance: np.ndarray,
    *,
    conf_level: float = 0.95,
) -> LatentCorrelation:
    r"""Correlation of the true values behind two sets of estimates, corrected for known sampling errors.

    Restricted maximum likelihood of
    :math:`(y_{i1}, y_{i2}) \sim N(\mu, T + \operatorname{diag}(v_{i1}, v_{i2}))`; the correlation is
    :math:`T_{12} / \sqrt{T_{11} T_{22}}`. Errors of the two estimates must be independent, as those of
    different trials are. The interval holds the correlations whose profile deviance is below
    :math:`\chi^2_1`. Unlike the plain correlation it does not shrink with fewer trials; it becomes wider.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
        Estimates; participants for whom any of the four numbers is missing are left out.
    first_variance, second_variance : ndarray of shape (n,)
        Their sampling variances, positive.
    conf_level : float, default 0.95
        In (0, 1).

    Raises
    ------
    ShapeError, DataError
        The arrays do not match, fewer than four participants have all, or a variance is not positive.

    References
    ----------
    Rouder & Haaf (2019), https://doi.org/10.3758/s13423-018-1558-y.

    Examples
    --------
    >>> rng = np.random.default_rng(9)
    >>> true = rng.normal(size=50)
    >>> one, two = true + rng.normal(0, 0.7, 50), true + rng.normal(0, 0.7, 50)
    >>> found = latent_correlation(one, two, np.full(50, 0.49), np.full(50, 0.49))
    >>> round(float(np.corrcoef(one, two)[0, 1]), 2), round(found.correlation, 2), found.conf_high
    (0.68, 0.99, 1.0)
    """
    level = check_level(conf_level)
    y1, y2, v1, v2 = _finite(first, second, first_variance, second_variance, n_variances=2)
    if len(y1) < 4:
        raise DataError("a latent correlation needs four participants with both estimates", got=len(y1))
    scale = np.array([y1.std(ddof=1), y2.std(ddof=1)])
    if not (scale > 0).all():
        raise DataError("a half's estimates do not vary, so they have no correlation")
    y = np.column_stack([y1, y2]) / scale
    v = np.column_stack([v1, v2]) / scale**2
    sd, rho, best = _fit_bivariate(y, v)
    limit = best + chi2.ppf(level, 1) / 2.0
    low, high = (_profile_limit(y, v, sd, rho, limit, end) for end in (-1.0, 1.0))
    unknown = bool((sd < _FLAT_SD).any()) or (abs(rho) > _BOUNDARY and (low, high) == (-1.0, 1.0))
    tau2 = (sd * scale) ** 2
    return LatentCorrelation(np.nan if unknown else rho, low, high, float(tau2[0]), float(tau2[1]), len(y1))


def _finite(*arrays: np.ndarray, n_variances: int = 1) -> tuple[np.ndarray, ...]:
    """Drop participants with anything missing; the last ``n_variances`` arrays must be positive."""
    columns = [np.asarray(array, dtype="float64") for array in arrays]
    if columns[0].ndim != 1 or len({column.shape for column in columns}) > 1:
        raise ShapeError("the arrays do not match", got=[column.shape for column in columns], allowed="(n,) each")
    known = np.isfinite(columns).all(axis=0)
    columns = [column[known] for column in columns]
    if any((column <= 0).any() for column in columns[-n_variances:]):
        raise DataError("sampling variances must be positive", do="leave out participants without a standard error")
    return tuple(columns)


def _q_profile(y: np.ndarray, v: np.ndarray, tail: float) -> float:
    """Return the tau2 at which Cochran's Q is the chi-squared quantile, 0 if it is below it already."""

    def q(tau2: float) -> float:
        w = 1.0 / (v + tau2)
        mean = np.sum(w * y) / np.sum(w)
        return float(np.sum(w * (y - mean) ** 2))

    target = float(chi2.ppf(tail, len(y) - 1))
    if q(0.0) <= target:
        return 0.0
    # Q(tau2) <= (n - 1) s2 / tau2
    upper = 1.01 * float(np.sum((y - y.mean()) ** 2)) / target
    return float(brentq(lambda tau2: q(tau2) - target, 0.0, upper, xtol=1e-14 * upper, rtol=1e-13))


def _deviance(sd: np.ndarray, rho: float, y: np.ndarray, v: np.ndarray) -> float:
    """Minus restricted log-likelihood of a bivariate random-effects model, up to a constant."""
    a, d = sd[0] ** 2 + v[:, 0], sd[1] ** 2 + v[:, 1]
    b = rho * sd[0] * sd[1]
    determinant = a * d - b * b
    weight = np.stack([d, np.full_like(a, -b), np.full_like(a, -b), a], axis=1).reshape(-1, 2, 2)
    weight /= determinant[:, None, None]
    total = weight.sum(axis=0)
    mean = np.linalg.solve(total, np.einsum("nij,nj->i", weight, y))
    residual = y - mean
    quadratic = np.einsum("ni,nij,nj->", residual, weight, residual)
    return 0.5 * float(np.log(determinant).sum() + np.linalg.slogdet(total)[1] + quadratic)


def _best_sd(y: np.ndarray, v: np.ndarray, start: np.ndarray, rho: float) -> tuple[np.ndarray, float]:
    found = minimize(
        _deviance,
        start,
        (rho, y, v),
        "L-BFGS-B",
        bounds=[(0.0, _LARGEST_SD)] * 2,
        options={"ftol": 1e-13, "gtol": 1e-8},
    )
    return found.x, float(found.fun)


def _fit_bivariate(y: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return standard deviations (2,), correlation and deviance at the best of several starts."""
    start = np.sqrt(np.maximum(y.var(axis=0, ddof=1) - v.mean(axis=0), 0.05))
    found = [
        minimize(
            lambda free: _deviance(free[:2], free[2], y, v),
            np.append(start, rho),
            method="L-BFGS-B",
            bounds=[(0.0, _LARGEST_SD), (0.0, _LARGEST_SD), (-1.0, 1.0)],
            options={"ftol": 1e-13, "gtol": 1e-8},
        )
        for rho in (-0.5, 0.0, 0.5, 0.95)
    ]
    best = min(found, key=lambda fit: float(fit.fun))
    return best.x[:2], float(best.x[2]), float(best.fun)


def _profile_limit(y: np.ndarray, v: np.ndarray, sd: np.ndarray, rho: float, limit: float, end: float) -> float:
    """Return the correlation between the estimate and ``end`` where the profile deviance reaches ``limit``."""
    start = np.maximum(sd, 0.05)

    def above(value: float) -> float:
        return min(_best_sd(y, v, begin, value)[1] for begin in (start, np.full(2, 0.3))) - limit

    if rho == end or above(end) <= 0:
        return end
    return float(brentq(above, rho, end, xtol=1e-6))
