"""Pooling: the population that people's coefficients come from, and everybody's posterior under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit, logsumexp
from scipy.stats import median_abs_deviation, norm, qmc
from torch import Tensor

from spicestat._runtime.threads import one_thread
from spicestat.equations.estimate.prior import NormalPrior, weak_prior_of
from spicestat.equations.estimate.refit import CoefficientLikelihood, RefitResult
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.models.base import BaseRNN
from spicestat.trials.sequences import SequenceDataset

__all__ = ["PooledEquations", "pool_people"]

_ROUNDS, _STEPS, _LAST_STEPS = 100, 2, 60
_STILL, _SETTLED = 0.01, 1e-5
_DRAWS, _WIDER = 128, 1.3
_PRIOR_PEOPLE, _PRIOR_SD = 2.0, 0.1
_GUESSING_PEOPLE = 0.5
_FASTEST = 20.0
"""A step of Newton is at most this many times EM's."""
_OWN_LIMIT = 1.0
"""A state that grew by itself would run away on a longer block."""


@dataclass(frozen=True, eq=False)
class PooledEquations:
    """Everybody's equations under a population.

    Attributes
    ----------
    equations : EquationSet
        With the posterior means of P participants' coefficients.
    sd : ndarray of shape (P, K)
        Posterior standard deviations; 0 where a coefficient is not free.
    population : NormalPrior
        Mean (K,) and covariance (K, K); 0 and unit variance where nobody has a term.
    guesses : ndarray of shape (P,)
        Probability that a participant does not follow the equations but guesses; 0 without choices.
    log_marginal : ndarray of shape (P,)
        Log-likelihood of a participant's choices, integrated over the population, who may guess.
    converged : bool
        Population and people stood still.
    """

    equations: EquationSet
    sd: np.ndarray
    population: NormalPrior
    guesses: np.ndarray
    log_marginal: np.ndarray
    converged: bool


def pool_people(
    model: BaseRNN, data: SequenceDataset, own: RefitResult, population: NormalPrior | None = None
) -> PooledEquations:
    r"""Estimate :math:`\theta_i \sim N(m, \Sigma)` and everybody's :math:`\theta_i` under it, from the choices.

    By EM: first with Laplace's approximation, from the participants' own estimates, which is where normal and widened
    posteriors and the population propose draws that are then weighted by their densities (importance sampling; with few
    choices modes are far from means, as a small rate with a large weight does what their opposites do). The covariance
    has a weak prior, worth two people with a tenth of `weak_prior`'s scales, which keeps it positive definite. The
    coefficient of an own state is kept within -1 and 1; the other bounds are those of `refit`. Participants without
    choices have the population's mean and standard deviations.

    A share of the participants may guess (all actions are equally likely), which leaves the population to the others:
    who guesses with probability g counts 1 - g. Everybody's coefficients are those of one who does not guess. Where
    response times enter the likelihood, nobody is taken to guess.

    Parameters
    ----------
    model : BaseRNN
        Gives the forward pass.
    data : SequenceDataset
        Choices of P participants.
    own : RefitResult
        Their structure, and their own estimates.
    population : NormalPrior, optional
        Of all K coefficients: it is then given, and only people are estimated.
    """
    problem = CoefficientLikelihood(model, data, own.equations, own_limit=_OWN_LIMIT)
    by_chance = None if model.needs_times else -own.n_trials * np.log(model.n_actions)
    return _Pool(problem, own, weak_prior_of(model, data, own.equations).scale, by_chance).run(population)


class _People(NamedTuple):
    """Means (P, F) and covariances (P, F, F) of everybody's free coefficients, and what else is known, (P,) each."""

    mean: np.ndarray
    spread: np.ndarray
    guesses: np.ndarray
    log_marginal: np.ndarray


