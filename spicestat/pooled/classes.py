r"""Populations of several kinds of people: each class has its own means and covariance of the weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from spicestat.pooled.contrasts import Design
from spicestat.pooled.em import PopulationFit
from spicestat.pooled.laplace import Normal, Posterior, memberships, posterior
from spicestat.pooled.logit import Derivatives
from spicestat.pooled.maximise import Part, Prior, log_prior, maximise
from spicestat.pooled.packed import Floats, Ints

__all__ = ["ClassesFit", "choose_classes"]

_SHARE_PRIOR = 2.0
_STARTS = 6
_FOLDS = 5
_ERRORS = 2.0
_LEAST_GAIN = 5.0
_LEAST_PEOPLE = 10


@dataclass(frozen=True, eq=False)
class ClassesFit:
    """A fitted mixture of C normal populations.

    Attributes
    ----------
    populations : tuple of C Normal
    shares : ndarray of shape (C,)
    belongs : ndarray of shape (N, C)
        Probability of each class, given the person's choices.
    posteriors : tuple of C Posterior
    log_marginals : ndarray of shape (N,)
    converged : bool
    """

    populations: tuple[Normal, ...]
    shares: Floats
    belongs: Floats
    posteriors: tuple[Posterior, ...]
    log_marginals: Floats
    converged: bool


def choose_classes(
    design: Design,
    start: PopulationFit,
    prior: Prior,
    most: int = 4,
    seed: int = 0,
    tolerance: float = 0.3,
    rounds: int = 60,
) -> ClassesFit | None:
    """Find how many classes predict people who were left out best, if more than one by 5 nats and 2 SE.

    That is done with everybody's likelihood as a quadratic about the posterior mode, which needs no pass over the
    trials; only the number that is best there is fitted to the choices.

    Parameters
    ----------
    design : Design
    start : PopulationFit
        One population; says which weights are people's own.
    prior : Prior
        Of every class.
    most : int, default 4
        Largest number of classes.
    seed : int, default 0
        Of the folds and of the clusterings from which EM starts.
    tolerance, rounds
        See `fit_population`.

    Returns
    -------
    ClassesFit or None
        Larger classes first; None where one population is preferred.
    """
    rng, n_people = np.random.default_rng(seed), len(start.posterior.mode)
    if n_people < 2 * _LEAST_PEOPLE:
        return None
    fold = rng.permutation(n_people) % _FOLDS
    n_classes, best = 1, _held_out(start, 1, fold, prior, rng)
    while n_classes < min(most, n_people // _LEAST_PEOPLE):
        more = _held_out(start, n_classes + 1, fold, prior, rng)
        gain = more - best
        if gain.sum() <= max(_LEAST_GAIN, _ERRORS * np.sqrt(n_people) * gain.std()):
            break
        n_classes, best = n_classes + 1, more
    if n_classes == 1:
        return None
    quadratic = _best_start(start, n_classes, prior, rng, _STARTS, rounds)
    order = np.argsort(-quadratic.shares)
    belongs, populations = quadratic.belongs[:, order], tuple(quadratic.populations[c] for c in order)
    return _climb(_Exact(design, tolerance), start, belongs, prior, tolerance, rounds, populations)


def _best_start(
    start: PopulationFit, n_classes: int, prior: Prior, rng: np.random.Generator, starts: int, rounds: int = 60
) -> ClassesFit:
    """Best of several climbs on the quadratic likelihoods."""
    quadratic, tolerance = _Quadratic(start.posterior), 1.0
    n_starts = starts if n_classes > 1 else 1
    begins = [_clusters(start, n_classes, rng) for _ in range(n_starts)]
    fits = [_climb(quadratic, start, belongs, prior, tolerance, rounds) for belongs in begins]
    return max(fits, key=lambda fit: float(fit.log_marginals.sum()))


def _held_out(start: PopulationFit, n_classes: int, fold: Ints, prior: Prior, rng: np.random.Generator) -> Floats:
    """Marginal log-likelihood (N,) of everybody under classes fitted to the people of the other folds."""
    out = np.empty(len(fold))
    for left in range(_FOLDS):
        others, these = (
            replace(start, posterior=_some(start.posterior, rows)) for rows in (fold != left, fold == left)
        )
        fit = _best_start(others, n_classes, prior, rng, _STARTS // 2, rounds=25)
        quadratic = _Quadratic(these.posterior)
        joint = [quadratic.under(p, these.posterior.mode).log_marginal for p in fit.populations]
        out[fold == left] = logsumexp(np.stack(joint, axis=1) + np.log(fit.shares), axis=1)
    return out


def _some(found: Posterior, rows: npt.NDArray[np.bool_]) -> Posterior:
    """Keep the posterior of some of the people."""
    local = Derivatives(*(part[rows] for part in found.at_mode))
    return Posterior(
        found.mode[rows], found.shift[rows], found.covariance[rows], found.log_marginal[rows], local, found.skew[rows]
    )


def _clusters(start: PopulationFit, n_classes: int, rng: np.random.Generator) -> Floats:
    """Soft memberships from clusters of the pooled weights, in units in which the population is round."""
    own = start.population.own
    root = np.linalg.cholesky(start.population.covariance)
    weights = start.posterior.mode[:, own] + start.posterior.shift
    white = np.linalg.solve(root, (weights - start.population.mean[own]).T).T
    label = _nearest(white, n_classes, rng)
    return np.where(label[:, None] == np.arange(n_classes), 0.9, 0.1 / max(n_classes - 1, 1))


def _nearest(points: Floats, n_classes: int, rng: np.random.Generator) -> Ints:
    """k-means: the cluster of each point."""
    centres = points[rng.choice(len(points), n_classes, replace=False)]
    label = np.zeros(len(points), dtype=np.int64)
    for _ in range(20):
        label = np.square(points[:, None] - centres).sum(axis=2).argmin(axis=1)
        there = label[:, None] == np.arange(n_classes)
        centres = np.where(
            there.sum(axis=0)[:, None] > 0, there.T @ points / np.maximum(there.sum(axis=0), 1)[:, None], centres
        )
    return label


class _Likelihood(Protocol):
    """Where posteriors under a class come from."""

    def under(self, population: Normal, modes: Floats) -> Posterior:
        """Everybody's posterior under one population."""
        ...


