"""Participants' likelihoods as mixtures of normal densities, which integrate over a group in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from spicestat.group.nodes import Nodes
from spicestat.group.weighted_mixture import NormalMixtures, fit_weighted

__all__ = [
    "LikelihoodMixture",
    "ParticipantDraws",
    "WeightedPoints",
    "draw_participants",
    "fit_mixture",
    "weighted_points",
]


@dataclass(frozen=True)
class LikelihoodMixture:
    r"""Likelihoods of N participants as sums of K exponentials of quadratics in d coefficients.

    .. math:: L_i(\theta) \approx \sum_k \exp\{v_{ik} + s_{ik}'(\theta - a_{ik})
        - \tfrac12 (\theta - a_{ik})' P_{ik} (\theta - a_{ik})\}

    Attributes
    ----------
    anchor : ndarray of shape (N, K, d)
        a.
    value : ndarray of shape (N, K)
        v.
    slope : ndarray of shape (N, K, d)
        s.
    precision : ndarray of shape (N, K, d, d)
        P, positive semidefinite.
    """

    anchor: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    precision: np.ndarray

    def rescaled(self, centre: np.ndarray, spread: np.ndarray) -> LikelihoodMixture:
        """Return the same functions, of ``(theta - centre) / spread``."""
        return LikelihoodMixture(
            (self.anchor - centre) / spread,
            self.value,
            self.slope * spread,
            self.precision * spread[:, None] * spread,
        )

    def log_likelihood(self, theta: np.ndarray) -> np.ndarray:
        """Return log-likelihoods (n, N) at coefficients of shape (n, N, d)."""
        away = theta[:, :, None, :] - self.anchor
        curved = np.matmul(self.precision, away[..., None])[..., 0]
        return np.asarray(logsumexp(self.value + np.sum((self.slope - 0.5 * curved) * away, axis=3), axis=2))


@dataclass(frozen=True)
class WeightedPoints:
    """Posteriors of N participants under a normal prior, as Q points each, in units of that prior.

    Attributes
    ----------
    points : ndarray of shape (N, Q, d)
    weight : ndarray of shape (N, Q)
        Sum to 1.
    log_marginal : ndarray of shape (N,)
        Log of the likelihood's integral over the prior.
    mean : ndarray of shape (N, d)
        Of the posterior, in the coefficients' units.
    covariance : ndarray of shape (N, d, d)
        Likewise.
    """

    points: np.ndarray
    weight: np.ndarray
    log_marginal: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class ParticipantDraws:
    """Participants given n draws of the group distribution.

    Attributes
    ----------
    theta : ndarray of shape (n, N, d)
        One draw of every participant's coefficients for each draw of the group.
    log_likelihood : ndarray of shape (n, N)
        Marginal log-likelihood of every participant.
    """

    theta: np.ndarray
    log_likelihood: np.ndarray


def weighted_points(nodes: Nodes, mean: np.ndarray, covariance: np.ndarray) -> WeightedPoints:
    """Weight nodes by a normal prior.

    Parameters
    ----------
    nodes : Nodes
        Of N participants, Q points and d coefficients.
    mean : ndarray of shape (N, d)
        Of the prior.
    covariance : ndarray of shape (d, d)
        Likewise.
    """
    root = np.linalg.cholesky(covariance)
    points = (nodes.theta - mean[:, None, :]) @ np.linalg.inv(root).T
    log_prior = -0.5 * np.sum(points**2, axis=2) - 0.5 * len(root) * np.log(2.0 * np.pi) - np.log(np.diag(root)).sum()
    log_weight = nodes.log_weight + log_prior
    log_marginal = logsumexp(log_weight, axis=1)
    weight = np.exp(log_weight - log_marginal[:, None])
    centre = np.einsum("nq,nqi->ni", weight, nodes.theta)
    away = nodes.theta - centre[:, None, :]
    return WeightedPoints(points, weight, log_marginal, centre, (away * weight[:, :, None]).transpose(0, 2, 1) @ away)


def fit_mixture(nodes: Nodes, mean: np.ndarray, covariance: np.ndarray, n_components: int) -> LikelihoodMixture:
    """Fit mixtures of normal distributions to the posteriors under a wide normal prior, and divide them by it.

    Parameters
    ----------
    nodes : Nodes
        Of N participants, Q points and d coefficients.
    mean : ndarray of shape (N, d)
        Of the prior.
    covariance : ndarray of shape (d, d)
        Of the prior. The approximation is good for group distributions that are narrower than it.
    n_components : int
        K.
    """
    at = weighted_points(nodes, mean, covariance)
    found = fit_weighted(at.points, at.weight, n_components)
    return _divided(found, at.log_marginal, mean, np.linalg.cholesky(covariance))


def draw_participants(
    mixture: LikelihoodMixture, X: np.ndarray, gamma: np.ndarray, factor: np.ndarray, rng: np.random.Generator
) -> ParticipantDraws:
    """Draw participants' coefficients given draws of the group distribution.

    Parameters
    ----------
    mixture : LikelihoodMixture
        Of N participants and d coefficients.
    X : ndarray of shape (N, p)
    gamma : ndarray of shape (n, p, d)
        Fixed effects.
    factor : ndarray of shape (n, d, d)
        Cholesky factors of Sigma.
    rng : numpy.random.Generator
    """
    n_people, _, d = mixture.anchor.shape
    theta, log_likelihood = np.empty((len(gamma), n_people, d)), np.empty((len(gamma), n_people))
    for draw, (fixed, root) in enumerate(zip(gamma, factor, strict=True)):
        theta[draw], log_likelihood[draw] = _draw_once(mixture, X @ fixed, root, rng)
    return ParticipantDraws(theta, log_likelihood)


def _draw_once(
    mixture: LikelihoodMixture, mean: np.ndarray, root: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a component by what it integrates to, as `spicestat.group.bayes_density.on_mixture` has it, and draw."""
    n_people, _, d = mixture.anchor.shape
    people = np.arange(n_people)
    away = mean[:, None, :] - mixture.anchor
    curved = np.matmul(mixture.precision, away[..., None])[..., 0]
    inner = np.linalg.cholesky(np.eye(d) + root.T @ mixture.precision @ root)
    pulled = np.linalg.solve(inner, ((mixture.slope - curved) @ root)[..., None])[..., 0]
    value = mixture.value + np.sum((mixture.slope - 0.5 * curved) * away, axis=2) + 0.5 * np.sum(pulled**2, axis=2)
    value -= np.log(np.diagonal(inner, axis1=2, axis2=3)).sum(axis=2)
    top = value.max(axis=1, keepdims=True)
    share = np.cumsum(np.exp(value - top), axis=1)
    chosen = (share < (rng.random(n_people) * share[:, -1])[:, None]).sum(axis=1)
    noisy = pulled[people, chosen] + rng.standard_normal((n_people, d))
    back = np.linalg.solve(inner[people, chosen].transpose(0, 2, 1), noisy[..., None])[..., 0]
    return mean + back @ root.T, top[:, 0] + np.log(share[:, -1])


def _divided(found: NormalMixtures, log_marginal: np.ndarray, mean: np.ndarray, root: np.ndarray) -> LikelihoodMixture:
    """Divide by the standard normal density, and go back to the coefficients' units."""
    values, vectors = np.linalg.eigh(np.linalg.inv(found.covariance) - np.eye(len(root)))
    # posteriors that are wider than their prior in some direction are so by chance
    precision = (vectors * values.clip(0.0)[..., None, :]) @ vectors.swapaxes(2, 3)
    value = found.log_share + log_marginal[:, None] - 0.5 * np.linalg.slogdet(found.covariance)[1]
    inverse = np.linalg.inv(root)
    return LikelihoodMixture(
        mean[:, None, :] + found.mean @ root.T,
        value + 0.5 * np.sum(found.mean**2, axis=2),
        found.mean @ inverse,
        inverse.T @ precision @ inverse,
    )