class _Pool:
    """EM over the F coefficients that are free for somebody."""

    def __init__(
        self, problem: CoefficientLikelihood, own: RefitResult, scale: np.ndarray, by_chance: np.ndarray | None
    ) -> None:
        self.problem, self.own, self.by_chance = problem, own, by_chance
        self.where, self.free = problem.free_anywhere, problem.free.numpy()
        self.both = self.free[:, :, None] & self.free[:, None, :]
        self.present = own.n_trials > 0
        self.safe = _PRIOR_PEOPLE * np.diag((_PRIOR_SD * scale[self.where]) ** 2)
        self.standard = norm.ppf(qmc.Sobol(max(len(self.where), 1), seed=1).random(_DRAWS))[:, : len(self.where)]

    def run(self, given: NormalPrior | None) -> PooledEquations:
        """Estimate the population, unless it is given, and everybody under it."""
        found, still = (self._beginning(), False) if given is None else (given.select(self.where), True)
        coefficients = torch.from_numpy(self.own.equations.coefficients)
        with one_thread():
            for _ in range(0 if still else _ROUNDS):
                coefficients, spread = self._modes(found, coefficients, _STEPS)
                before, found = found, self._population(found, self._nobody_guesses(coefficients, spread))
                if _moved(before, found) < _STILL:
                    break
            people = self._nobody_guesses(*self._modes(found, coefficients, _LAST_STEPS))
            for _ in range(0 if still else _ROUNDS):
                people = self._moments(found, people)
                before, found = found, self._population(found, people)
                still = _moved(before, found) < _STILL
                if still:
                    break
            for _ in range(_ROUNDS):
                before_mean, people = people.mean, self._moments(found, people)
                sd = np.sqrt(np.diagonal(people.spread, axis1=1, axis2=2))
                if (np.abs(people.mean - before_mean) / sd).max(initial=0.0) < _SETTLED:
                    break
        return self._laid_out(people, found, still)

    def _nobody_guesses(self, coefficients: Tensor, spread: np.ndarray) -> _People:
        return _People(coefficients.numpy()[:, self.where], spread, *np.zeros((2, len(spread))))

    def _beginning(self) -> NormalPrior:
        """Medians and absolute deviations of those participants whose own estimates say something."""
        known = self.present & ~self.own.unidentified
        values = np.where(self.free, self.own.equations.coefficients[:, self.where], np.nan)
        values = values[known if known.sum() > 1 else self.present]
        values = np.clip(values, self.problem.low.numpy(), self.problem.high.numpy())
        middle = np.nan_to_num(np.nanmedian(values, axis=0))
        spread = 1.4826 * np.nan_to_num(np.asarray(median_abs_deviation(values, axis=0, nan_policy="omit")))
        return NormalPrior(middle, np.diag(spread**2) + self.safe)

    def _modes(self, population: NormalPrior, coefficients: Tensor, steps: int) -> tuple[Tensor, np.ndarray]:
        """Most probable coefficients (P, K), from some steps of Newton, and Laplace's covariances (P, F, F)."""
        self.problem.prior = population
        point = self.problem.maximise(self.problem.start(coefficients.numpy()), 1e-8, steps)
        precision = population.parts(point.coefficients[:, self.where].numpy(), self.free).precision
        # a likelihood that is not concave here makes nobody less certain than the population is
        own = np.where(self.both, precision, 0.0)
        values, vectors = np.linalg.eigh(np.nan_to_num(point.information.numpy() - own))
        information = (vectors * values.clip(0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
        return point.coefficients, np.linalg.inv(information + precision)

    def _moments(self, population: NormalPrior, last: _People) -> _People:
        """Everybody's moments by draws from last round's, widened, and from the population."""
        known = _Normals.of(np.where(self.free, population.mean, 0.0), population.covariance, self.free)
        near = _Normals.of(np.where(self.free, last.mean, 0.0), _WIDER**2 * last.spread, self.free)
        draws = np.concatenate([near.at(self.standard), known.at(self.standard)])
        inside = ((draws >= self.problem.low.numpy()) & (draws <= self.problem.high.numpy()) | ~self.free).all(axis=2)
        log_prior = known.log_density(draws)
        proposed = np.logaddexp(near.log_density(draws), log_prior)
        weight = np.where(inside, self._log_likelihood(draws) + log_prior - proposed, -np.inf)
        total = logsumexp(weight, axis=0)
        weight = np.exp(weight - total)
        centre = np.einsum("sp,spf->pf", weight, draws)
        away = draws - centre
        spread = np.einsum("sp,spf,spg->pfg", weight, away, away) + 1e-8 * self.safe
        return _People(centre, spread, *self._guesses(total - np.log(_DRAWS), last.guesses))

    def _guesses(self, follows: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How probably people guess (P,), and their log-likelihoods (P,), from those (P,) if they do not guess.

        The share of those who guess is last round's.
        """
        follows = np.where(self.present, follows, 0.0)
        if self.by_chance is None:
            return last, follows
        share = (last[self.present].sum() + _GUESSING_PEOPLE) / (self.present.sum() + 2.0 * _GUESSING_PEOPLE)
        chance, otherwise = np.log(share) + self.by_chance, np.log1p(-share) + follows
        return np.where(self.present, expit(chance - otherwise), 0.0), np.logaddexp(chance, otherwise)

    def _log_likelihood(self, draws: np.ndarray) -> np.ndarray:
        """Log-likelihoods (S, P) at free coefficients (S, P, F)."""
        full = np.repeat(self.own.equations.coefficients[None], len(draws), axis=0)
        clipped = np.clip(draws, self.problem.low.numpy(), self.problem.high.numpy())
        full[:, :, self.where] = np.where(self.free, clipped, full[:, :, self.where])
        found = self.problem.values(torch.from_numpy(full)).numpy()
        return np.asarray(np.nan_to_num(found, nan=-np.inf))

    def _population(self, last: NormalPrior, people: _People) -> NormalPrior:
        """Mean and covariance at which the marginal likelihood stands still, each of the people who have the terms.

        The mean goes a step of Newton: EM alone creeps where people differ little from each other.
        """
        who = np.where(self.present, 1.0 - people.guesses, 0.0)[:, None] * self.free
        pairs = who[:, :, None] * self.free[:, None, :]
        root = np.linalg.cholesky(last.covariance)
        known = np.linalg.solve(root, np.linalg.solve(root, (pairs * (last.covariance - people.spread)).sum(axis=0)).T)
        values, vectors = np.linalg.eigh(known)
        most = np.maximum(who.sum(axis=0).max(initial=0.0), 1e-8)
        step = np.linalg.solve(root, (who * (people.mean - last.mean)).sum(axis=0))
        step = vectors @ (vectors.T @ step / values.clip(most / _FASTEST, most))
        mean = last.mean + root @ step
        away = np.where(self.free, people.mean - mean, 0.0)
        total = (pairs * (people.spread + away[:, :, None] * away[:, None, :])).sum(axis=0)
        return NormalPrior(mean, (total + self.safe) / (pairs.sum(axis=0) + _PRIOR_PEOPLE))

    def _laid_out(self, people: _People, found: NormalPrior, converged: bool) -> PooledEquations:
        """Over all K coefficients; those without choices are the population's."""
        n_terms, shape = len(self.own.equations.terms), self.own.equations.status.shape
        mean, covariance, sd = np.zeros(n_terms), np.eye(n_terms), np.zeros(shape)
        mean[self.where], covariance[np.ix_(self.where, self.where)] = found.mean, found.covariance
        own_sd = np.sqrt(np.diagonal(people.spread, axis1=1, axis2=2))
        own_sd = np.where(self.present[:, None], own_sd, np.sqrt(np.diagonal(found.covariance)))
        sd[:, self.where] = np.where(self.free, own_sd, 0.0)
        values = self.own.equations.coefficients.copy()
        values[:, self.where] = np.where(self.present[:, None], people.mean, found.mean)
        equations = self.own.equations.with_coefficients(values)
        return PooledEquations(
            equations, sd, NormalPrior(mean, covariance), people.guesses, people.log_marginal, converged
        )


class _Normals(NamedTuple):
    """A normal distribution for each person: mean (P, F), root of the covariance and its inverse (P, F, F)."""

    mean: np.ndarray
    root: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray, free: np.ndarray) -> _Normals:
        """Return them from covariances, (P, F, F) or everybody's; what is not free is standard normal, in all alike."""
        both = free[:, :, None] & free[:, None, :]
        root = np.linalg.cholesky(np.where(both, covariance, np.eye(free.shape[1])))
        return cls(mean, root, np.linalg.inv(root))

    def at(self, standard: np.ndarray) -> np.ndarray:
        """Map standard normal values (S, F) to everybody's, (S, P, F)."""
        return np.asarray(self.mean + np.einsum("pfg,sg->spf", self.root, standard))

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """Log density (S, P) of values (S, P, F), up to a constant."""
        standard = np.einsum("pfg,spg->spf", self.inverse, values - self.mean)
        return np.asarray(
            -0.5 * np.sum(standard**2, axis=2) - np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(axis=1)
        )


def _moved(before: NormalPrior, after: NormalPrior) -> float:
    """Largest change of means, in standard deviations of the population, and of covariances, relative to these."""
    size = np.sqrt(np.diagonal(after.covariance))
    means = np.abs(after.mean - before.mean) / size
    covariances = np.abs(after.covariance - before.covariance) / np.outer(size, size)
    return float(max(means.max(initial=0.0), covariances.max(initial=0.0)))
