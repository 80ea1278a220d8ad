"""Quadrature nodes: participants' likelihoods at a few well-placed points, reused for every group distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

from spicestat.group.likelihood import ChoiceLikelihood
from spicestat.group.links import Link
from spicestat.group.modes import Modes, to_natural

__all__ = ["Nodes", "Rule", "make_nodes", "quadratic_nodes", "quadrature_rule"]

_PER_DIMENSION = {1: 15, 2: 9, 3: 5, 4: 4}
_N_SOBOL = 512
_WIDER = 1.3


@dataclass(frozen=True)
class Rule:
    r"""Points x and weights with :math:`\sum_q e^{w_q} f(x_q) \approx \int f(x)\,N(x; 0, I)\,dx`.

    Attributes
    ----------
    points : ndarray of shape (Q, d)
    log_weights : ndarray of shape (Q,)
    wider : float
        Factor on the standard deviations of the posterior where the rule is placed.
    """

    points: np.ndarray
    log_weights: np.ndarray
    wider: float = 1.0


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
        in all); above that 512 points of a scrambled Sobol sequence (fixed seed), shifted and scaled
        to mean 0 and covariance I and placed 1.3 times as wide as the posterior, as importance sampling needs.

    References
    ----------
    Liu & Pierce (1994), https://doi.org/10.1093/biomet/81.3.624; Pan & Thompson (2007),
    https://doi.org/10.1016/j.csda.2006.10.003.

    Examples
    --------
    >>> rule = quadrature_rule(2)
    >>> float(np.sum(np.exp(rule.log_weights) * rule.points[:, 0] ** 2).round(12))
    1.0
    """
    count = per_dimension or _PER_DIMENSION.get(n_dimensions)
    if count is None:
        return _sobol_rule(n_dimensions)
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    grid = np.stack(np.meshgrid(*[points] * n_dimensions, indexing="ij"), axis=-1).reshape(-1, n_dimensions)
    log_weights = np.log(weights / weights.sum())
    sums = np.stack(np.meshgrid(*[log_weights] * n_dimensions, indexing="ij"), axis=-1).sum(axis=-1).ravel()
    return Rule(grid, sums)


def _sobol_rule(n_dimensions: int) -> Rule:
    normal = ndtri(Sobol(n_dimensions, scramble=True, rng=np.random.default_rng(20260101)).random(_N_SOBOL))
    normal -= normal.mean(axis=0)
    root = np.linalg.cholesky(normal.T @ normal / _N_SOBOL)
    return Rule(np.linalg.solve(root, normal.T).T, np.full(_N_SOBOL, -np.log(_N_SOBOL)), _WIDER)


def make_nodes(
    likelihood: ChoiceLikelihood, links: Sequence[Link], mean: np.ndarray, covariance: np.ndarray, rule: Rule
) -> Nodes:
    """Place a rule at participants' posteriors and evaluate their likelihoods there.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of P participants.
    links : sequence of Link, length d
    mean : ndarray of shape (P, d)
    covariance : ndarray of shape (P, d, d)
        Where the posteriors are, on the unconstrained scale.
    rule : Rule
    """
    theta, log_density = _placed(mean, covariance, rule)
    with np.errstate(all="ignore"):
        natural = to_natural(links, theta)
        value = likelihood.log_likelihood(np.ascontiguousarray(natural.transpose(1, 0, 2))).T
    log_weight = value + rule.log_weights - log_density
    return Nodes(theta, np.where(np.isfinite(log_weight), log_weight, -np.inf))


def quadratic_nodes(modes: Modes, rule: Rule) -> Nodes:
    """Place a rule at participants' modes, with the likelihood's second-order expansion there (Laplace)."""
    theta, log_density = _placed(modes.mode, modes.covariance, rule)
    away = theta - modes.mode[:, None, :]
    local = modes.likelihood
    values, vectors = np.linalg.eigh(np.nan_to_num(local.information))
    along = away @ vectors
    value = local.value[:, None] + np.einsum("pqk,pk->pq", away, local.gradient)
    value -= 0.5 * np.einsum("pqk,pk->pq", along**2, values.clip(0.0))
    return Nodes(theta, value + rule.log_weights - log_density)


def _placed(mean: np.ndarray, covariance: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, Q, d) of a rule at given normal distributions, and their log densities (P, Q)."""
    root = rule.wider * np.linalg.cholesky(covariance)
    theta = mean[:, None, :] + np.einsum("qk,pjk->pqj", rule.points, root)
    within = -0.5 * (mean.shape[1] * np.log(2.0 * np.pi) + np.sum(rule.points**2, axis=1))
    return theta, within - np.sum(np.log(np.diagonal(root, axis1=1, axis2=2)), axis=1, keepdims=True)
