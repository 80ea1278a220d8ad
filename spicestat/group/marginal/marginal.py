"""Marginal likelihood of a normal group distribution from nodes, with posterior moments and information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from spicestat.group.marginal.quadrature import Nodes

__all__ = [
    "Group",
    "Information",
    "Posterior",
    "boundary_information",
    "gamma_information",
    "information",
    "log_likelihood",
    "posterior",
    "stacked_design",
]


@dataclass(frozen=True)
class Group:
    """A normal group distribution.

    Attributes
    ----------
    gamma : ndarray of shape (m,)
        Fixed effects of all coefficients.
    sigma : ndarray of shape (d, d)
        Covariance between participants.
    """

    gamma: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True)
class Posterior:
    """Participants' posteriors under a group distribution.

    Attributes
    ----------
    log_likelihood : ndarray of shape (P,)
        Marginal log-likelihood of each participant.
    weights : ndarray of shape (P, Q)
        Posterior probability of each node.
    mean : ndarray of shape (P, d)
    covariance : ndarray of shape (P, d, d)
    """

    log_likelihood: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class Information:
    """Observed information of the group distribution (Louis 1982).

    Attributes
    ----------
    gamma : ndarray of shape (m, m)
        Of the fixed effects, given Sigma.
    joint : ndarray of shape (m + s, m + s)
        Of the fixed effects and the s = d (d + 1) / 2 entries of Sigma's lower triangle.
    """

    gamma: np.ndarray
    joint: np.ndarray


def stacked_design(designs: list[np.ndarray]) -> np.ndarray:
    """Return Z (P, d, m) with which the coefficients' means are Z gamma, from one design matrix (P, p_k) each."""
    widths = [design.shape[1] for design in designs]
    stacked = np.zeros((len(designs[0]), len(designs), sum(widths)))
    for k, (design, end) in enumerate(zip(designs, np.cumsum(widths), strict=True)):
        stacked[:, k, end - widths[k] : end] = design
    return stacked


def _log_joint(nodes: Nodes, Z: np.ndarray, group: Group) -> np.ndarray:
    """Return log weight plus log density of the group distribution, (P, Q)."""
    root = np.linalg.cholesky(group.sigma)
    whiten = np.linalg.inv(root)
    # (theta - mu) whitened in one product, which is the bulk of the work
    standard = nodes.theta @ whiten.T - ((Z @ group.gamma) @ whiten.T)[:, None, :]
    d = len(root)
    constant = -0.5 * d * np.log(2.0 * np.pi) - np.sum(np.log(np.diag(root)))
    return np.asarray(nodes.log_weight + constant - 0.5 * np.einsum("pqk,pqk->pq", standard, standard))


def log_likelihood(nodes: Nodes, Z: np.ndarray, group: Group) -> float:
    """Marginal log-likelihood of all participants."""
    return float(np.sum(logsumexp(_log_joint(nodes, Z, group), axis=1)))


def posterior(nodes: Nodes, Z: np.ndarray, group: Group) -> Posterior:
    """Participants' posterior weights and moments under a group distribution."""
    joint = _log_joint(nodes, Z, group)
    top = joint.max(axis=1, keepdims=True)
    weights = np.exp(joint - top)
    total = weights.sum(axis=1, keepdims=True)
    weights /= total
    mean = (weights[:, None, :] @ nodes.theta)[:, 0]
    away = nodes.theta - mean[:, None, :]
    covariance = (away * weights[:, :, None]).transpose(0, 2, 1) @ away
    return Posterior((top + np.log(total))[:, 0], weights, mean, covariance)


