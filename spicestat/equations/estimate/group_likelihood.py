"""EquationLikelihood: the likelihood of the choices at any coefficients, in the form that group models need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from spicestat._runtime.threads import one_thread
from spicestat.equations.estimate.refit import CoefficientLikelihood
from spicestat.equations.structure.equation_set import FREE, EquationSet
from spicestat.errors import ShapeError
from spicestat.models.base import BaseRNN
from spicestat.pooled.asked import checked_coefficients, checked_people
from spicestat.trials.sequences import SequenceDataset

__all__ = ["EquationLikelihood"]


class EquationLikelihood:
    r"""Log-likelihood of every participant's choices, :math:`\log p(y_i \mid \theta_i)`, as a function.

    The K coefficients are those that are estimated (status `FREE`) for at least one participant; here they
    are free for everybody, on their natural scale, so that participants can be compared. Own states that are
    kept by everybody stay 1, excluded terms 0.

    Parameters
    ----------
    model : BaseRNN
        Gives the forward pass; it is left as it is.
    data : SequenceDataset
        Choices of P participants.
    equations : EquationSet
        Structure; its coefficients play no part.
    participants : sequence of P labels, optional
        Default: the codes 0 to P - 1.
    known_as : int ndarray of shape (P,), optional
        Participant codes by which the model itself knows them, for a part of those that it was fitted to.
        Default: 0 to P - 1.
    factors : ndarray, optional
        By what the model's own coefficients, all of them, are multiplied here; see `unit_factors`. Default: 1.

    Attributes
    ----------
    participants : tuple of P labels
    terms : tuple of K (module, term) pairs
    n_trials : int ndarray of shape (P,)
        Number of predicted choices.
    low, high : ndarray of shape (K,)
        Bounds, as in `refit`.

    Raises
    ------
    ShapeError
        Data, equations and labels are of different numbers of participants.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat import spice_fit
    >>> cohort = simulate_cohort(3, 60, n_blocks=3, seed=1)
    >>> likelihood = spice_fit(cohort.trials, block="block", model="choice", epochs=5).choice_likelihood()
    >>> zeros = np.zeros((2, 3, len(likelihood.terms)))
    >>> likelihood.log_likelihood(zeros).round(1).tolist()  # 57 choices between two, by chance
    [[-39.5, -39.5, -39.5], [-39.5, -39.5, -39.5]]
    """

    def __init__(
        self,
        model: BaseRNN,
        data: SequenceDataset,
        equations: EquationSet,
        participants: Sequence[Any] | None = None,
        *,
        known_as: np.ndarray | None = None,
        factors: np.ndarray | None = None,
    ) -> None:
        labels = tuple(range(equations.n_participants)) if participants is None else tuple(participants)
        sizes = (data.n_participants, equations.n_participants, len(labels))
        if len(set(sizes)) > 1:
            raise ShapeError(
                "data, equations and labels must be of the same participants", got=sizes, allowed="three equal numbers"
            )
        free = (equations.status == FREE).any(axis=0)
        self._equations = equations.with_status(np.where(free, FREE, equations.status).astype("int8"))
        self._model, self._data = model, data
        self._known_as = np.arange(len(labels)) if known_as is None else known_as
        codes = torch.from_numpy(self._known_as)[data.participant]
        self._problem = CoefficientLikelihood(model, data, self._equations, known_as=codes)
        self.participants = labels
        self.terms = tuple(equations.terms[position] for position in np.flatnonzero(free))
        self.n_trials: np.ndarray = data.trials_per_participant.numpy()
        self._factors = np.ones(len(equations.terms)) if factors is None else factors
        self._scale = self._factors[self._problem.free_anywhere]
        self.low: np.ndarray = self._problem.low.numpy() * self._scale
        self.high: np.ndarray = self._problem.high.numpy() * self._scale

    @property
    def by_chance(self) -> np.ndarray | None:
        """Log-likelihood of each participant's choices if all actions are equally likely, (P,); None with times."""
        if self._model.needs_times:
            return None
        return np.asarray(-self.n_trials * np.log(self._model.n_actions))

    def log_likelihood(self, coefficients: np.ndarray) -> np.ndarray:
        """Log-likelihood, in nats, of each participant's choices; 0 without choices.

        Parameters
        ----------
        coefficients : ndarray of shape (Q, P, K)
            Q sets of everybody's coefficients.

        Returns
        -------
        ndarray of shape (Q, P)
        """
        values = checked_coefficients(coefficients, (None, len(self.participants), len(self.terms)))
        with one_thread():
            return np.asarray(self._problem.values(torch.from_numpy(self._full(values))).numpy())

    def derivatives(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-likelihood (P,), its gradient (P, K) and its observed information (P, K, K), minus the Hessian.

        Parameters
        ----------
        coefficients : ndarray of shape (P, K)
        """
        values = checked_coefficients(coefficients, (len(self.participants), len(self.terms)))
        everybody = torch.ones(len(self.participants), dtype=torch.bool)
        with one_thread():
            point = self._problem.evaluate(torch.from_numpy(self._full(values)), everybody)
        gradient, information = point.gradient.numpy(), point.information.numpy()
        return point.log_likelihood.numpy(), gradient / self._scale, information / np.outer(self._scale, self._scale)

    def select(self, people: Sequence[int] | np.ndarray) -> EquationLikelihood:
        """Return the likelihood of some participants, by their positions; one may come more than once.

        Raises
        ------
        ConfigError
            A position is not from 0 to P - 1, or there is none.
        DataError
            None of these people made a choice.
        """
        index = checked_people(people, self.n_trials)
        who = self._data.participant.numpy()
        own = [np.flatnonzero(who == code) for code in index]
        data = self._data.select(torch.from_numpy(np.concatenate(own)))
        codes = torch.from_numpy(np.repeat(np.arange(len(index)), [len(rows) for rows in own]))
        data = replace(data, participant=codes, n_participants=len(index))
        equations = replace(
            self._equations, coefficients=self._equations.coefficients[index], status=self._equations.status[index]
        )
        labels = [self.participants[position] for position in index]
        chosen = EquationLikelihood(
            self._model, data, equations, labels, known_as=self._known_as[index], factors=self._factors
        )
        # bounds follow the largest reward, and people must not get other ones in a smaller group
        chosen.low, chosen.high = self.low, self.high
        return chosen

    def _full(self, free: np.ndarray) -> np.ndarray:
        """All coefficients, (..., P, all terms), from the free ones (..., P, K)."""
        full = np.broadcast_to(self._equations.coefficients, (*free.shape[:-2], *self._equations.status.shape)).copy()
        full[..., self._problem.free_anywhere] = free / self._scale
        return full
