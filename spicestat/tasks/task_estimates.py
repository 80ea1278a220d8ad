"""Estimates of a task's model: the population and everybody's place in it, and what each one's own choices say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from spicestat.group.inputs.links import Link, find_link
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical, stacked_design
from spicestat.group.marginal.modes import posterior_modes
from spicestat.group.marginal.quadrature import log_normal_density, normal_points
from spicestat.pooled.packed import Floats
from spicestat.tasks.task import Task
from spicestat.tasks.task_likelihood import TaskLikelihood, natural

__all__ = ["TaskEstimates", "estimate_people", "estimate_task", "log_marginals", "natural_moments"]

_WIDTH = {"identity": 2.0, "logit": 1.5, "log": 1.0}
_WEAK = 6.0
"""Standard deviation of the prior that keeps maximum-likelihood estimates from running away, in links' units."""
_FLAT, _FAR = 4.0, 5.0
"""Beyond such a standard error, or so far from usual values, an estimate is not bounded by the choices."""
_MOST_STEPS = 30
_N_NODES = 21
_N_POINTS, _WIDER = 256, 1.3


@dataclass(frozen=True, eq=False)
class TaskEstimates:
    """Estimates of P people's K parameters; those of the population on the scale of the links.

    Attributes
    ----------
    mean : ndarray of shape (K,)
        Of the population.
    covariance : ndarray of shape (K, K)
        Of people.
    person_mean : ndarray of shape (P, K)
        Posterior means of people.
    person_covariance : ndarray of shape (P, K, K)
        Their posterior covariances.
    own : ndarray of shape (P, K)
        Maximum-likelihood estimates, on the natural scale; NaN where the choices do not bound them.
    own_covariance : ndarray of shape (P, K, K)
        Likewise, with NaN in their rows and columns.
    own_log_likelihood : ndarray of shape (P,)
        The maxima.
    log_marginal : float
        Likelihood of everybody's choices, integrated over the population.
    converged : bool
    """

    mean: Floats
    covariance: Floats
    person_mean: Floats
    person_covariance: Floats
    own: Floats
    own_covariance: Floats
    own_log_likelihood: Floats
    log_marginal: float
    converged: bool


def estimate_task(likelihood: TaskLikelihood, report: Callable[[int, int, str], object] | None = None) -> TaskEstimates:
    """Estimate the population, people's places in it, and maxima of people's own likelihoods.

    The population is that of the one-stage model ``~ 1`` of `spice_group`, on the scale of the links. Maxima are
    searched from the pooled estimates and from usual values.

    Parameters
    ----------
    likelihood : TaskLikelihood
    report : callable, optional
        Called with (round, most rounds, message).
    """
    free, links = likelihood.unconstrained(), _identities(likelihood)
    center, width = _usual(likelihood)
    Z = stacked_design([np.ones((len(likelihood.participants), 1))] * len(links))
    fit = fit_hierarchical(free, links, Z, center, width, with_errors=False, report=report)
    own, covariance, height = _maxima(likelihood, fit.mean)
    return TaskEstimates(
        mean=fit.gamma,
        covariance=fit.sigma,
        person_mean=fit.mean,
        person_covariance=fit.spread,
        own=own,
        own_covariance=covariance,
        own_log_likelihood=height,
        log_marginal=fit.log_likelihood,
        converged=fit.converged and bool((np.abs(fit.gamma - center) < _FAR * width).all()),
    )


def estimate_people(likelihood: TaskLikelihood, population: TaskEstimates) -> TaskEstimates:
    """Estimate people's places in a population that is known, by Laplace's approximation, and maxima of their own."""
    free, links, n_people = likelihood.unconstrained(), _identities(likelihood), len(likelihood.participants)
    before = np.tile(population.mean, (n_people, 1))
    modes = posterior_modes(free, links, before, population.covariance)
    # from modes to means
    shift = -0.5 * np.einsum("pkl,pl->pk", modes.covariance, free.skewness(modes.mode, modes.covariance))
    away, precision = modes.mode - before, np.linalg.inv(population.covariance)
    volume = np.linalg.slogdet(modes.covariance)[1] - np.linalg.slogdet(population.covariance)[1]
    marginal = modes.likelihood.value - 0.5 * np.einsum("pk,kl,pl->p", away, precision, away) + 0.5 * volume
    own, covariance, height = _maxima(likelihood, modes.mode)
    return replace(
        population,
        person_mean=modes.mode + shift,
        person_covariance=modes.covariance,
        own=own,
        own_covariance=covariance,
        own_log_likelihood=height,
        log_marginal=float(marginal.sum()),
    )


