"""Participants' likelihoods as mixtures of normal densities, which integrate over a group in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from spicestat.group.posterior.weighted_mixture import NormalMixtures

__all__ = ["LikelihoodMixture", "ParticipantDraws", "draw_participants", "from_posterior"]


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


def from_posterior(
    found: NormalMixtures, log_marginal: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> LikelihoodMixture:
    """Divide posteriors under a normal prior by that prior.

    Parameters
    ----------
    found : NormalMixtures
        Posteriors of N participants.
    log_marginal : ndarray of shape (N,)
        Logs of the integrals of likelihood times prior.
    mean : ndarray of shape (N, d)
        Of the prior. The likelihood is well approximated where the prior has mass.
    covariance : ndarray of shape (d, d)
        Likewise.
    """
    root = np.linalg.cholesky(covariance)
    back = np.linalg.inv(root)
    # in units of the prior, whose precision is I
    centre = (found.mean - mean[:, None, :]) @ back.T
    values, vectors = np.linalg.eigh(np.linalg.inv(back @ found.covariance @ back.T) - np.eye(len(root)))
    # posteriors that are wider than their prior in some direction are so by chance
    precision = (vectors * values.clip(0.0)[..., None, :]) @ vectors.swapaxes(2, 3)
    value = found.log_share + log_marginal[:, None] - 0.5 * np.linalg.slogdet(found.covariance)[1]
    value += 0.5 * np.sum(centre**2, axis=2) + np.log(np.diag(root)).sum()
    return LikelihoodMixture(found.mean, value, centre @ back, back.T @ precision @ back)


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
    """Choose a component by what it integrates to, as `on_mixture` has it, and draw."""
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
