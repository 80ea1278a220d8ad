"""Priors of the coefficients: a weak one, for comparing structures by their evidence, and people's population."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from spicestat.equations.structure.equation_set import BETA, EquationSet
from spicestat.models.base import BaseRNN
from spicestat.trials.sequences import SequenceDataset

__all__ = ["CoefficientPrior", "NormalPrior", "Prior", "PriorParts", "weak_prior", "weak_prior_of"]

_DF = 4.0
_TERM_SCALE = 0.5
_BETA_SCALE = 5.0


class PriorParts(NamedTuple):
    """Log density (P,) of everybody's free coefficients, its gradient (P, K) and precision (P, K, K)."""

    log_density: np.ndarray
    gradient: np.ndarray
    precision: np.ndarray


class Prior(Protocol):
    """What estimates can be drawn towards."""

    def select(self, positions: np.ndarray) -> Prior:
        """Return the prior of some of the coefficients."""

    def parts(self, coefficients: np.ndarray, free: np.ndarray) -> PriorParts:
        """Return the density at coefficients (P, K), of which those are estimated that are free (P, K)."""


@dataclass(frozen=True, eq=False)
class CoefficientPrior:
    r"""Independent Student-t priors, :math:`(\theta_j - m_j) / s_j \sim t_4`.

    Attributes
    ----------
    center : ndarray of shape (K,)
        Locations m.
    scale : ndarray of shape (K,)
        Scales s, above 0.

    Examples
    --------
    >>> prior = CoefficientPrior(np.zeros(1), np.ones(1))
    >>> float(np.round(np.exp(prior.log_density(np.array([[0.0]])))[0, 0], 3))
    0.375
    """

    center: np.ndarray
    scale: np.ndarray

    def select(self, positions: np.ndarray) -> CoefficientPrior:
        """Return the prior of some of the coefficients."""
        return CoefficientPrior(self.center[positions], self.scale[positions])

    def log_density(self, coefficients: np.ndarray) -> np.ndarray:
        """Log density of each coefficient, (P, K) to (P, K)."""
        z = (coefficients - self.center) / self.scale
        constant = math.lgamma((_DF + 1) / 2) - math.lgamma(_DF / 2) - 0.5 * math.log(_DF * math.pi)
        density: np.ndarray = constant - np.log(self.scale) - (_DF + 1) / 2 * np.log1p(z**2 / _DF)
        return density

    def precision(self, coefficients: np.ndarray) -> np.ndarray:
        """Precision of the normal distribution that touches the density from below, (P, K) to (P, K).

        Its gradient agrees with the density's, and unlike the true curvature it is positive everywhere.
        """
        weight: np.ndarray = (_DF + 1) / (_DF * self.scale**2 + (coefficients - self.center) ** 2)
        return weight

    def gradient(self, coefficients: np.ndarray) -> np.ndarray:
        """Gradient of the log density, (P, K) to (P, K)."""
        slope: np.ndarray = -self.precision(coefficients) * (coefficients - self.center)
        return slope

    def parts(self, coefficients: np.ndarray, free: np.ndarray) -> PriorParts:
        """Return the density at coefficients (P, K), of which those are estimated that are free (P, K)."""
        density = np.where(free, self.log_density(coefficients), 0.0).sum(axis=1)
        precision = self.precision(coefficients)[:, :, None] * np.eye(coefficients.shape[1])
        return PriorParts(density, self.gradient(coefficients), precision)


@dataclass(frozen=True, eq=False)
class NormalPrior:
    r"""People's population: :math:`\theta_i \sim N(m, \Sigma)`.

    Attributes
    ----------
    mean : ndarray of shape (K,)
    covariance : ndarray of shape (K, K)
        Positive definite.

    Examples
    --------
    >>> prior = NormalPrior(np.zeros(2), np.eye(2))
    >>> prior.parts(np.array([[1.0, 2.0]]), np.ones((1, 2), dtype=bool)).gradient.tolist()
    [[-1.0, -2.0]]
    """

    mean: np.ndarray
    covariance: np.ndarray

    def select(self, positions: np.ndarray) -> NormalPrior:
        """Return the distribution of some of the coefficients."""
        return NormalPrior(self.mean[positions], self.covariance[np.ix_(positions, positions)])

    def parts(self, coefficients: np.ndarray, free: np.ndarray) -> PriorParts:
        """Return the density at coefficients (P, K), of which those are estimated that are free (P, K)."""
        away = np.where(free, coefficients - self.mean, 0.0)
        kinds, kind = np.unique(free, axis=0, return_inverse=True)
        covariance = np.stack([np.where(np.outer(own, own), self.covariance, np.diag(~own)) for own in kinds])
        inverse = np.linalg.inv(covariance)
        precision = ((inverse + inverse.transpose(0, 2, 1)) / 2.0)[kind.ravel()]
        pull = np.matmul(precision, away[:, :, None])[:, :, 0]
        size = np.linalg.slogdet(2.0 * np.pi * covariance)[1] - (~kinds).sum(axis=1) * math.log(2.0 * np.pi)
        return PriorParts(-0.5 * (np.sum(away * pull, axis=1) + size[kind.ravel()]), -pull, precision)


def weak_prior(
    equations: EquationSet,
    largest_reward: float,
    own_scales: Mapping[str, float] | None = None,
    *,
    reward_span: float | None = None,
) -> CoefficientPrior:
    """Prior for coefficients of any model: of size .5, an own state between forgotten and kept.

    Scales are .5 for coefficients (constants, which may be in units of reward, .5 max(1, max|r|)), and
    5 over the range of the rewards for inverse temperatures, around 0; an own state's coefficient is
    centred at .5. Tails are heavy (t with 4 degrees of freedom; Gelman et al. 2008,
    doi:10.1214/08-AOAS191), so that a large effect is not held against a term.

    Parameters
    ----------
    equations : EquationSet
        K coefficients.
    largest_reward : float
        Largest absolute reward, 0 or more.
    own_scales : mapping of str to float, optional
        Scales of constants that are no inverse temperatures, by name.
    reward_span : float, optional
        Range of the rewards, 0 or more. Default: the largest.
    """
    reward = largest_reward or 1.0
    sizes = {(BETA, name): size for name, size in (own_scales or {}).items()}
    by_module, by_term = {BETA: _BETA_SCALE / (reward_span or reward)}, {"1": _TERM_SCALE * max(1.0, reward)}
    scale = [
        sizes.get((module, term), by_module.get(module, by_term.get(term, _TERM_SCALE)))
        for module, term in equations.terms
    ]
    return CoefficientPrior(np.where(equations.own_state, 0.5, 0.0), np.array(scale))


def weak_prior_of(model: BaseRNN, data: SequenceDataset, equations: EquationSet) -> CoefficientPrior:
    """Return `weak_prior` in the scales of a model's constants and of the rewards of some data."""
    ranges = {name: high - low for name, (low, high) in model.bounds.items()}
    return weak_prior(equations, data.largest_reward, ranges, reward_span=data.reward_span)