def log_marginals(likelihood: TaskLikelihood, estimates: TaskEstimates) -> Floats:
    """Log-likelihood of each person's choices, integrated over the population, (P,).

    By importance sampling from everybody's posterior, widened, and from the population.
    """
    points = normal_points(len(estimates.mean), _N_POINTS)
    own = estimates.person_mean, _WIDER * np.linalg.cholesky(estimates.person_covariance)
    population = np.broadcast_to(estimates.mean, own[0].shape), np.linalg.cholesky(estimates.covariance)[None]
    place = np.concatenate(
        [mean[:, None] + points @ root.transpose(0, 2, 1) for mean, root in (own, population)], axis=1
    )
    prior, near = (log_normal_density(place, *normal) for normal in (population, own))
    heights = likelihood.unconstrained().log_likelihood(place.transpose(1, 0, 2)).T
    return np.asarray(logsumexp(heights + prior - np.logaddexp(prior, near), axis=1) - np.log(_N_POINTS))


def _identities(likelihood: TaskLikelihood) -> tuple[Link, ...]:
    return (find_link("identity"),) * len(likelihood.terms)


def _usual(likelihood: TaskLikelihood) -> tuple[Floats, Floats]:
    """Usual values on the scale of the links, and how far about them parameters may well be, (K,) each."""
    parameters, sizes = likelihood.task.parameters, likelihood.trials.sizes
    center = np.array([one.start(sizes) for one in parameters])
    return center, np.array([max(_WIDTH[one.link], 2.0 * one.spread) for one in parameters])


def _maxima(likelihood: TaskLikelihood, start: Floats) -> tuple[Floats, Floats, Floats]:
    """Return everybody's own estimates and covariances, natural, and log-likelihoods, from ``start`` (P, K) and others.

    A prior so wide that it moves no estimate which the choices bound keeps the others from running away.
    """
    links, (center, width) = likelihood.task.links, _usual(likelihood)
    begin, weak = np.tile(center, (len(start), 1)), np.diag((_WEAK * width) ** 2)
    free, identities = likelihood.unconstrained(), _identities(likelihood)
    found = [posterior_modes(free, identities, begin, weak, first, max_iter=_MOST_STEPS) for first in (start, begin)]
    heights = np.stack([modes.likelihood.value for modes in found])
    best, at = heights.argmax(axis=0), np.arange(heights.shape[1])
    place = np.stack([modes.mode for modes in found])[best, at]
    information = np.stack([modes.likelihood.information for modes in found])[best, at]
    values, vectors = np.linalg.eigh(np.nan_to_num(information))
    covariance = (vectors / np.maximum(values, 1e-12)[:, None]) @ vectors.transpose(0, 2, 1)
    error = np.sqrt(np.einsum("pkk->pk", covariance))
    lost = (error > _FLAT * width) | (np.abs(place - begin) > _FAR * width)
    with np.errstate(over="ignore"):  # of those that are lost
        slope = np.stack([link.derivative(place[:, k]) for k, link in enumerate(links)], axis=-1)
        scaled = covariance * (slope[:, :, None] * slope[:, None, :])
    scaled[lost] = np.nan
    scaled.transpose(0, 2, 1)[lost] = np.nan
    return np.where(lost, np.nan, natural(likelihood.task, place)), scaled, heights[best, at]


def natural_moments(estimates: TaskEstimates, task: Task) -> tuple[Floats, Floats]:
    """Return posterior means and standard deviations of people on the natural scale, (P, K) each."""
    points, weights = np.polynomial.hermite_e.hermegauss(_N_NODES)
    weights = weights / weights.sum()
    sd = np.sqrt(np.einsum("pkk->pk", estimates.person_covariance))
    nodes = natural(task, estimates.person_mean + sd * points[:, None, None])
    mean = np.tensordot(weights, nodes, 1)
    return mean, np.sqrt(np.tensordot(weights, (nodes - mean) ** 2, 1))
