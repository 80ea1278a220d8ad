r"""The population that people's weights come from, by maximising the Laplace marginal likelihood.

First EM, whose M-step takes posterior means and covariances with their third-order corrections, so that what it stands
still at is the maximum of the Laplace likelihood itself (plain EM with Laplace is not); then, where that is asked for,
a quasi-Newton climb of the same function with its exact gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from spicestat.pooled.contrasts import Design
from spicestat.pooled.laplace import Normal, Posterior, posterior
from spicestat.pooled.maximise import Part, Prior, laplace_gradient, log_prior, maximise, prior_gradient
from spicestat.pooled.packed import Floats, Ints

__all__ = ["PopulationFit", "fit_population", "joint_mean_covariance"]

_FLAT = 1e-2
_STEP = 1e-2


@dataclass(frozen=True, eq=False)
class PopulationFit:
    """A fitted population and everybody's posterior under it.

    Attributes
    ----------
    population : Normal
    posterior : Posterior
    log_marginal : float
        Sum over people of the marginal log-likelihood, without the prior.
    converged : bool
    n_rounds : int
        Rounds of EM.
    """

    population: Normal
    posterior: Posterior
    log_marginal: float
    converged: bool
    n_rounds: int


def fit_population(
    design: Design,
    own: Sequence[int] | None = None,
    prior: Prior | None = Prior(),  # noqa: B008 (frozen)
    start: PopulationFit | None = None,
    tolerance: float = 1e-2,
    rounds: int = 200,
    polish: bool = False,
) -> PopulationFit:
    """Estimate mean and covariance of people's weights.

    Parameters
    ----------
    design : Design
    own : sequence of int, optional
        Positions of the states whose weights differ between people. Default: all.
    prior : Prior or None
        None: maximum likelihood.
    start : PopulationFit, optional
        A fit of the same states to start from.
    tolerance : float, default 0.01
        Rise of the marginal log-likelihood, in nats over all people, at which EM ends.
    rounds : int, default 200
        Most rounds of EM.
    polish : bool, default False
        Whether the end of EM is climbed further, to the maximum of the Laplace likelihood.

    Returns
    -------
    PopulationFit
    """
    people_own = np.arange(design.n_states) if own is None else np.asarray(own, dtype=np.int64)
    population = _beginning(design, people_own) if start is None else start.population
    modes = None if start is None else start.posterior.mode
    found, used, done = _expectation_maximisation(design, population, modes, prior, tolerance, rounds)
    if polish:
        found, done = _climb(design, found[0], found[1].mode, prior, tolerance)
    return PopulationFit(found[0], found[1], float(found[1].log_marginal.sum()), done, used)


def _beginning(design: Design, own: Ints) -> Normal:
    return Normal(np.zeros(design.n_states), np.eye(len(own)), own)


def _expectation_maximisation(
    design: Design, population: Normal, modes: Floats | None, prior: Prior | None, tolerance: float, rounds: int
) -> tuple[tuple[Normal, Posterior], int, bool]:
    """EM with one or two Newton steps a round: the modes and the population converge together."""
    before = -np.inf
    for used in range(1, rounds + 1):
        found = posterior(design, population, modes, tolerance=tolerance / (10.0 * design.n_people + 1.0))
        now = float(found.log_marginal.sum()) + log_prior(population, prior)
        if abs(now - before) < tolerance:
            return (population, found), used, True
        before, modes = now, found.mode
        if used < rounds:
            population = maximise(population, [Part(found)], prior)
    return (population, found), rounds, False


class _Surface:
    """Penalised Laplace likelihood in coordinates in which a population is the origin and errors are about 1."""

    def __init__(self, design: Design, origin: Normal, modes: Floats, prior: Prior | None):
        self.design, self.origin, self.prior, self.modes = design, origin, prior, modes
        self.root = np.linalg.cholesky(origin.covariance)
        self.lower = np.tril_indices(len(origin.own))
        self.unit = 1.0 / np.sqrt(max(design.n_people, 1))
        self.size = design.n_states + len(self.lower[0])

    def place(self, coordinates: Floats) -> tuple[Normal, Floats]:
        """Return the population at some coordinates, and the root of its covariance."""
        n_states, own = self.design.n_states, self.origin.own
        factor = np.eye(len(own))
        factor[self.lower] += self.unit * coordinates[n_states:]
        factor = self.root @ factor
        moved = self.unit * coordinates[:n_states]
        moved[own] = self.root @ moved[own]
        return Normal(self.origin.mean + moved, factor @ factor.T, own), factor

    def found(self, population: Normal) -> Posterior:
        """Everybody's posterior, from the latest modes."""
        found = posterior(self.design, population, self.modes, tolerance=1e-11)
        self.modes = found.mode
        return found

    def fall(self, coordinates: Floats) -> tuple[float, Floats]:
        """Minus the height, and minus its gradient."""
        population, factor = self.place(coordinates)
        if not np.linalg.cond(population.covariance) < 1.0 / np.finfo(float).eps:
            return np.inf, np.zeros_like(coordinates)
        found = self.found(population)
        pairs = zip(laplace_gradient(population, found), prior_gradient(population, self.prior), strict=True)
        by_mean, by_covariance = (a + b for a, b in pairs)
        by_mean[population.own] = self.root.T @ by_mean[population.own]
        by_factor = self.root.T @ (2.0 * by_covariance @ factor)
        value = float(found.log_marginal.sum()) + log_prior(population, self.prior)
        return -value, -self.unit * np.concatenate([by_mean, by_factor[self.lower]])


def _climb(
    design: Design, begin: Normal, modes: Floats, prior: Prior | None, tolerance: float
) -> tuple[tuple[Normal, Posterior], bool]:
    """Quasi-Newton climb of the Laplace likelihood."""
    surface = _Surface(design, begin, modes, prior)
    start = np.zeros(surface.size)
    relative = 1e-2 * tolerance / max(abs(surface.fall(start)[0]), 1.0)
    options = {"maxiter": 500, "maxfun": 2000, "ftol": relative, "gtol": 1e-6, "maxcor": 30}
    result = minimize(surface.fall, start, jac=True, method="L-BFGS-B", options=options)
    population = surface.place(np.asarray(result.x))[0]
    flat = float(np.abs(result.jac).max(initial=0.0)) < _FLAT
    return (population, surface.found(population)), bool(result.success) or flat


def joint_mean_covariance(design: Design, fit: PopulationFit, prior: Prior | None = None) -> Floats:
    """Covariance (K, K) of means and shared weights, what is not known about people's covariance counted too.

    From the curvature of the Laplace likelihood by differences of its gradient: two passes per parameter, so for few
    states; for many, `mean_covariance` holds the covariance.

    Parameters
    ----------
    design : Design
    fit : PopulationFit
        At the maximum: made with ``polish=True``.
    prior : Prior, optional
        The one that the fit was made with.
    """
    surface = _Surface(design, fit.population, fit.posterior.mode, prior)
    moves = _STEP * np.eye(surface.size)
    curvature = np.stack([surface.fall(m)[1] - surface.fall(-m)[1] for m in moves]) / (2.0 * _STEP)
    covariance = np.linalg.pinv((curvature + curvature.T) / 2.0)[: design.n_states, : design.n_states]
    to_means, own = np.eye(design.n_states), fit.population.own
    to_means[own[:, None], own] = surface.root
    return np.asarray(surface.unit**2 * to_means @ covariance @ to_means.T)
