"""What a one-stage group model needs to know about the choices: their likelihood, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from spicestat.pooled.shared import SharedWeights

__all__ = ["ChoiceLikelihood", "HasLikelihood", "HasLinks", "HasShared", "HasSkewness", "HasSlopes", "own_links"]


class ChoiceLikelihood(Protocol):
    """Likelihood of P participants' choices as a function of their K free coefficients (natural scale, float64).

    Attributes
    ----------
    participants : tuple of length P
        Labels.
    terms : tuple of (module, term), length K
        The coefficients that are estimated; everybody has the same.
    n_trials : ndarray of shape (P,)
        Number of predicted choices.
    low, high : ndarray of shape (K,)
        Bounds outside which a coefficient is meaningless.
    by_chance : ndarray of shape (P,), or None
        Log-likelihood of each participant's choices if all actions are equally likely; None where response times are
        predicted, too, of which guesses say nothing.
    """

    @property
    def participants(self) -> tuple[Any, ...]:
        """Labels of the participants."""

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The estimated coefficients."""

    @property
    def n_trials(self) -> np.ndarray:
        """Predicted choices of each participant."""

    @property
    def low(self) -> np.ndarray:
        """Lower bounds."""

    @property
    def high(self) -> np.ndarray:
        """Upper bounds."""

    @property
    def by_chance(self) -> np.ndarray | None:
        """Log-likelihoods of guesses."""

    def log_likelihood(self, coefficients: np.ndarray) -> np.ndarray:
        """Log-likelihood, coefficients (Q, P, K) to (Q, P), in nats."""

    def derivatives(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-likelihood (P,), its gradient (P, K) and information (P, K, K) = minus Hessian, at (P, K)."""

    def select(self, people: np.ndarray) -> Self:
        """Return the likelihood of some participants, by position."""


@runtime_checkable
class HasSkewness(Protocol):
    """A likelihood that knows its third derivatives."""

    def skewness(self, coefficients: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        r"""Return :math:`\mathrm{tr}(V_i\, \partial J_i / \partial b_k)`, (P, K), from V (P, K, K), at (P, K)."""


@runtime_checkable
class HasSlopes(Protocol):
    """A likelihood whose first derivatives cost less than its second."""

    def slopes(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood (P,) and its gradient (P, K), at (P, K)."""


@runtime_checkable
class HasShared(Protocol):
    """A likelihood in which other weights are held at what the population shares."""

    @property
    def shared(self) -> SharedWeights:
        """These weights, and how the means of its own coefficients, without links, move with them."""


@runtime_checkable
class HasLinks(Protocol):
    """A likelihood whose coefficients are shares or positive numbers."""

    @property
    def own_links(self) -> Mapping[str, str]:
        """Names of links by "module:term"; the others have the identity."""

    def unconstrained(self) -> ChoiceLikelihood:
        """Return the same as a function of coefficients on the scale of these links."""


def own_links(likelihood: ChoiceLikelihood) -> Mapping[str, str]:
    """Return the links that belong to coefficients, by "module:term"."""
    return likelihood.own_links if isinstance(likelihood, HasLinks) else {}


@runtime_checkable
class HasLikelihood(Protocol):
    """Anything that knows the likelihood of its choices, such as a fit."""

    def choice_likelihood(self) -> ChoiceLikelihood:
        """Return the likelihood."""
