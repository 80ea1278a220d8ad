"""What follows from the shape of a kernel: half-life and effective learning rate, with intervals from draws."""

from __future__ import annotations

import numpy as np

from spicestat.pooled.packed import Floats

__all__ = ["derive", "from_draws", "history_spread"]

_NEGLIGIBLE = 0.02


def derive(kernel: Floats, error: Floats) -> tuple[Floats, Floats]:
    r"""Half-lives and effective learning rates of kernels; NaN where one has both signs.

    Half-life: the lag by which half of the sum has come, linear between lags. Effective learning rate
    :math:`1 - g`, with the ratio g of the weighted least-squares line through :math:`\log |k_l|`, weights
    :math:`k_l^2 / \mathrm{SE}_l^2`. Lags at which the kernel is below 2 % of its largest size, or within two standard
    errors of 0, do not decide its sign, and those that have the other sign do not enter the line.

    Parameters
    ----------
    kernel, error : ndarray of shape (..., L)
        Kernels and their standard errors, which may be the same for all, (L,).

    Returns
    -------
    (half_life, learning_rate) : ndarrays of shape (...)

    Examples
    --------
    >>> half_life, rate = derive(0.3 * 0.7 ** np.arange(20), np.full(20, 0.01))
    >>> round(float(half_life), 3), round(float(rate), 3)
    (1.95, 0.3)
    """
    size = np.abs(kernel)
    largest = size.max(axis=-1, keepdims=True)
    sign = np.sign(np.take_along_axis(kernel, size.argmax(axis=-1)[..., None], axis=-1))
    same = np.sign(kernel) == sign
    large = size > _NEGLIGIBLE * largest
    total = kernel.sum(axis=-1, keepdims=True)
    both = (large & ~same & (size > 2.0 * error)).any(axis=-1) | (total * sign <= 0.0)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        half_life = _halfway(np.cumsum(kernel, axis=-1) / total)
        weight = np.where(large & same, size / np.maximum(error, 1e-12 * largest), 0.0) ** 2
        lag = np.arange(kernel.shape[-1])
        centred = lag - np.sum(weight * lag, axis=-1, keepdims=True) / weight.sum(axis=-1, keepdims=True)
        steepness = np.sum(weight * centred * np.log(np.where(weight > 0.0, size, 1.0)), axis=-1)
        slope = steepness / np.sum(weight * centred**2, axis=-1)
    a_line = ~both & ((large & same).sum(axis=-1) > 1)
    rate = 1.0 - np.exp(np.where(a_line, slope, np.nan))
    return np.where(both, np.nan, half_life), rate


def _halfway(share: Floats) -> Floats:
    """Lag (...) at which the shares (..., L) of the sum that have come reach a half."""
    after = (share >= 0.5).argmax(axis=-1)[..., None]
    upper = np.take_along_axis(share, after, axis=-1)
    lower = np.where(after > 0, np.take_along_axis(share, np.maximum(after - 1, 0), axis=-1), 0.0)
    return np.asarray((after + (0.5 - lower) / (upper - lower))[..., 0])


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
