"""Importance nodes for a Bayesian group model: participants' likelihoods at points spread about their posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, ndtri
from scipy.stats.qmc import Sobol

from spicestat.group.likelihood import ChoiceLikelihood
from spicestat.group.links import Link
from spicestat.group.modes import to_natural
from spicestat.group.nodes import Nodes

__all__ = ["Place", "place_nodes"]

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
