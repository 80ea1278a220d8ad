"""HistoryLikelihood: the likelihood of choices in people's own weights, in the form that group models need."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spicestat.equations.structure.equation_set import BETA
from spicestat.pooled.asked import checked_coefficients, checked_people
from spicestat.pooled.contrasts import Design, make_design
from spicestat.pooled.fit import PooledFit
from spicestat.pooled.logit import by_chance, derivatives, log_likelihoods, skewness
from spicestat.pooled.shared import SharedWeights
from spicestat.pooled.states import StateRows

__all__ = ["HistoryLikelihood"]


@dataclass(frozen=True, eq=False)
class HistoryLikelihood:
    r"""Log-likelihood of P people's choices as a function of their L own weights, in the unit of the data.

    .. math:: \log p(y_i \mid b_i) = \sum_t \log \frac{\exp(x_{ty}^\top b_i + o_{ty})}{\sum_a \exp(x_{ta}^\top b_i
        + o_{ta})}

    with the states x of every action and what the population's shared weights add, o. It is concave.

    Attributes
    ----------
    rows : StateRows
        The L own states and the sum of the shared ones, as the last.
    scale : ndarray of shape (L + 1,)
        By what the states are divided to be in the unit of the data.
    participants : tuple of length P
    terms : tuple of L (module, term)
    shared : SharedWeights
        The shared weights that are held at their estimates, in the unit of the data.
    """

    rows: StateRows
    scale: np.ndarray
    participants: tuple[Hashable, ...]
    terms: tuple[tuple[str, str], ...]
    design: Design
    shared: SharedWeights

    @classmethod
    def of(
        cls, rows: StateRows, pooled: PooledFit, factors: np.ndarray, participants: Sequence[Hashable]
    ) -> HistoryLikelihood:
        """Make the likelihood of the states of a fit.

        Parameters
        ----------
        rows : StateRows
            The fit's K states of everybody's choices.
        pooled : PooledFit
        factors : ndarray of shape (K,)
            By what weights are multiplied to be those of the unit of the data.
        participants : sequence of length P
        """
        n_own, mean = pooled.n_own, pooled.mean
        shared = (rows.values[:, :, n_own:] @ mean[n_own:])[..., None]
        names = rows.names[:n_own]
        both = replace(
            rows, values=np.concatenate([rows.values[:, :, :n_own], shared], axis=2), names=(*names, "shared")
        )
        scale = np.append(factors[:n_own], 1.0)
        design = make_design(both, len(participants), scale)
        terms = tuple((BETA, name) for name in names)
        return cls(both, scale, tuple(participants), terms, design, SharedWeights.of(pooled, factors))

    @property
    def n_trials(self) -> np.ndarray:
        """Predicted choices of each participant, (P,)."""
        return self.design.n_choices

    @property
    def by_chance(self) -> np.ndarray:
        """Log-likelihood of each participant's choices if all actions on offer are equally likely, (P,)."""
        return by_chance(self.design)

    @property
    def low(self) -> np.ndarray:
        """Lower bounds, (L,): none."""
        return np.full(len(self.terms), -np.inf)

    @property
    def high(self) -> np.ndarray:
        """Upper bounds, (L,): none."""
        return np.full(len(self.terms), np.inf)

    def log_likelihood(self, coefficients: np.ndarray) -> np.ndarray:
        """Log-likelihood, in nats, of each participant's choices: coefficients (Q, P, L) to (Q, P)."""
        values = checked_coefficients(coefficients, (None, len(self.participants), len(self.terms)))
        return log_likelihoods(self.design, self._full(values))

    def derivatives(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-likelihood (P,), its gradient (P, L) and minus its Hessian (P, L, L), at coefficients (P, L)."""
        values = checked_coefficients(coefficients, (len(self.participants), len(self.terms)))
        here = derivatives(self.design, self._full(values))
        n_own = len(self.terms)
        return here.log_lik, here.slope[:, :n_own], here.information[:, :n_own, :n_own]

    def skewness(self, coefficients: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Third derivatives contracted with covariances (P, L, L), (P, L), at coefficients (P, L)."""
        n_own = len(self.terms)
        values = checked_coefficients(coefficients, (len(self.participants), n_own))
        wide = np.zeros((len(values), n_own + 1, n_own + 1))
        wide[:, :n_own, :n_own] = covariance
        return skewness(self.design, self._full(values), wide)[:, :n_own]

    def select(self, people: Sequence[int] | np.ndarray) -> HistoryLikelihood:
        """Return the likelihood of some participants, by their positions; one may come more than once.

        Raises
        ------
        ConfigError
            A position is not from 0 to P - 1, or there is none.
        DataError
            None of these people made a choice.
        """
        index = checked_people(people, self.n_trials)
        own = [np.flatnonzero(self.rows.person == code) for code in index]
        rows = self.rows.rows(np.concatenate(own))
        rows = replace(rows, person=np.repeat(np.arange(len(index)), [len(at) for at in own]))
        labels = tuple(self.participants[position] for position in index)
        design = make_design(rows, len(index), self.scale)
        return replace(self, rows=rows, participants=labels, design=design)

    def _full(self, own: np.ndarray) -> np.ndarray:
        """Own weights with that of the sum of the shared states, which is 1."""
        return np.concatenate([own, np.ones((*own.shape[:-1], 1))], axis=-1)
