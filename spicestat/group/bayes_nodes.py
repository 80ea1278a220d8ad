"""Importance nodes for a Bayesian group model: where to put them, how good they are, and draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, ndtri
from scipy.stats.qmc import Sobol

from spicestat.errors import ShapeError
from spicestat.group.likelihood import ChoiceLikelihood
from spicestat.group.links import Link
from spicestat.group.modes import to_natural
from spicestat.group.nodes import Nodes

__all__ = ["NodePosterior", "Place", "StandardNodes", "node_posterior", "place_nodes", "standard_nodes"]

_SCALES, _GROUP_SCALE = (0.6, 1.2, 2.4), 1.2
_SHARES = np.array([0.35, 0.35, 0.15, 0.15])
_SEED = 20260102


class Place(NamedTuple):
    """Where nodes go, on the unconstrained scale.

    ``mean`` (P, d) and ``covariance`` (P, d, d) of the participants' posteriors, ``group_mean`` (P, d) and
    ``group_covariance`` (d, d) of the group distribution.
    """

    mean: np.ndarray
    covariance: np.ndarray
    group_mean: np.ndarray
    group_covariance: np.ndarray


@dataclass(frozen=True)
class StandardNodes:
    """Nodes of N participants on the standard scale, as `spicestat.group.bayes_density.on_nodes` reads them.

    Attributes
    ----------
    features : ndarray of shape (N, Q, d (d + 1) / 2 + d)
        Products of the nodes' distances from ``centre``, then the distances: a normal log density is linear in them.
    centre : ndarray of shape (N, d)
    log_weight : ndarray of shape (N, Q)
    """

    features: np.ndarray
    centre: np.ndarray
    log_weight: np.ndarray


@dataclass(frozen=True)
class NodePosterior:
    """Participants given draws of the group distribution.

    Attributes
    ----------
    theta : ndarray of shape (n, N, d)
        One draw of every participant's coefficients for each draw of the group.
    log_likelihood : ndarray of shape (n, N)
        Marginal log-likelihood of every participant.
    ess : ndarray of shape (n, N)
        Effective number of nodes, between 1 and Q.
    """

    theta: np.ndarray
    log_likelihood: np.ndarray
    ess: np.ndarray


def place_nodes(likelihood: ChoiceLikelihood, links: Sequence[Link], place: Place, n_nodes: int) -> Nodes:
    """Evaluate participants' likelihoods at quasi-random points that serve for group distributions that vary.

    A posterior over the group visits distributions that are narrower or wider than the best one. The points of a
    participant are therefore from a mixture: normal distributions .6, 1.2 and 2.4 times as wide as the
    participant's posterior (shares .35, .35, .15), and one 1.2 times as wide as the group's. They are
    weighted by the density of the mixture.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of P participants.
    links : sequence of Link, length d
    place : Place
    n_nodes : int
        Q, a power of 2.

    References
    ----------
    Owen & Zhou (2000), https://doi.org/10.1080/01621459.2000.10473909.
    """
    d = place.mean.shape[1]
    uniform = Sobol(d + 1, scramble=True, rng=np.random.default_rng(_SEED)).random(n_nodes)
    points = ndtri(uniform[:, 1:].clip(1e-12, 1.0 - 1e-12))
    which = np.searchsorted(np.cumsum(_SHARES)[:-1], uniform[:, 0], side="right")
    theta = np.empty((len(place.mean), n_nodes, d))
    densities = []
    parts = [(place.mean, scale * np.linalg.cholesky(place.covariance)) for scale in _SCALES]
    group_root = _GROUP_SCALE * np.linalg.cholesky(place.group_covariance)
    parts.append((place.group_mean, np.broadcast_to(group_root, place.covariance.shape)))
    for part, (mean, root) in enumerate(parts):
        own = which == part
        theta[:, own] = mean[:, None, :] + points[own] @ root.transpose(0, 2, 1)
    for (mean, root), share in zip(parts, _SHARES, strict=True):
        standard = (theta - mean[:, None, :]) @ np.linalg.inv(root).transpose(0, 2, 1)
        log_scale = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1, keepdims=True)
        densities.append(np.log(share) - 0.5 * np.sum(standard**2, axis=2) - log_scale)
    log_density = logsumexp(densities, axis=0) - 0.5 * d * np.log(2.0 * np.pi)
    with np.errstate(all="ignore"):
        natural = to_natural(links, theta)
        value = likelihood.log_likelihood(np.ascontiguousarray(natural.transpose(1, 0, 2))).T
    log_weight = value - log_density - np.log(n_nodes)
    return Nodes(theta, np.where(np.isfinite(log_weight), log_weight, -np.inf))


def standard_nodes(nodes: Nodes, centre: np.ndarray, spread: np.ndarray) -> StandardNodes:
    """Bring nodes to the standard scale ``(theta - centre) / spread``.

    Parameters
    ----------
    nodes : Nodes
        Of N participants, Q points and d coefficients.
    centre, spread : ndarray of shape (d,)
    """
    n, _, d = nodes.theta.shape
    if nodes.log_weight.shape != nodes.theta.shape[:2] or centre.shape != (d,) or spread.shape != (d,):
        raise ShapeError("nodes and scale do not match", got=(nodes.theta.shape, nodes.log_weight.shape, centre.shape))
    theta = (nodes.theta - centre) / spread
    middle = theta.mean(axis=1)
    away = theta - middle[:, None, :]
    rows, columns = np.tril_indices(d)
    features = np.concatenate([away[:, :, rows] * away[:, :, columns], away], axis=2)
    # minus infinity has no derivative
    weight = np.where(np.isfinite(nodes.log_weight), nodes.log_weight, np.nan_to_num(nodes.log_weight, neginf=-1e30))
    return StandardNodes(features, middle, weight - np.log(spread).sum())


def node_posterior(
    nodes: Nodes, X: np.ndarray, gamma: np.ndarray, factor: np.ndarray, rng: np.random.Generator
) -> NodePosterior:
    """Draw participants' coefficients from their nodes, one for each draw of the group distribution.

    Parameters
    ----------
    nodes : Nodes
        Of N participants, Q points and d coefficients.
    X : ndarray of shape (N, p)
    gamma : ndarray of shape (n, p, d)
        Fixed effects.
    factor : ndarray of shape (n, d, d)
        Cholesky factors of Sigma.
    rng : numpy.random.Generator
    """
    n_people, _, d = nodes.theta.shape
    scaled = standard_nodes(nodes, np.zeros(d), np.ones(d))
    rows, columns = np.tril_indices(d)
    double = np.where(rows == columns, -0.5, -1.0)
    people = np.arange(n_people)
    theta = np.empty((len(gamma), n_people, d))
    log_likelihood, ess = np.empty((2, len(gamma), n_people))
    for draw in range(len(gamma)):
        inverse = np.linalg.inv(factor[draw])
        precision = inverse.T @ inverse
        offset = X @ gamma[draw] - scaled.centre
        pull = offset @ precision
        linear = np.concatenate([np.tile(double * precision[rows, columns], (n_people, 1)), pull], axis=1)
        exponent = scaled.log_weight + np.matmul(scaled.features, linear[:, :, None])[:, :, 0]
        top = exponent.max(axis=1, keepdims=True)
        weight = np.exp(exponent - top)
        total = weight.sum(axis=1)
        constant = np.log(np.diag(inverse)).sum() - 0.5 * d * np.log(2.0 * np.pi)
        log_likelihood[draw] = top[:, 0] + np.log(total) + constant - 0.5 * np.sum(pull * offset, axis=1)
        ess[draw] = total**2 / np.sum(weight**2, axis=1)
        passed = np.cumsum(weight, axis=1) < (rng.random(n_people) * total)[:, None]
        theta[draw] = nodes.theta[people, np.minimum(passed.sum(axis=1), weight.shape[1] - 1)]
    return NodePosterior(theta, log_likelihood, ess)
