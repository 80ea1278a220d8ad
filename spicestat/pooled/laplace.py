r"""Everybody's posterior under a normal population, and the marginal likelihood by Laplace's approximation.

A person's weights are :math:`b_i \sim N(\mu, \Sigma)` for the states in `own`; those of the other states are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import logsumexp

from spicestat.pooled.contrasts import Design
from spicestat.pooled.logit import Derivatives, derivatives, skewness
from spicestat.pooled.packed import Floats, Ints

__all__ = ["Normal", "Posterior", "memberships", "posterior"]

_ROUNDS = 50
_HALVINGS = 12


@dataclass(frozen=True, eq=False)
class Normal:
    """A normal population of weights.

    Attributes
    ----------
    mean : ndarray of shape (K,)
        Means; for states whose weight is shared, that weight.
    covariance : ndarray of shape (L, L)
        Covariance of the weights that are people's own.
    own : int ndarray of shape (L,)
        Positions of the states whose weights are people's own.
    """

    mean: Floats
    covariance: Floats
    own: Ints

    @cached_property
    def precision(self) -> Floats:
        """Inverse of the covariance."""
        inverse = np.linalg.inv(self.covariance)
        return np.asarray((inverse + inverse.T) / 2.0)

    @cached_property
    def shared(self) -> Ints:
        """Positions of the other states."""
        others = np.ones(len(self.mean), dtype=bool)
        others[self.own] = False
        return np.flatnonzero(others)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior of N people's weights.

    Attributes
    ----------
    mode : ndarray of shape (N, K)
        Most probable weights, the shared ones included.
    shift : ndarray of shape (N, L)
        Posterior mean minus mode, to first order; 0 where skewness was not asked for.
    covariance : ndarray of shape (N, L, L)
        Inverse curvature at the mode.
    log_marginal : ndarray of shape (N,)
        Log-likelihood integrated over the population, by Laplace's approximation.
    at_mode : Derivatives
        The log-likelihood at the mode, slope (N, K) and information (N, K, K).
    skew : ndarray of shape (N, K)
        `skewness` at the mode; 0 where it was not asked for.
    """

    mode: Floats
    shift: Floats
    covariance: Floats
    log_marginal: Floats
    at_mode: Derivatives
    skew: Floats


def posterior(
    design: Design,
    population: Normal,
    start: Floats | None = None,
    tolerance: float = 1e-9,
    rounds: int = _ROUNDS,
    skewed: bool = True,
) -> Posterior:
    """Find everybody's posterior mode by Newton's method, and what Laplace's approximation says there.

    Parameters
    ----------
    design : Design
    population : Normal
    start : ndarray of shape (N, K), optional
        Where to start. Default: the population's mean.
    tolerance : float, default 1e-9
        Rise of the log-posterior, in nats per person, that still counts.
    rounds : int, default 50
        Most Newton steps.
    skewed : bool, default True
        Whether third derivatives, and from them the posterior mean, are computed.

    Returns
    -------
    Posterior
    """
    mode, local, precision = _climb(design, population, start, tolerance, rounds)
    own = population.own
    curvature = local.information[:, own[:, None], own] + precision
    covariance = np.asarray(np.linalg.inv(curvature), dtype=np.float64)
    away = mode[:, own] - population.mean[own]
    height = local.log_lik - 0.5 * np.einsum("nk,kl,nl->n", away, precision, away)
    volume = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(curvature)[1]
    skew = np.zeros_like(mode)
    if skewed:
        skew = skewness(design, mode, _embed(covariance, own, design.n_states))
    shift = -0.5 * np.einsum("nkl,nl->nk", covariance, skew[:, own])
    return Posterior(mode, shift, covariance, height + 0.5 * volume, local, skew)


def memberships(found: Sequence[Posterior], shares: Floats) -> tuple[Floats, Floats]:
    """Return how probably N people are of each of C kinds (N, C), and their marginal log-likelihood (N,).

    Parameters
    ----------
    found : sequence of C Posterior
        Under each kind's population.
    shares : ndarray of shape (C,)
        How many people are of each kind.
    """
    joint = np.stack([one.log_marginal for one in found], axis=1) + np.log(shares)
    marginal = np.asarray(logsumexp(joint, axis=1))
    return np.exp(joint - marginal[:, None]), marginal


def _embed(covariance: Floats, own: Ints, n_states: int) -> Floats:
    """Covariances of all K weights: 0 for the shared ones."""
    if len(own) == n_states:
        return covariance
    out = np.zeros((len(covariance), n_states, n_states))
    out[:, own[:, None], own] = covariance
    return out


def _climb(
    design: Design, population: Normal, start: Floats | None, tolerance: float, rounds: int
) -> tuple[Floats, Derivatives, Floats]:
    """Newton's method on the concave log-posterior, with steps halved until nobody falls."""
    own, precision = population.own, population.precision
    weights = np.repeat(population.mean[None], design.n_people, axis=0)
    if start is not None:
        weights[:, own] = start[:, own]
    here = derivatives(design, weights)
    for _ in range(rounds):
        away = weights[:, own] - population.mean[own]
        slope = here.slope[:, own] - away @ precision
        curvature = here.information[:, own[:, None], own] + precision
        step = np.asarray(np.linalg.solve(curvature, slope[..., None])[..., 0], dtype=np.float64)
        gain = 0.5 * (slope * step).sum(axis=1)
        if gain.max(initial=0.0) < tolerance:
            break
        weights, here = _rise(design, population, precision, weights, here, step)
    return weights, here, precision


def _rise(
    design: Design, population: Normal, precision: Floats, weights: Floats, here: Derivatives, step: Floats
) -> tuple[Floats, Derivatives]:
    """Take the step, or the largest half, quarter, ... of it by which the log-posterior does not fall."""
    own = population.own

    def height(at: Floats, log_lik: Floats) -> Floats:
        away = at[:, own] - population.mean[own]
        return np.asarray(log_lik - 0.5 * ((away @ precision) * away).sum(axis=1))

    before, share = height(weights, here.log_lik), np.ones(len(weights))
    for _ in range(_HALVINGS):
        there = weights.copy()
        there[:, own] += share[:, None] * step
        found = derivatives(design, there)
        after = height(there, found.log_lik)
        fallen = ~(after >= before - 30.0 * design.rounding * (1.0 + np.abs(before)))
        if not fallen.any():
            return there, found
        share[fallen] *= 0.5
    there[fallen] = weights[fallen]
    return there, derivatives(design, there)