class _Exact:
    """The choices themselves."""

    def __init__(self, design: Design, tolerance: float):
        self.design, self.tolerance = design, tolerance / (10.0 * design.n_people + 1.0)

    def under(self, population: Normal, modes: Floats) -> Posterior:
        """Find the modes."""
        return posterior(self.design, population, modes, self.tolerance)


class _Quadratic:
    """Everybody's log-likelihood, expanded to second order about a posterior mode."""

    def __init__(self, about: Posterior):
        self.about = about

    def under(self, population: Normal, modes: Floats) -> Posterior:
        """Solve for the modes, which takes one step."""
        at, own, precision = self.about, population.own, population.precision
        start = at.mode.copy()
        start[:, population.shared] = population.mean[population.shared]
        information = at.at_mode.information
        slope = at.at_mode.slope - np.einsum("nkl,nl->nk", information, start - at.mode)
        curvature = information[:, own[:, None], own] + precision
        covariance = np.asarray(np.linalg.inv(curvature))
        pull = slope[:, own] - (start[:, own] - population.mean[own]) @ precision
        mode = start.copy()
        mode[:, own] += np.einsum("nkl,nl->nk", covariance, pull)
        local = self._derivatives(mode)
        away = mode[:, own] - population.mean[own]
        volume = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(curvature)[1]
        height = local.log_lik - 0.5 * ((away @ precision) * away).sum(axis=1) + 0.5 * volume
        return Posterior(mode, np.zeros_like(away), covariance, height, local, np.zeros_like(mode))

    def _derivatives(self, weights: Floats) -> Derivatives:
        here, moved = self.about.at_mode, weights - self.about.mode
        bend = np.einsum("nkl,nl->nk", here.information, moved)
        value = here.log_lik + ((here.slope - 0.5 * bend) * moved).sum(axis=1)
        return Derivatives(value, here.slope - bend, here.information)


def _climb(
    likelihood: _Likelihood,
    start: PopulationFit,
    belongs: Floats,
    prior: Prior,
    tolerance: float,
    rounds: int,
    begin: tuple[Normal, ...] | None = None,
) -> ClassesFit:
    """EM; each round ends with the memberships."""
    n_classes = belongs.shape[1]
    populations = begin if begin is not None else (start.population,) * n_classes
    found = [start.posterior] * n_classes
    if begin is not None:
        found = [likelihood.under(p, f.mode) for p, f in zip(populations, found, strict=True)]
    height, done = -np.inf, False
    for _ in range(rounds):
        parts = [Part(f, belongs[:, c]) for c, f in enumerate(found)]
        populations = tuple(maximise(p, [part], prior) for p, part in zip(populations, parts, strict=True))
        shares = (belongs.sum(axis=0) + _SHARE_PRIOR) / (len(belongs) + n_classes * _SHARE_PRIOR)
        found = [likelihood.under(p, f.mode) for p, f in zip(populations, found, strict=True)]
        belongs, marginal = memberships(found, shares)
        now = float(marginal.sum()) + sum(log_prior(p, prior) for p in populations)
        done = abs(now - height) < tolerance
        if done:
            break
        height = now
    return ClassesFit(populations, shares, belongs, tuple(found), marginal, done)
