r"""The M-step: where the Laplace marginal likelihood would stand still, given everybody's posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spicestat.pooled.laplace import Normal, Posterior
from spicestat.pooled.packed import Floats, Ints

__all__ = ["Part", "Prior", "laplace_gradient", "log_prior", "maximise", "prior_gradient"]

_LEAST_SHARE = 1e-8


@dataclass(frozen=True)
class Prior:
    r"""Weak prior of the population, in units of states that were divided by their scale.

    The covariance has density :math:`|\Sigma|^{-n/2} \exp(-n s^2 \mathrm{tr}(\Sigma^{-1}) / 2)`.

    Attributes
    ----------
    people : float, default 2
        How many people the prior of the covariance is worth, n.
    sd : float, default 0.1
        Standard deviation of the weights that it expects, s.
    mean_sd : float, default 10
        Standard deviation of the means around 0.
    """

    people: float = 2.0
    sd: float = 0.1
    mean_sd: float = 10.0


class Part(NamedTuple):
    """Posteriors under one component of a population: of whom how much, and by what its covariance is multiplied."""

    found: Posterior
    weight: Floats | float = 1.0
    scale: float = 1.0

    def weights(self) -> Floats:
        """Share of every person, shape (N,)."""
        return np.broadcast_to(np.asarray(self.weight, dtype=float), (len(self.found.mode),))


def log_prior(population: Normal, prior: Prior | None) -> float:
    """Log-density of the prior, up to a constant."""
    if prior is None:
        return 0.0
    spread = prior.people * (np.linalg.slogdet(population.covariance)[1] + prior.sd**2 * np.trace(population.precision))
    return float(-0.5 * spread - 0.5 * (population.mean**2).sum() / prior.mean_sd**2)


def prior_gradient(population: Normal, prior: Prior | None) -> tuple[Floats, Floats]:
    """Gradient of `log_prior` by the means and by the covariance."""
    if prior is None:
        return np.zeros_like(population.mean), np.zeros_like(population.covariance)
    precision = population.precision
    by_covariance = 0.5 * prior.people * (prior.sd**2 * precision @ precision - precision)
    return -population.mean / prior.mean_sd**2, np.asarray(by_covariance)


def maximise(population: Normal, parts: Sequence[Part], prior: Prior | None) -> Normal:
    """Find new means and covariance.

    Parameters
    ----------
    population : Normal
        Under which the posteriors were found.
    parts : sequence of Part
        One for a normal population; for a mixture, each component's.
    prior : Prior or None
    """
    own = population.own
    mean = population.mean + _shared_step(population, parts, prior)
    weights = [part.weights() / part.scale for part in parts]
    total = sum(float(w.sum()) for w in weights)
    mean[own] = sum(w @ (p.found.mode[:, own] + p.found.shift) for w, p in zip(weights, parts, strict=True)) / total
    if prior is not None:
        precision = total * population.precision
        mean[own] = np.linalg.solve(precision + np.eye(len(own)) / prior.mean_sd**2, precision @ mean[own])
    return Normal(mean, _spread(own, parts, mean[own], prior), own)


def _spread(own: Ints, parts: Sequence[Part], centre: Floats, prior: Prior | None) -> Floats:
    """Covariance at which the gradient vanishes; were it not positive definite, plain EM's."""
    people = sum(float(part.weights().sum()) for part in parts) + (0.0 if prior is None else prior.people)
    safe = (0.0 if prior is None else prior.people * prior.sd**2) * np.eye(len(own))
    cross = np.zeros_like(safe)
    for part in parts:
        weight, mode = part.weights() / part.scale, part.found.mode[:, own] - centre
        safe = safe + np.tensordot(weight, part.found.covariance, 1) + (mode * weight[:, None]).T @ mode
        mixed = (mode * weight[:, None]).T @ part.found.shift
        cross = cross + mixed + mixed.T
    lowest, highest = np.linalg.eigvalsh(safe + cross)[[0, -1]] if len(own) else (1.0, 1.0)
    return np.asarray((safe + cross if lowest > _LEAST_SHARE * highest else safe) / people)


def _shared_step(population: Normal, parts: Sequence[Part], prior: Prior | None) -> Floats:
    """Newton step of the shared weights, with people's own weights following; 0 for the own."""
    step, own, shared = np.zeros_like(population.mean), population.own, population.shared
    if not len(shared):
        return step
    slope, curvature = np.zeros(len(shared)), 1e-9 * np.eye(len(shared))
    if prior is not None:
        slope, curvature = -population.mean[shared] / prior.mean_sd**2, np.eye(len(shared)) / prior.mean_sd**2
    for part in parts:
        information = part.found.at_mode.information
        cross = information[:, shared[:, None], own]
        each = information[:, shared[:, None], shared] - cross @ part.found.covariance @ cross.transpose(0, 2, 1)
        curvature = curvature + np.tensordot(part.weights(), each, 1)
        slope = slope + part.weights() @ _shared_slope(part.found, own, shared)
    step[shared] = np.linalg.solve(curvature, slope)
    return step


def _shared_slope(found: Posterior, own: Ints, shared: Ints) -> Floats:
    """Everybody's slope of the Laplace log-likelihood in the shared weights, (N, S)."""
    cross = found.at_mode.information[:, shared[:, None], own]
    direct = found.at_mode.slope[:, shared] - 0.5 * found.skew[:, shared]
    return np.asarray(direct - np.einsum("nsl,nl->ns", cross, found.shift))


def laplace_gradient(population: Normal, found: Posterior) -> tuple[Floats, Floats]:
    """Gradient of the Laplace marginal log-likelihood.

    Parameters
    ----------
    population : Normal
    found : Posterior
        At its modes, with `skew`.

    Returns
    -------
    (ndarray of shape (K,), ndarray of shape (L, L))
        By the means (shared weights included), and by the covariance, as a symmetric matrix.
    """
    own, precision = population.own, population.precision
    away, n_people = found.mode[:, own] - population.mean[own], len(found.mode)
    by_mean = np.zeros_like(population.mean)
    by_mean[own] = (away + found.shift).sum(axis=0) @ precision
    shared = population.shared
    by_mean[shared] = _shared_slope(found, own, shared).sum(axis=0)
    mixed = np.einsum("nk,nl->kl", away, found.shift)
    moment = found.covariance.sum(axis=0) + away.T @ away + mixed + mixed.T
    by_covariance = 0.5 * precision @ (moment - n_people * population.covariance) @ precision
    return by_mean, np.asarray((by_covariance + by_covariance.T) / 2.0)
