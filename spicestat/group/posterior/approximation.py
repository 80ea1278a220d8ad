"""Mixtures that stand for the likelihoods of choices: fitted to nodes, and compared with the likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link
from spicestat.group.marginal.modes import to_natural
from spicestat.group.marginal.quadrature import Nodes, Place, log_normal_density
from spicestat.group.posterior.likelihood_mixture import LikelihoodMixture, from_posterior
from spicestat.group.posterior.proposals import around_mixtures, around_posteriors, place_nodes
from spicestat.group.posterior.weighted_mixture import fit_weighted

__all__ = ["approximate_likelihoods", "compare_likelihoods"]

_WIDER = 2.0
_MIN_SHARE = 0.7
_ENOUGH = 64.0
_DRAWN_AGAIN = 2


def approximate_likelihoods(
    likelihood: ChoiceLikelihood,
    links: Sequence[Link],
    place: Place,
    spread: np.ndarray,
    *,
    n_nodes: int,
    n_components: int,
) -> LikelihoodMixture:
    """Evaluate participants' likelihoods, and approximate them wherever a group distribution may go.

    Nodes are drawn about the posteriors under the group distribution given, then, twice, from mixtures fitted to
    their posteriors under a prior that is twice as wide (population Monte Carlo). Where few nodes carry the weight,
    their weights are evened out for the next draws, so that these do not collapse. The last mixtures, divided
    by the wide prior, are the result.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of P participants.
    links : sequence of Link, length d
    place : Place
        Participants and group under the group distribution that fits best.
    spread : ndarray of shape (d,)
        Standard deviations of the coefficients over participants; the wide prior has at least .7 of it, whatever the
        group distribution.
    n_nodes : int
        Points per participant, a power of 2.
    n_components : int
        Of each mixture.

    References
    ----------
    Cappe et al. (2008), https://doi.org/10.1007/s11222-008-9059-x.
    """
    wide = _floored(_WIDER**2 * place.group_covariance, spread, _MIN_SHARE)
    first = replace(place, covariance=_floored(place.covariance, spread, 0.02), group_covariance=wide)
    proposal = around_posteriors(first)
    for _ in range(_DRAWN_AGAIN):
        nodes = place_nodes(likelihood, links, proposal, n_nodes // _DRAWN_AGAIN)
        log_weight = _posterior_weights(nodes, place.group_mean, wide)
        found = fit_weighted(nodes.theta, _evened(log_weight, _ENOUGH), n_components)
        proposal = around_mixtures(found, place.group_mean, wide)
    nodes = place_nodes(likelihood, links, proposal, n_nodes)
    log_weight = _posterior_weights(nodes, place.group_mean, wide)
    found = fit_weighted(nodes.theta, _evened(log_weight, 1.0), n_components)
    return from_posterior(found, logsumexp(log_weight, axis=1), place.group_mean, wide)


def compare_likelihoods(
    mixture: LikelihoodMixture, likelihood: ChoiceLikelihood, links: Sequence[Link], theta: np.ndarray
) -> pd.DataFrame:
    """Compare mixtures with what they stand for, at posterior draws.

    Parameters
    ----------
    mixture : LikelihoodMixture
        Of N participants.
    likelihood : ChoiceLikelihood
        Of the same.
    links : sequence of Link, length d
    theta : ndarray of shape (n, N, d)
        Posterior draws of their coefficients.

    Returns
    -------
    DataFrame
        ``participant``; ``log_ratio_sd``, the standard deviation over draws of the log of likelihood over mixture, 0
        if the mixture is exact (a constant factor does not matter); ``ess_share``, the effective share of draws, in
        (0, 1], if the ratios were their weights.
    """
    with np.errstate(all="ignore"):
        natural = np.ascontiguousarray(to_natural(links, theta))
        log_ratio = likelihood.log_likelihood(natural) - mixture.log_likelihood(theta)
    ratio = np.exp(log_ratio - log_ratio.max(axis=0))
    return pd.DataFrame(
        {
            "participant": list(likelihood.participants),
            "log_ratio_sd": log_ratio.std(axis=0),
            "ess_share": ratio.mean(axis=0) ** 2 / (ratio**2).mean(axis=0),
        }
    )


def _posterior_weights(nodes: Nodes, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return log weights (N, Q) of nodes under a normal prior."""
    root = np.linalg.cholesky(covariance)
    return np.asarray(nodes.log_weight + log_normal_density(nodes.theta, mean, root[None]))


def _evened(log_weight: np.ndarray, enough: float) -> np.ndarray:
    """Return weights (N, Q) that sum to 1, to a power of at most 1 by which the effective number of nodes is enough."""
    relative = log_weight - log_weight.max(axis=1, keepdims=True)
    low, high = np.zeros(len(relative)), np.ones(len(relative))
    power = high
    for _ in range(20):
        weight = np.exp(power[:, None] * relative)
        few = weight.sum(axis=1) ** 2 < enough * np.sum(weight**2, axis=1)
        low, high = np.where(few, low, power), np.where(few, power, high)
        power = np.where(few | (power < 1.0), 0.5 * (low + high), power)
    weight = np.exp(low[:, None] * relative)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _floored(covariance: np.ndarray, spread: np.ndarray, share: float) -> np.ndarray:
    """Widen distributions that are narrower than a share of the spread in some direction."""
    scale = spread[:, None] * spread
    values, vectors = np.linalg.eigh(covariance / scale)
    return np.asarray(np.einsum("...ij,...j,...kj->...ik", vectors, values.clip(share**2), vectors) * scale)
