"""Quadrature nodes: participants' likelihoods at a few well-placed points, reused for every group distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link
from spicestat.group.marginal.modes import to_natural

__all__ = [
    "Nodes",
    "Place",
    "Rule",
    "evaluated_nodes",
    "finer_rule",
    "log_normal_density",
    "make_nodes",
    "normal_points",
    "quadrature_rule",
    "sampling_rule",
]

_PER_DIMENSION = {1: 15, 2: 9, 3: 5, 4: 4}
_N_POSTERIOR, _N_GROUP = 1024, 512
_WIDER = 1.3


@dataclass(frozen=True)
class Rule:
    r"""Points x and weights with :math:`\sum_q e^{w_q} f(x_q) \approx \int f(x)\,N(x; 0, I)\,dx`.

    Attributes
    ----------
    points : ndarray of shape (Q, d)
    log_weights : ndarray of shape (Q,)
    n_defensive : int
        How many of the points, the last ones, are placed at the group distribution instead of the posteriors.
    """

    points: np.ndarray
    log_weights: np.ndarray
    n_defensive: int = 0


@dataclass(frozen=True)
class Nodes:
    r"""Likelihoods of P participants at Q points each, as weights that integrate over a group distribution.

    The marginal likelihood of participant i is
    :math:`\sum_q e^{w_{iq}} N(u_{iq}; X_i\gamma, \Sigma)` for any group distribution near the one the nodes
    were placed for, so that the choices need not be read again while it is estimated.

    Attributes
    ----------
    theta : ndarray of shape (P, Q, d)
        Points u on the unconstrained scale.
    log_weight : ndarray of shape (P, Q)
        Log-likelihood plus log quadrature weight minus log density of the normal distribution behind the rule.
    """

    theta: np.ndarray
    log_weight: np.ndarray


def quadrature_rule(n_dimensions: int, per_dimension: int | None = None) -> Rule:
    """Return a rule for d dimensions: Gauss-Hermite product grids, above 4 dimensions a Sobol sequence.

    Parameters
    ----------
    n_dimensions : int
        d, 1 or more.
    per_dimension : int, optional
        Nodes of the product grid along each dimension. Default 15, 9, 5, 4 for 1 to 4 dimensions (at most 256 nodes
        in all); above that importance sampling with 1536 points of a scrambled Sobol sequence (fixed seed), shifted
        and scaled to mean 0 and covariance I: two thirds of them at the posterior, 1.3 times as wide, and one third at
        the group distribution, so that no weight can become large.

    References
    ----------
    Liu & Pierce (1994), https://doi.org/10.1093/biomet/81.3.624; Pan & Thompson (2007),
    https://doi.org/10.1016/j.csda.2006.10.003; Hesterberg (1995), https://doi.org/10.1080/00401706.1995.10484303.

    Examples
    --------
    >>> rule = quadrature_rule(2)
    >>> float(np.sum(np.exp(rule.log_weights) * rule.points[:, 0] ** 2).round(12))
    1.0
    """
    count = per_dimension or _PER_DIMENSION.get(n_dimensions)
    if count is None:
        return sampling_rule(n_dimensions)
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    grid = np.stack(np.meshgrid(*[points] * n_dimensions, indexing="ij"), axis=-1).reshape(-1, n_dimensions)
    log_weights = np.log(weights / weights.sum())
    sums = np.stack(np.meshgrid(*[log_weights] * n_dimensions, indexing="ij"), axis=-1).sum(axis=-1).ravel()
    return Rule(grid, sums)


def finer_rule(n_dimensions: int) -> Rule | None:
    """Return the product grid with two more nodes along each dimension than the default; None above 4 dimensions.

    Examples
    --------
    >>> len(finer_rule(3).points), finer_rule(5)
    (343, None)
    """
    count = _PER_DIMENSION.get(n_dimensions)
    return None if count is None else quadrature_rule(n_dimensions, count + 2)


def normal_points(n_dimensions: int, count: int, seed: int = 0) -> np.ndarray:
    """Return points (count, d) that are spread as a standard normal distribution is: a scrambled Sobol sequence.

    Examples
    --------
    >>> abs(normal_points(2, 256).mean(axis=0)).max() < 0.02
    np.True_
    """
    return np.asarray(ndtri(Sobol(n_dimensions, scramble=True, rng=np.random.default_rng(seed)).random(count)))


def sampling_rule(n_dimensions: int) -> Rule:
    """Return importance sampling with 1536 points, for any number of dimensions; see `quadrature_rule`."""
    parts = []
    for seed, count in enumerate((_N_POSTERIOR, _N_GROUP)):
        normal = normal_points(n_dimensions, count, seed)
        normal -= normal.mean(axis=0)
        root = np.linalg.cholesky(normal.T @ normal / count)
        parts.append(np.linalg.solve(root, normal.T).T)
    count = _N_POSTERIOR + _N_GROUP
    return Rule(np.concatenate(parts), np.full(count, -np.log(count)), _N_GROUP)


@dataclass(frozen=True)
class Place:
    """Where nodes go, on the unconstrained scale: normal approximations of P posteriors and the group behind them.

    Attributes
    ----------
    mean : ndarray of shape (P, d)
    covariance : ndarray of shape (P, d, d)
    group_mean : ndarray of shape (P, d)
    group_covariance : ndarray of shape (d, d) or (P, d, d)
    """

    mean: np.ndarray
    covariance: np.ndarray
    group_mean: np.ndarray
    group_covariance: np.ndarray


def make_nodes(likelihood: ChoiceLikelihood, links: Sequence[Link], place: Place, rule: Rule) -> Nodes:
    """Evaluate P participants' likelihoods at a rule's points, placed at their posteriors."""
    theta, log_density = _placed(place, rule)
    return evaluated_nodes(likelihood, links, theta, log_density - rule.log_weights)


def evaluated_nodes(
    likelihood: ChoiceLikelihood, links: Sequence[Link], theta: np.ndarray, log_density: np.ndarray
) -> Nodes:
    """Evaluate P participants' likelihoods at points (P, Q, d); points where one is not finite weigh nothing.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
    links : sequence of Link, length d
    theta : ndarray of shape (P, Q, d)
        On the unconstrained scale.
    log_density : ndarray of shape (P, Q)
        Of what the points stand for, that is, a point's weight is one over it.
    """
    with np.errstate(all="ignore"):
        natural = to_natural(links, theta)
        value = likelihood.log_likelihood(np.ascontiguousarray(natural.transpose(1, 0, 2))).T
        log_weight = value - log_density
    return Nodes(theta, np.where(np.isfinite(log_weight), log_weight, -np.inf))


def _placed(place: Place, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, Q, d) of a rule, and the log density (P, Q) of the distribution that they stand for."""
    root = np.linalg.cholesky(place.covariance)
    if not rule.n_defensive:
        theta = place.mean[:, None, :] + rule.points @ root.transpose(0, 2, 1)
        return theta, log_normal_density(theta, place.mean, root)
    split = len(rule.points) - rule.n_defensive
    share = split / len(rule.points)
    root, group_root = _WIDER * root, np.linalg.cholesky(place.group_covariance)
    theta = np.concatenate(
        [
            place.mean[:, None, :] + rule.points[:split] @ root.transpose(0, 2, 1),
            place.group_mean[:, None, :] + rule.points[split:] @ group_root.swapaxes(-1, -2),
        ],
        axis=1,
    )
    # multiple importance sampling: every point counts by the mixture of both distributions
    own = log_normal_density(theta, place.mean, root)
    group = log_normal_density(theta, place.group_mean, group_root if group_root.ndim == 3 else group_root[None])
    return theta, np.logaddexp(np.log(share) + own, np.log1p(-share) + group)


def log_normal_density(theta: np.ndarray, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Log density (P, Q) of normal distributions with Cholesky factors ``root`` (P or 1, d, d)."""
    standard = (theta - mean[:, None, :]) @ np.linalg.inv(root).transpose(0, 2, 1)
    log_scale = np.sum(np.log(np.diagonal(root, axis1=1, axis2=2)), axis=1, keepdims=True)
    constant = 0.5 * theta.shape[2] * np.log(2.0 * np.pi)
    return np.asarray(-0.5 * np.sum(standard**2, axis=2) - log_scale - constant)
