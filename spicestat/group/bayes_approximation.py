"""Mixtures that stand for the likelihoods of choices: fitted to nodes, and compared with the likelihoods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from spicestat.group.bayes_mixture import LikelihoodMixture, fit_mixture, weighted_points
from spicestat.group.bayes_nodes import Place, place_nodes
from spicestat.group.likelihood import ChoiceLikelihood
from spicestat.group.links import Link
from spicestat.group.modes import to_natural

__all__ = ["approximate_likelihoods", "compare_likelihoods"]

_WIDER = 2.0
_MIN_SHARE = 0.7


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

    The nodes are placed twice: at the posteriors under the group distribution given, then at those under a prior that
    is twice as wide, for which the mixtures are fitted.

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
    """
    wide = _floored(_WIDER**2 * place.group_covariance, spread, _MIN_SHARE)
    first = place._replace(covariance=_floored(place.covariance, spread, 0.02), group_covariance=wide)
    nodes = place_nodes(likelihood, links, first, n_nodes)
    at = weighted_points(nodes, place.group_mean, wide)
    second = first._replace(mean=at.mean, covariance=_floored(at.covariance, spread, 0.02))
    nodes = place_nodes(likelihood, links, second, n_nodes)
    return fit_mixture(nodes, place.group_mean, wide, n_components)


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


def _floored(covariance: np.ndarray, spread: np.ndarray, share: float) -> np.ndarray:
    """Widen distributions that are narrower than a share of the spread in some direction."""
    scale = spread[:, None] * spread
    values, vectors = np.linalg.eigh(covariance / scale)
    return np.asarray(np.einsum("...ij,...j,...kj->...ik", vectors, values.clip(share**2), vectors) * scale)
