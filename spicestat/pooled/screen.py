"""Screening: what each state brings, or would bring, to the marginal likelihood, without fitting it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.pooled.contrasts import Design
from spicestat.pooled.laplace import Normal
from spicestat.pooled.logit import Derivatives, derivatives
from spicestat.pooled.packed import Floats, Ints

__all__ = ["Screen", "screen_states"]

_VARIANCES = np.concatenate([[0.0], np.geomspace(1e-3, 4.0, 13)])
_LEAST_CURVATURE = 1e-9


@dataclass(frozen=True, eq=False)
class Screen:
    """What each of K states is expected to bring over its absence.

    Attributes
    ----------
    gain_own, gain_shared : ndarray of shape (K,)
        Expected rise of the marginal log-likelihood, with a weight for every person, and with one for all.
    mean, variance : ndarray of shape (K,)
        Where the weights are expected to lie.
    """

    gain_own: Floats
    gain_shared: Floats
    mean: Floats
    variance: Floats


def screen_states(design: Design, inside: Ints, population: Normal, modes: Floats) -> Screen:
    r"""Expand everybody's likelihood in the weight of each state, the other fitted weights integrated out.

    With slope g and curvature h (after the other weights have followed), a person says :math:`b + g/h \pm h^{-1/2}`
    about the weight; the population's mean and variance of it are those that make these most probable.

    Parameters
    ----------
    design : Design
        All K states.
    inside : int ndarray
        Positions of the fitted states, in the order of the population's means.
    population : Normal
        Of the fitted states.
    modes : ndarray of shape (N, k)
        Everybody's weights of the fitted states.

    Returns
    -------
    Screen
    """
    weights = np.zeros((design.n_people, design.n_states))
    weights[:, inside] = modes
    local = derivatives(design, weights)
    slope, curvature = _outside(local, inside[population.own], population, modes)
    for position, column in enumerate(inside):
        slope[:, column], curvature[:, column] = _inside(local, inside, population, modes, position)
    said = weights + slope / curvature
    heights, means = zip(*(_integrated(said, curvature, v) for v in _VARIANCES), strict=True)
    gains, columns = np.array(heights), np.arange(design.n_states)
    best = gains.argmax(axis=0)
    return Screen(gains[best, columns], gains[0], np.array(means)[best, columns], _VARIANCES[best])


def _outside(local: Derivatives, own: Ints, population: Normal, modes: Floats) -> tuple[Floats, Floats]:
    """Slope and curvature (N, K) in the weights of further states, people's own weights integrated out."""
    inner = local.information[:, own[:, None], own] + population.precision
    cross = local.information[:, :, own]
    solved = np.linalg.solve(inner, cross.transpose(0, 2, 1))
    followed = np.einsum("nkl,nlk->nk", cross, solved)
    curvature = np.maximum(np.einsum("nkk->nk", local.information) - followed, _LEAST_CURVATURE)
    return local.slope.copy(), curvature


def _inside(
    local: Derivatives, inside: Ints, population: Normal, modes: Floats, position: int
) -> tuple[Floats, Floats]:
    """Slope and curvature (N,) in the weight of a fitted state, its own prior taken away."""
    column, kept = inside[position], population.own != position
    own = population.own[kept]
    others = inside[own]
    precision = np.linalg.inv(population.covariance[np.ix_(kept, kept)])
    inner = local.information[:, others[:, None], others] + precision
    cross = local.information[:, others, column]
    slope_others = local.slope[:, others] - (modes[:, own] - population.mean[own]) @ precision
    solved = np.linalg.solve(inner, np.stack([cross, slope_others], axis=2))
    curvature = local.information[:, column, column] - (cross * solved[:, :, 0]).sum(axis=1)
    slope = local.slope[:, column] - (cross * solved[:, :, 1]).sum(axis=1)
    return slope, np.maximum(curvature, _LEAST_CURVATURE)


def _integrated(said: Floats, curvature: Floats, variance: float) -> tuple[Floats, Floats]:
    """Gain and best mean for one variance, each of shape (K,)."""
    noise = 1.0 / curvature + variance
    mean = (said / noise).sum(axis=0) / (1.0 / noise).sum(axis=0)
    fitted = -0.5 * (said - mean) ** 2 / noise - 0.5 * np.log(noise)
    absent = -0.5 * said**2 * curvature + 0.5 * np.log(curvature)
    return (fitted - absent).sum(axis=0), mean
