"""Importance nodes for a Bayesian group model: participants' likelihoods at points spread about their posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, ndtri
from scipy.stats.qmc import Sobol

from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link
from spicestat.group.marginal.quadrature import Nodes, Place, evaluated_nodes, log_normal_density
from spicestat.group.posterior.weighted_mixture import NormalMixtures

__all__ = ["Proposal", "around_mixtures", "around_posteriors", "place_nodes"]

_SEED = 20260102


class Proposal(NamedTuple):
    """Mixtures from which nodes are drawn: ``share`` (N, M), ``mean`` (N, M, d), Cholesky ``root`` (N, M, d, d)."""

    share: np.ndarray
    mean: np.ndarray
    root: np.ndarray


def around_posteriors(place: Place) -> Proposal:
    """Return normal distributions .6, 1.2 and 2.4 times as wide as the posteriors, and the group's.

    Their shares are .35, .35, .15 and .15.
    """
    posterior = np.linalg.cholesky(place.covariance)
    roots = [scale * posterior for scale in (0.6, 1.2, 2.4)]
    roots.append(np.broadcast_to(np.linalg.cholesky(place.group_covariance), posterior.shape))
    mean = np.stack([place.mean] * 3 + [place.group_mean], axis=1)
    share = np.tile([0.35, 0.35, 0.15, 0.15], (len(mean), 1))
    return Proposal(share, mean, np.stack(roots, axis=1))


def around_mixtures(found: NormalMixtures, group_mean: np.ndarray, group_covariance: np.ndarray) -> Proposal:
    """Return mixtures 1.1 and 2 times as wide as those found (shares .6 and .25), and the group distribution (.15)."""
    root = np.linalg.cholesky(found.covariance)
    group = np.broadcast_to(np.linalg.cholesky(group_covariance), root[:, :1].shape)
    share = np.exp(found.log_share)
    return Proposal(
        np.concatenate([0.6 * share, 0.25 * share, np.full((len(share), 1), 0.15)], axis=1),
        np.concatenate([found.mean, found.mean, group_mean[:, None, :]], axis=1),
        np.concatenate([1.1 * root, 2.0 * root, group], axis=1),
    )


def place_nodes(likelihood: ChoiceLikelihood, links: Sequence[Link], proposal: Proposal, n_nodes: int) -> Nodes:
    """Evaluate participants' likelihoods at quasi-random points, weighted by the density of what they are drawn from.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of N participants.
    links : sequence of Link, length d
    proposal : Proposal
        Of M components.
    n_nodes : int
        Q, a power of 2.

    References
    ----------
    Owen & Zhou (2000), https://doi.org/10.1080/01621459.2000.10473909.
    """
    d = proposal.mean.shape[2]
    uniform = Sobol(d + 1, scramble=True, rng=np.random.default_rng(_SEED)).random(n_nodes)
    points = ndtri(uniform[:, 1:].clip(1e-12, 1.0 - 1e-12))
    bounds = np.cumsum(proposal.share, axis=1)[:, :-1]
    which = (uniform[:, 0] > bounds[:, :, None]).sum(axis=1)
    people = np.arange(len(which))[:, None]
    theta = proposal.mean[people, which]
    theta = theta + np.matmul(proposal.root[people, which], points[:, :, None])[..., 0]
    return evaluated_nodes(likelihood, links, theta, _log_density(proposal, theta) + np.log(n_nodes))


def _log_density(proposal: Proposal, theta: np.ndarray) -> np.ndarray:
    """Return log densities (N, Q) of the mixtures."""
    components = zip(*(np.moveaxis(part, 1, 0) for part in proposal), strict=True)
    # the share of a component may have vanished
    with np.errstate(divide="ignore"):
        parts = [np.log(share)[:, None] + log_normal_density(theta, mean, root) for share, mean, root in components]
    return np.asarray(logsumexp(parts, axis=0))
