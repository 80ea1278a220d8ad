"""Reliability of individual differences: intraclass correlations, split halves, and model-based reliability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.stats import chi2, f, norm

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.group.meta import meta_regression
from spicestat.group.results import check_level
from spicestat.settings import real_number

__all__ = [
    "IntraclassCorrelations",
    "LatentCorrelation",
    "ModelReliability",
    "SplitHalf",
    "icc",
    "latent_correlation",
    "model_reliability",
    "spearman_brown",
    "split_half",
]

_FLAT_SD = 1e-3
"""Share of the estimates' spread below which a latent standard deviation counts as zero."""

_LARGEST_SD = 10.0
"""Bound of the search, in the same units: no latent standard deviation is near it."""


@dataclass(frozen=True, eq=False)
class IntraclassCorrelations:
    """All forms of the intraclass correlation of n targets (participants) by k ratings (sessions).

    Attributes
    ----------
    table : DataFrame
        ``type`` (ICC1, ICC2, ICC3, ICC1k, ICC2k, ICC3k), ``estimate``, F test ``statistic, num_df, den_df,
        p_value`` of a zero correlation, ``conf_low, conf_high, conf_level``.
    n_targets, n_ratings : int
        Rows that were used, and columns.
    n_excluded : int
        Rows with a missing rating, which are left out.
    ms_targets, ms_ratings, ms_residual, ms_within : float
        Mean squares of the two-way table without replication, and that within targets.
    """

    table: pd.DataFrame
    n_targets: int
    n_ratings: int
    n_excluded: int
    ms_targets: float
    ms_ratings: float
    ms_residual: float
    ms_within: float

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table, one row per form."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """Return one row: sizes and mean squares."""
        names = ("n_targets", "n_ratings", "n_excluded", "ms_targets", "ms_ratings", "ms_residual", "ms_within")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])


@dataclass(frozen=True)
class SplitHalf:
    """Correlation of two halves' estimates, and the reliability of the whole.

    Attributes
    ----------
    correlation : float
        Pearson's.
    reliability, conf_low, conf_high : float
        Spearman-Brown of the correlation and of its Fisher-z interval.
    n : int
        Participants with both estimates.
    """

    correlation: float
    reliability: float
    conf_low: float
    conf_high: float
    n: int


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
        REML estimate; NaN where a variance between participants is zero.
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


def icc(
    ratings: np.ndarray, *, conf_level: float = 0.95, missing: Literal["exclude", "error"] = "exclude"
) -> IntraclassCorrelations:
    r"""Return the six intraclass correlations of Shrout & Fleiss, with F tests and intervals.

    From the mean squares of the two-way table without replication, MSB between targets, MSJ between
    ratings, MSE residual, and MSW within targets:

    * ICC1 :math:`= (MSB - MSW) / (MSB + (k-1) MSW)`: each target has its own raters;
    * ICC2 :math:`= (MSB - MSE) / (MSB + (k-1) MSE + k (MSJ - MSE) / n)`: absolute agreement, random
      ratings; a shift of everybody between sessions lowers it;
    * ICC3 :math:`= (MSB - MSE) / (MSB + (k-1) MSE)`: consistency, fixed ratings;
    * with suffix k: of the mean of the k ratings.

    Equal to ``psych::ICC(ratings, lmer = FALSE)``. Estimates may be negative: nothing is set to zero.

    Parameters
    ----------
    ratings : ndarray of shape (n, k)
        One row per target, one column per rating; at least 2 of each.
    conf_level : float, default 0.95
        In (0, 1).
    missing : {"exclude", "error"}, default "exclude"
        What to do with rows that have a NaN: leave the whole row out and count it in ``n_excluded``
        (unbiased only if ratings are missing at random), or raise.

    Raises
    ------
    ShapeError, DataError
        Fewer than two complete rows or two columns, infinite values, no variance at all, or a missing value.

    References
    ----------
    Shrout & Fleiss (1979), https://doi.org/10.1037/0033-2909.86.2.420;
    McGraw & Wong (1996), https://doi.org/10.1037/1082-989X.1.1.30.

    Examples
    --------
    The judges of Shrout & Fleiss, table 2:

    >>> judges = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    >>> icc(judges).tidy().set_index("type")["estimate"].round(2).to_dict()
    {'ICC1': 0.17, 'ICC2': 0.29, 'ICC3': 0.71, 'ICC1k': 0.44, 'ICC2k': 0.62, 'ICC3k': 0.91}
    """
    level = check_level(conf_level)
    x, n_excluded = _complete_ratings(ratings, missing)
    n, k = x.shape
    mean, row, column = x.mean(), x.mean(axis=1), x.mean(axis=0)
    ss_targets, ss_ratings = k * float(np.sum((row - mean) ** 2)), n * float(np.sum((column - mean) ** 2))
    ss_within = float(np.sum((x - row[:, None]) ** 2))
    ms_b, ms_j, ms_w = ss_targets / (n - 1), ss_ratings / (k - 1), ss_within / (n * (k - 1))
    ms_e = float(np.sum((x - row[:, None] - column + mean) ** 2)) / ((n - 1) * (k - 1))
    if ms_b + ms_w <= 0:
        raise DataError("all ratings are equal, so no intraclass correlation is defined")
    one_way, two_way = (ms_w, n * (k - 1.0)), (ms_e, (n - 1.0) * (k - 1.0))
    single2 = (ms_b - ms_e) / (ms_b + (k - 1) * ms_e + k * (ms_j - ms_e) / n)
    low2, high2 = _agreement_interval(single2, ms_b, ms_j, ms_e, n, k, level)
    rows = []
    for name, (noise, den_df) in {"ICC1": one_way, "ICC3": two_way}.items():
        low, high = _f_interval(ms_b, noise, n - 1.0, den_df, level)
        rows.append((name, (ms_b - noise) / (ms_b + (k - 1) * noise), noise, den_df, *_single(low, high, k)))
        rows.append((f"{name}k", (ms_b - noise) / ms_b if ms_b > 0 else -np.inf, noise, den_df, *_average(low, high)))
    average2 = ms_b + (ms_j - ms_e) / n
    rows.append(("ICC2", single2, *two_way, low2, high2))
    rows.append(("ICC2k", (ms_b - ms_e) / average2, *two_way, *(spearman_brown(x, k) for x in (low2, high2))))
    table = pd.DataFrame([_icc_row(ms_b, n, level, *row) for row in sorted(rows, key=_icc_order)])
    return IntraclassCorrelations(table, n, k, n_excluded, ms_b, ms_j, ms_e, ms_w)


def spearman_brown(correlation: float, factor: float = 2.0) -> float:
    r"""Return the reliability of a test ``factor`` times as long, :math:`m r / (1 + (m - 1) r)`.

    Spearman (1910), doi:10.1111/j.2044-8295.1910.tb00206.x. A negative correlation of the halves gives a negative
    "reliability", which may be below -1: it says that the halves do not measure one thing.

    Examples
    --------
    >>> spearman_brown(0.5)
    0.6666666666666666
    """
    denominator = 1.0 + (factor - 1.0) * correlation
    return factor * correlation / denominator if denominator != 0 else -np.inf


def split_half(first: np.ndarray, second: np.ndarray, *, factor: float = 2.0, conf_level: float = 0.95) -> SplitHalf:
    r"""Correlate the estimates of two halves and step the correlation up to the whole test.

    The interval is Fisher's, :math:`\tanh(\operatorname{artanh} r \pm z / \sqrt{n - 3})`, stepped up.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
        Estimates from either half; participants with a missing value in either are left out.
    factor : float, default 2
        How many times longer the whole test is than a half.
    conf_level : float, default 0.95
        In (0, 1).

    Raises
    ------
    ShapeError, DataError
        The arrays do not match, fewer than four participants have both, or a half does not vary.

    Examples
    --------
    >>> found = split_half(np.array([1.0, 2, 3, 4, 5]), np.array([1.2, 1.9, 3.4, 3.7, 5.1]))
    >>> round(found.correlation, 3), round(found.reliability, 3), found.n
    (0.985, 0.993, 5)
    """
    level = check_level(conf_level)
    factor = real_number("factor", factor, 1.0)
    a, b = _pairs(first, second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise DataError("a half's estimates do not vary, so they have no correlation")
    r = float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))
    half = norm.ppf(0.5 + level / 2) / np.sqrt(len(a) - 3)
    with np.errstate(divide="ignore"):
        low, high = (float(np.tanh(np.arctanh(r) + sign * half)) for sign in (-1, 1))
    whole, whole_low, whole_high = (spearman_brown(value, factor) for value in (r, low, high))
    return SplitHalf(r, whole, whole_low, whole_high, len(a))


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
    flat = bool((sd < _FLAT_SD).any())
    tau2 = (sd * scale) ** 2
    return LatentCorrelation(np.nan if flat else rho, low, high, float(tau2[0]), float(tau2[1]), len(y1))


def _complete_ratings(ratings: np.ndarray, missing: str) -> tuple[np.ndarray, int]:
    if missing not in ("exclude", "error"):
        raise ConfigError("unknown treatment of missing ratings", got=missing, allowed="'exclude' or 'error'")
    x = np.asarray(ratings, dtype="float64")
    if x.ndim != 2 or x.shape[1] < 2:
        raise ShapeError("ratings must have two columns or more", got=x.shape, allowed="(n, k), k at least 2")
    known = ~np.isnan(x).any(axis=1)
    if missing == "error" and not known.all():
        raise DataError(f"{int((~known).sum())} rows have a missing rating", do="pass missing='exclude'")
    x = x[known]
    if len(x) < 2 or not np.isfinite(x).all():
        raise DataError("an intraclass correlation needs two complete and finite rows", got=f"{len(x)} complete rows")
    return x, int((~known).sum())


def _icc_row(
    ms_b: float, n: int, level: float, name: str, value: float, noise: float, den_df: float, low: float, high: float
) -> dict[str, object]:
    statistic = ms_b / noise if noise > 0 else np.inf
    return {
        "type": name,
        "estimate": value,
        "statistic": statistic,
        "num_df": n - 1.0,
        "den_df": den_df,
        "p_value": float(f.sf(statistic, n - 1.0, den_df)),
        "conf_low": low,
        "conf_high": high,
        "conf_level": level,
    }


def _icc_order(row: tuple[object, ...]) -> tuple[bool, str]:
    name = str(row[0])
    return name.endswith("k"), name


def _f_interval(ms_b: float, noise: float, num_df: float, den_df: float, level: float) -> tuple[float, float]:
    """Limits of the ratio of expected mean squares."""
    ratio = ms_b / noise if noise > 0 else np.inf
    tail = 0.5 + level / 2
    return ratio / float(f.ppf(tail, num_df, den_df)), ratio * float(f.ppf(tail, den_df, num_df))


def _single(low: float, high: float, k: int) -> tuple[float, float]:
    return _of_ratio(low, k), _of_ratio(high, k)


def _of_ratio(ratio: float, k: int) -> float:
    return 1.0 if np.isinf(ratio) else (ratio - 1.0) / (ratio + k - 1.0)


def _average(low: float, high: float) -> tuple[float, float]:
    low, high = (1.0 - 1.0 / ratio if ratio > 0 else -np.inf for ratio in (low, high))
    return low, high


def _agreement_interval(
    value: float, ms_b: float, ms_j: float, ms_e: float, n: int, k: int, level: float
) -> tuple[float, float]:
    """Limits of ICC2 with Satterthwaite's degrees of freedom (Shrout & Fleiss, p. 425)."""
    if ms_e <= 0 and ms_j <= 0:
        return 1.0, 1.0
    # multiplied through by MSE, so that a perfect consistency is no division by zero
    ratings, rest = k * value * ms_j, n * (1.0 + (k - 1) * value) - k * value
    df = (k - 1) * (n - 1) * (ratings + rest * ms_e) ** 2 / ((n - 1) * ratings**2 + (rest * ms_e) ** 2)
    tail = 0.5 + level / 2
    upper, lower = float(f.ppf(tail, n - 1, df)), float(f.ppf(tail, df, n - 1))
    spread = k * ms_j + (k * n - k - n) * ms_e
    return (
        n * (ms_b - upper * ms_e) / (upper * spread + n * ms_b),
        n * (lower * ms_b - ms_e) / (spread + n * lower * ms_b),
    )


def _pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first, dtype="float64"), np.asarray(second, dtype="float64")
    if a.ndim != 1 or a.shape != b.shape:
        raise ShapeError("the halves do not match", got=(a.shape, b.shape), allowed="(n,) and (n,)")
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 4:
        raise DataError("a split-half correlation needs four participants with both estimates", got=int(known.sum()))
    return a[known], b[known]


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
