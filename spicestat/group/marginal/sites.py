r"""Normal likelihoods that stand for those of choices: expansions about modes, or matched moments.

A row's likelihood L meets what all other rows and the model say about its coefficients, its cavity
:math:`N(m, C)`. A *site* is a normal function that can replace L there: by the mode and curvature of L times the cavity
(Laplace), or by its mean and covariance (expectation propagation). Where nothing links rows the latter is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link
from spicestat.group.marginal.linear_model import Point, Sites
from spicestat.group.marginal.modes import Modes, posterior_modes
from spicestat.group.marginal.quadrature import Nodes

__all__ = ["Cavities", "expanded", "log_normaliser", "tilted"]

_LEAST = 1e-10
_EXACT = 1e-8
"""Gain in nats that steps to modes may leave. How uncertain covariances are is found from how modes follow small moves
of theirs: searches that stopped at 1e-6 made standard errors of seven coefficients up to 17 % too large."""
_MOST_LOST = 0.3
"""How much of a cavity's precision a site may take away, as likelihoods that are not concave do."""


class Cavities(NamedTuple):
    """What everything but a row's own choices says of it: mean (n, K), covariance and precision (n, K, K)."""

    mean: np.ndarray
    covariance: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(cls, point: Point) -> Cavities:
        """Return those of a linear model."""
        # a variance of 0 has no precision
        covariance = point.cavity_spread + _LEAST * np.eye(point.cavity.shape[1])
        return cls(point.cavity, covariance, np.linalg.inv(covariance))

    def posterior(self, sites: Sites) -> tuple[np.ndarray, np.ndarray]:
        """Return the means and covariances that sites give."""
        covariance = np.linalg.inv(self.precision + sites.precision)
        linear = np.matmul(self.precision, self.mean[:, :, None])[:, :, 0] + sites.linear
        return np.matmul(covariance, linear[:, :, None])[:, :, 0], covariance


def expanded(
    likelihood: ChoiceLikelihood, links: Sequence[Link], cavity: Cavities, start: np.ndarray
) -> tuple[Modes, Sites]:
    """Expand likelihoods about the modes that they have in their cavities."""
    modes = posterior_modes(likelihood, links, cavity.mean, cavity.covariance, start=start, tolerance=_EXACT)
    values, vectors = np.linalg.eigh(np.nan_to_num(modes.likelihood.information))
    precision = (vectors * values.clip(0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    linear = np.matmul(precision, modes.mode[:, :, None])[:, :, 0] + np.nan_to_num(modes.likelihood.gradient)
    return modes, Sites(precision, linear, np.ones(len(linear)))


def tilted(nodes: Nodes, cavity: Cavities) -> tuple[Sites, np.ndarray]:
    """Return sites with the moments that likelihoods have in their cavities, and their logs averaged over these, (n,).

    Parameters
    ----------
    nodes : Nodes
    cavity : Cavities
    """
    root = np.linalg.cholesky(cavity.precision)
    standard = (nodes.theta - cavity.mean[:, None, :]) @ root
    log_weight = nodes.log_weight - 0.5 * np.einsum("nqk,nqk->nq", standard, standard)
    volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1) - 0.5 * root.shape[1] * np.log(2.0 * np.pi)
    total = logsumexp(log_weight, axis=1)
    weight = np.exp(log_weight - total[:, None])
    mean = np.matmul(weight[:, None, :], nodes.theta)[:, 0]
    away = nodes.theta - mean[:, None, :]
    covariance = (away * weight[:, :, None]).transpose(0, 2, 1) @ away
    return _site(mean, covariance, cavity), total + volume


def _site(mean: np.ndarray, covariance: np.ndarray, cavity: Cavities) -> Sites:
    """Return the site that gives a mean and a covariance."""
    root = np.linalg.cholesky(cavity.precision)
    share = root.transpose(0, 2, 1) @ covariance @ root
    values, vectors = np.linalg.eigh(0.5 * (share + share.transpose(0, 2, 1)))
    # of the cavity's precision; below 0 where the likelihood is not concave
    gained = 1.0 / values.clip(1e-12, 1.0 / (1.0 - _MOST_LOST)) - 1.0
    vectors = root @ vectors
    precision = (vectors * gained[:, None, :]) @ vectors.transpose(0, 2, 1)
    moved = np.matmul(cavity.precision, (mean - cavity.mean)[:, :, None])[:, :, 0]
    return Sites(precision, moved + np.matmul(precision, mean[:, :, None])[:, :, 0], np.ones(len(mean)))


def log_normaliser(cavity: Cavities, sites: Sites) -> np.ndarray:
    """Return the log of sites averaged over their cavities, (n,)."""
    mean, covariance = cavity.posterior(sites)
    before = np.linalg.slogdet(cavity.precision)[1] + np.linalg.slogdet(covariance)[1]
    prior = np.einsum("nk,nkl,nl->n", cavity.mean, cavity.precision, cavity.mean)
    after = np.einsum("nk,nkl,nl->n", mean, cavity.precision + sites.precision, mean)
    return np.asarray(0.5 * (before + after - prior))