def gamma_information(Z: np.ndarray, precision: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Observed information of the fixed effects given Sigma, from posterior covariances (P, d, d)."""
    pulled = precision @ Z
    return np.asarray(
        np.einsum("pkm,pkn->mn", Z, pulled) - np.einsum("pkm,pkl,pln->mn", pulled, covariance, pulled, optimize=True)
    )


def information(nodes: Nodes, Z: np.ndarray, group: Group, at: Posterior) -> Information:
    r"""Observed information by Louis' identity.

    :math:`I = E[-\partial^2 \log p(u \mid \psi)] - \mathrm{Var}[\partial \log p(u \mid \psi)]`, both over the
    participants' posteriors, for :math:`\psi = (\gamma, \mathrm{vech}\,\Sigma)`. The fixed effects and Sigma share
    information here, as the likelihood of choices is not normal.

    References
    ----------
    Louis (1982), https://doi.org/10.1111/j.2517-6161.1982.tb01203.x.
    """
    precision = np.linalg.inv(group.sigma)
    d, m = len(precision), Z.shape[2]
    rows, columns = np.tril_indices(d)
    s = len(rows)
    double = np.where(rows == columns, 0.5, 1.0)
    away = nodes.theta - (Z @ group.gamma)[:, None, :]
    pulled = away @ precision
    # complete-data scores: Z'P e, and for Sigma_jk the (j, k) entry of (P e e' P - P) / 2, twice off the diagonal
    score = np.empty((*nodes.log_weight.shape, m + s))
    score[:, :, :m] = pulled @ Z
    score[:, :, m:] = (pulled[:, :, rows] * pulled[:, :, columns] - precision[rows, columns]) * double
    centre = (at.weights[:, None, :] @ score)[:, 0]
    spread = score - centre[:, None, :]
    variance = np.einsum("pqi,pq,pqj->ij", spread, at.weights, spread, optimize=True)
    complete = _complete_information(Z, precision, at, away)
    return Information(gamma_information(Z, precision, at.covariance), complete - variance)


def boundary_information(sigma: np.ndarray) -> np.ndarray:
    r"""Return what the prior :math:`|\Sigma|^{1/2}` adds to the information of vech Sigma, (s, s).

    :math:`\frac12\,\mathrm{tr}(\Sigma^{-1}E_a\Sigma^{-1}E_b)` with :math:`E_a = \partial\Sigma/\partial\sigma_a`.
    """
    return 0.5 * _pairs(np.linalg.inv(sigma))[1]


def _pairs(precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products precision E_a, (s, d, d), and the traces of their pairwise products, (s, s)."""
    d = len(precision)
    rows, columns = np.tril_indices(d)
    basis = np.zeros((len(rows), d, d))
    basis[np.arange(len(rows)), rows, columns] = 1.0
    basis[np.arange(len(rows)), columns, rows] = 1.0
    turned = np.einsum("kl,alm->akm", precision, basis)
    return turned, np.einsum("akl,blk->ab", turned, turned)


def _complete_information(Z: np.ndarray, precision: np.ndarray, at: Posterior, away: np.ndarray) -> np.ndarray:
    """Return the expected complete-data information of (gamma, vech Sigma)."""
    d, m = len(precision), Z.shape[2]
    rows, columns = np.tril_indices(d)
    mean_away = (at.weights[:, None, :] @ away)[:, 0]
    second = np.einsum("pk,pl->kl", mean_away, mean_away) + at.covariance.sum(axis=0)
    turned, pairs = _pairs(precision)
    n = len(Z)
    block = np.empty((m + len(rows), m + len(rows)))
    block[:m, :m] = np.einsum("pkm,kl,pln->mn", Z, precision, Z, optimize=True)
    cross = np.einsum("pkm,akl,pl->ma", Z, turned @ precision, mean_away, optimize=True)
    block[:m, m:], block[m:, :m] = cross, cross.T
    curved = np.einsum("akl,blm,mn,nk->ab", turned, turned, precision, second, optimize=True)
    block[m:, m:] = curved - 0.5 * n * pairs
    symmetric = block[m:, m:]
    block[m:, m:] = (symmetric + symmetric.T) / 2.0
    return block
