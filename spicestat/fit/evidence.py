"""ModelEvidence: what people's choices say of a fitted model, which comparisons of models read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

__all__ = ["ModelEvidence", "population_size", "same_choices"]


@dataclass(frozen=True, eq=False)
class ModelEvidence:
    """Likelihoods of P participants' choices, in nats.

    Attributes
    ----------
    n_choices : int ndarray of shape (P,)
        Choices that are predicted.
    by_chance : ndarray of shape (P,)
        Log-likelihood of these if all actions on offer are equally likely.
    log_lik : ndarray of shape (P,)
        Maximised over the participant's own coefficients.
    n_own : ndarray of shape (P,)
        How many these are; weights that are the population's count in equal parts.
    log_marginal : ndarray of shape (P,)
        Integrated over the population of coefficients, as it was estimated.
    n_population : int
        Parameters of the population.
    """

    n_choices: np.ndarray
    by_chance: np.ndarray
    log_lik: np.ndarray
    n_own: np.ndarray
    log_marginal: np.ndarray
    n_population: int

    @property
    def aic(self) -> np.ndarray:
        r"""-AIC / 2 of each participant, :math:`\ell_i - k_i`, shape (P,)."""
        return np.asarray(self.log_lik - self.n_own)

    @property
    def bic(self) -> np.ndarray:
        r"""-BIC / 2 of each participant, :math:`\ell_i - \frac{k_i}{2} \log T_i`, shape (P,)."""
        return np.asarray(self.log_lik - 0.5 * self.n_own * np.log(np.maximum(self.n_choices, 1)))

    @property
    def ibic(self) -> np.ndarray:
        r"""Each participant's part of -iBIC / 2, :math:`\log m_i - \frac{d}{2P} \log \sum_j T_j`, shape (P,).

        With the d parameters of the population, and m integrated over it (Huys et al. 2011,
        doi:10.1371/journal.pcbi.1002028).
        """
        there = self.n_choices > 0
        price = 0.5 * self.n_population * np.log(max(self.n_choices.sum(), 1)) / max(there.sum(), 1)
        return np.where(there, self.log_marginal - price, 0.0)


def population_size(n_own: int) -> int:
    """Count the means and covariances of a normal population of ``n_own`` coefficients.

    Examples
    --------
    >>> population_size(3)
    9
    """
    return n_own + n_own * (n_own + 1) // 2


def same_choices(found: list[ModelEvidence]) -> list[ModelEvidence]:
    """Let choices that other models predict, and this one does not, count as guesses.

    Models of choice history say nothing of the first choice in a block, for example, and published models of a task do.
    """
    most = reduce(np.maximum, [one.n_choices for one in found])
    least = reduce(np.minimum, [one.by_chance for one in found])
    return [
        replace(
            one,
            n_choices=most,
            by_chance=least,
            log_lik=one.log_lik + (least - one.by_chance),
            log_marginal=one.log_marginal + (least - one.by_chance),
        )
        for one in found
    ]
