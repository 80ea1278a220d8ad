"""What follows from the shape of a kernel: half-life and effective learning rate, with intervals from draws."""

from __future__ import annotations

import numpy as np

from spicestat.pooled.packed import Floats

__all__ = ["derive", "from_draws", "history_spread"]

_NEGLIGIBLE = 0.02


def derive(kernel: Floats, error: Floats) -> tuple[float, float]:
    r"""Half-life and effective learning rate of one kernel; NaN where it has both signs.

    Half-life: the lag by which half of the sum has come, linear between lags. Effective learning rate
    :math:`1 - g`, with the ratio g of the weighted least-squares line through :math:`\log |k_l|`, weights
    :math:`k_l^2 / \mathrm{SE}_l^2`. Lags at which the kernel is below 2 % of its largest size, or within two standard
    errors of 0, do not decide its sign, and those that have the other sign do not enter the line.

    Examples
    --------
    >>> half_life, rate = derive(0.3 * 0.7 ** np.arange(20), np.full(20, 0.01))
    >>> round(half_life, 3), round(rate, 3)
    (1.95, 0.3)
    """
    size, sign = np.abs(kernel), np.sign(kernel[np.abs(kernel).argmax()])
    large = size > _NEGLIGIBLE * size.max(initial=0.0)
    against = large & (size > 2.0 * error) & (np.sign(kernel) != sign)
    if against.any() or kernel.sum() * sign <= 0.0:
        return float("nan"), float("nan")
    counted = large & (np.sign(kernel) == sign)
    share = np.concatenate([[0.0], np.cumsum(kernel) / kernel.sum()])
    after = int((share >= 0.5).argmax())
    half_life = after - 1 + (0.5 - share[after - 1]) / (share[after] - share[after - 1])
    if counted.sum() < 2:
        return float(half_life), float("nan")
    lag = np.flatnonzero(counted)
    weight = (size[lag] / np.maximum(error[lag], 1e-12 * size.max())) ** 2
    centred = lag - np.average(lag, weights=weight)
    slope = np.sum(weight * centred * np.log(size[lag])) / np.sum(weight * centred**2)
    return float(half_life), float(1.0 - np.exp(slope))


def from_draws(value: float, draws: Floats, level: float) -> Floats:
    """Estimate, standard error and interval (4,) from draws; no interval where more than a tenth have no value."""
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(known) < 0.9 * len(draws):
        return np.array([value, np.nan, np.nan, np.nan])
    low, high = np.quantile(known, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return np.array([value, known.std(), low, high])


def history_spread(values: Floats, same_history: Floats, reached: np.ndarray) -> Floats:
    """Covariance (Q, Q) of means over N people that comes from the histories that these people had.

    Parameters
    ----------
    values : ndarray of shape (N, Q)
        Everybody's kernels.
    same_history : ndarray of shape (N, Q)
        What these would be with one history, the mean one, for everybody.
    reached : bool ndarray of shape (N, Q)
        Who has a value.
    """
    n, pairs = np.maximum(reached.sum(axis=0), 1), np.maximum(reached.astype(float).T @ reached, 1.0)

    def spread(of: Floats) -> Floats:
        away = np.where(reached, of - np.where(reached, of, 0.0).sum(axis=0) / n, 0.0)
        return np.asarray(away.T @ away / (pairs * np.maximum(pairs - 1.0, 1.0)))

    return _positive(spread(values) - spread(same_history))


def _positive(square: Floats) -> Floats:
    """Nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((square + square.T) / 2.0)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)
