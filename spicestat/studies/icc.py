"""Reliability of repeated measurements: intraclass correlations and split halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import f, norm

from spicestat._checks import check_level, real_number
from spicestat.errors import ConfigError, DataError, ShapeError

__all__ = [
    "IntraclassCorrelations",
    "SplitHalf",
    "icc",
    "spearman_brown",
    "split_half",
]


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
