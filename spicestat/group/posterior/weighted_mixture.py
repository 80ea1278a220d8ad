"""Mixtures of normal distributions fitted to weighted points by EM, for many sets of points at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NormalMixtures", "fit_weighted"]

_ROUNDS = 60
_SEED = 20260103


@dataclass(frozen=True)
class NormalMixtures:
    """N mixtures of K normal distributions in d dimensions.

    Attributes
    ----------
    log_share : ndarray of shape (N, K)
        Shares sum to 1.
    mean : ndarray of shape (N, K, d)
    covariance : ndarray of shape (N, K, d, d)
    """

    log_share: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


def fit_weighted(points: np.ndarray, weight: np.ndarray, n_components: int) -> NormalMixtures:
    """Fit mixtures to N sets of weighted points.

    A weak prior, worth d + 2 of the effective points of a set and centred at round components of
    :math:`K^{-1/d}` of the set's spread, keeps components from collapsing onto single points.

    Parameters
    ----------
    points : ndarray of shape (N, Q, d)
    weight : ndarray of shape (N, Q)
        Sum to 1 over each set.
    n_components : int
        K.

    References
    ----------
    Fraley & Raftery (2007), https://doi.org/10.1007/s00357-007-0004-5; Arthur & Vassilvitskii (2007), "k-means++: the
    advantages of careful seeding".

    Examples
    --------
    >>> points = np.array([[[-3.0], [-2.9], [-3.1], [2.0], [2.1], [1.9]]])
    >>> found = fit_weighted(points, np.full((1, 6), 1 / 6), 2)
    >>> np.sort(found.mean.ravel()).round(1).tolist()
    [-3.0, 2.0]
    """
    d = points.shape[2]
    mean = np.einsum("nq,nqi->ni", weight, points)
    away = points - mean[:, None, :]
    whole = (away * weight[:, :, None]).transpose(0, 2, 1) @ away
    # in units of the whole, so that round components are a sensible start and prior
    root = np.linalg.cholesky(whole + 1e-9 * points.var(axis=1)[:, :, None] * np.eye(d))
    unit = away @ np.linalg.inv(root).transpose(0, 2, 1)
    found = _em(unit, weight, _spread_out(unit, weight, n_components))
    return NormalMixtures(
        found.log_share,
        mean[:, None, :] + found.mean @ root.transpose(0, 2, 1),
        root[:, None] @ found.covariance @ root[:, None].swapaxes(2, 3),
    )


def _em(unit: np.ndarray, weight: np.ndarray, centre: np.ndarray) -> NormalMixtures:
    n, K, d = centre.shape
    narrow = K ** (-2.0 / d)
    prior = (d + 2.0) * np.sum(weight**2, axis=1)[:, None, None, None] / K
    found = NormalMixtures(np.full((n, K), -np.log(K)), centre, np.broadcast_to(narrow * np.eye(d), (n, K, d, d)))
    products = (unit[:, :, :, None] * unit[:, :, None, :]).reshape(*unit.shape[:2], d * d)
    for _ in range(_ROUNDS):
        part = _log_density(found, unit, products)
        part = np.exp(part - part.max(axis=1, keepdims=True))
        part *= (weight / part.sum(axis=1))[:, None, :]
        mass = part.sum(axis=2).clip(1e-300)
        mean = part @ unit / mass[:, :, None]
        second = (part @ products).reshape(n, K, d, d)
        scatter = second - mass[:, :, None, None] * mean[:, :, :, None] * mean[:, :, None, :]
        covariance = (scatter + narrow * prior * np.eye(d)) / (mass[:, :, None, None] + prior)
        found = NormalMixtures(np.log(mass), mean, covariance)
    return found


def _log_density(found: NormalMixtures, unit: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return log densities (N, K, Q) of the components, times their shares, up to a constant."""
    n, K, d = found.mean.shape
    precision = np.linalg.inv(found.covariance)
    linear = np.matmul(precision, found.mean[..., None])[..., 0]
    constant = (
        found.log_share - 0.5 * np.linalg.slogdet(found.covariance)[1] - 0.5 * np.sum(linear * found.mean, axis=2)
    )
    quadratic = (-0.5 * precision).reshape(n, K, d * d) @ products.transpose(0, 2, 1)
    return np.asarray(quadratic + linear @ unit.transpose(0, 2, 1) + constant[:, :, None])


def _spread_out(unit: np.ndarray, weight: np.ndarray, K: int) -> np.ndarray:
    """Choose K points of each set as first centres, each rather far from those before it (k-means++)."""
    rng = np.random.default_rng(_SEED)
    sets = np.arange(len(unit))
    centre = np.empty((len(unit), K, unit.shape[2]))
    chance, nearest = weight, np.full(weight.shape, np.inf)
    for k in range(K):
        passed = np.cumsum(chance, axis=1)
        # the same number for every set, which therefore does not depend on the others
        chosen = (passed < rng.random() * passed[:, -1:]).sum(axis=1)
        centre[:, k] = unit[sets, chosen]
        nearest = np.minimum(nearest, np.sum((unit - centre[:, k, None]) ** 2, axis=2))
        chance = weight * nearest
    return centre
