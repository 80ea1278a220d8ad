"""What each person's own choices say: maximum-likelihood weights, and the uncertainty of the population's means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.pooled.contrasts import Design
from spicestat.pooled.laplace import Normal
from spicestat.pooled.logit import Derivatives, derivatives
from spicestat.pooled.packed import Floats, Ints

__all__ = ["OwnEstimates", "maximum_likelihood", "mean_covariance"]

_ROUNDS = 60
_HALVINGS = 15
_FLAT = 1e-4
_LEAST_RISE = 1e-10
_LOADING = 1e-3


@dataclass(frozen=True, eq=False)
class OwnEstimates:
    """Maximum-likelihood weights of N people, of the L states whose weights are their own; nothing is shrunk.

    Attributes
    ----------
    estimate, std_error : ndarray of shape (N, L)
        NaN where a person's choices do not bound the weight: it is separated, or does not change the likelihood.
    covariance : ndarray of shape (N, L, L)
        NaN in rows and columns of weights that are not bounded.
    log_lik : ndarray of shape (N,)
        The maximum (the supremum where weights are not bounded).
    """

    estimate: Floats
    std_error: Floats
    covariance: Floats
    log_lik: Floats


def maximum_likelihood(design: Design, population: Normal, start: Floats) -> OwnEstimates:
    """Maximise every person's likelihood, the shared weights held.

    Parameters
    ----------
    design : Design
    population : Normal
        Says which weights are people's own, and what the shared ones are.
    start : ndarray of shape (N, K)
        Where to start, for example the posterior modes.
    """
    own = population.own
    weights, here = start.copy(), derivatives(design, start)
    moving, part = np.arange(design.n_people), design
    for _ in range(_ROUNDS):
        local = Derivatives(*(field[moving] for field in here))
        step = _newton_step(local, own)
        far = (step * local.slope[:, own]).sum(axis=1) > _LEAST_RISE
        if not far.any():
            break
        if far.mean() < 0.5:
            part = part.of_people(np.flatnonzero(far))
            moving, step, local = moving[far], step[far], Derivatives(*(field[far] for field in local))
        weights[moving], found = _rise(part, own, weights[moving], local, step)
        for field, new in zip(here, found, strict=True):
            field[moving] = new
    covariance = _covariance(here.information[:, own[:, None], own])
    std_error = np.sqrt(np.einsum("nkk->nk", covariance))
    estimate = np.where(np.isnan(std_error), np.nan, weights[:, own])
    return OwnEstimates(estimate, std_error, covariance, here.log_lik)


def _newton_step(here: Derivatives, own: Ints) -> Floats:
    information = here.information[:, own[:, None], own]
    damping = 1e-9 * (1.0 + np.einsum("nkk->n", information))
    return np.linalg.solve(information + damping[:, None, None] * np.eye(len(own)), here.slope[:, own, None])[..., 0]


def _rise(design: Design, own: Ints, weights: Floats, here: Derivatives, step: Floats) -> tuple[Floats, Derivatives]:
    """Take the largest half, quarter, ... of each step by which the likelihood does not fall."""
    share = np.ones(len(weights))
    for _ in range(_HALVINGS):
        there = weights.copy()
        there[:, own] += share[:, None] * step
        found = derivatives(design, there)
        fallen = ~(found.log_lik >= here.log_lik - 1e-12 * (1.0 + np.abs(here.log_lik)))
        if not fallen.any():
            return there, found
        share[fallen] *= 0.5
    there[fallen] = weights[fallen]
    return there, derivatives(design, there)


def _covariance(information: Floats) -> Floats:
    """Inverse information; NaN for the weights that take part in a direction without information."""
    values, vectors = np.linalg.eigh(information)
    flat = values < _FLAT
    inverse = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, values))
    covariance = np.asarray((vectors * inverse[:, None]) @ vectors.transpose(0, 2, 1))
    unbounded = ((np.abs(vectors) > _LOADING) & flat[:, None]).any(axis=2)
    covariance[unbounded] = np.nan
    covariance.transpose(0, 2, 1)[unbounded] = np.nan
    return covariance


def mean_covariance(population: Normal, information: Floats, weight: Floats | None = None) -> Floats:
    """Covariance (K, K) of the population's means and shared weights, the covariance of people held.

    Parameters
    ----------
    population : Normal
    information : ndarray of shape (N, K, K)
        Of everybody's choices, at the modes.
    weight : ndarray of shape (N,), optional
        How much each person counts. Default: 1.
    """
    own = population.own
    cross = information[:, :, own]
    inner = np.linalg.inv(information[:, own[:, None], own] + population.precision)
    each = information - cross @ inner @ cross.transpose(0, 2, 1)
    total = each.sum(axis=0) if weight is None else np.tensordot(weight, each, 1)
    return np.asarray(np.linalg.pinv((total + total.T) / 2.0))
