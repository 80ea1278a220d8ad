"""P-values adjusted for many tests, as R's ``p.adjust`` does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spicestat.errors import ConfigError, ShapeError

__all__ = ["ADJUSTMENTS", "MAX_T", "adjust_families", "adjust_p_values"]


def adjust_p_values(p_values: np.ndarray, method: str = "BH") -> np.ndarray:
    r"""Adjust the p-values of one family of m tests.

    With sorted :math:`p_{(1)} \le \dots \le p_{(m)}`: Bonferroni :math:`m p`; Holm
    :math:`\max_{j \le i} (m - j + 1) p_{(j)}`; Benjamini-Hochberg
    :math:`\min_{j \ge i} m p_{(j)} / j`; Benjamini-Yekutieli the same times
    :math:`\sum_{k=1}^m 1/k`; each at most 1. Equal to ``p.adjust`` of R.

    Parameters
    ----------
    p_values : ndarray of shape (m,)
        In [0, 1]. NaN stays NaN and does not count as a test.
    method : {"BH", "BY", "holm", "bonferroni", "none"}, default "BH"
        Case does not matter.

    References
    ----------
    Benjamini & Hochberg (1995), https://doi.org/10.1111/j.2517-6161.1995.tb02031.x;
    Benjamini & Yekutieli (2001), https://doi.org/10.1214/aos/1013699998;
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    Examples
    --------
    >>> adjust_p_values(np.array([0.01, 0.02, np.nan, 0.04])).round(6).tolist()
    [0.03, 0.03, nan, 0.04]
    """
    rule = _RULES.get(method.lower())
    if rule is None:
        raise ConfigError("unknown adjustment of p-values", got=method, allowed=", ".join(ADJUSTMENTS))
    values = np.asarray(p_values, dtype="float64")
    if values.ndim != 1:
        raise ShapeError("p-values must be a vector", got=values.shape, allowed="(m,)")
    adjusted = values.copy()
    tested = np.isfinite(values)
    if tested.any():
        adjusted[tested] = np.minimum(rule(values[tested]), 1.0)
    return adjusted


def adjust_families(p_values: np.ndarray, families: Sequence[object], method: str = "BH") -> np.ndarray:
    """Adjust p-values within families.

    In a group model a family is one term of the formula, all levels of a factor together, over all (module,
    sparse_term) equations: the question is "is diagnosis related to anything in the model?". The intercepts are a
    family of their own, so that they (which are almost never zero) do not make the other tests lenient.

    Parameters
    ----------
    p_values : ndarray of shape (m,)
    families : sequence of length m
        The family of each test.

    Examples
    --------
    >>> adjust_families(np.array([0.01, 0.02, 0.03]), ["age", "(Intercept)", "age"], "bonferroni").tolist()
    [0.02, 0.02, 0.06]
    """
    adjusted = np.asarray(p_values, dtype="float64").copy()
    for family in dict.fromkeys(families):
        members = np.array([other == family for other in families])
        adjusted[members] = adjust_p_values(adjusted[members], method)
    return adjusted


def _bonferroni(p: np.ndarray) -> np.ndarray:
    return p * len(p)


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    return _unsort(stepped, order)


def _benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")[::-1]
    stepped = np.minimum.accumulate(len(p) / np.arange(len(p), 0, -1) * p[order])
    return _unsort(stepped, order)


def _benjamini_yekutieli(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")[::-1]
    harmonic = float(np.sum(1.0 / np.arange(1, len(p) + 1)))
    stepped = np.minimum.accumulate(harmonic * len(p) / np.arange(len(p), 0, -1) * p[order])
    return _unsort(stepped, order)


def _unsort(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    restored = np.empty_like(values)
    restored[order] = values
    return restored


_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bh": _benjamini_hochberg,
    "by": _benjamini_yekutieli,
    "holm": _holm,
    "bonferroni": _bonferroni,
    "none": np.copy,
}
ADJUSTMENTS = ("BH", "BY", "holm", "bonferroni", "none")
"""The adjustments that `adjust_p_values` knows."""

MAX_T = "maxT"
"""The adjustment by the largest statistic of a family, which needs more than p-values (`inference.max_t`)."""
