"""Estimates from some of the choices: of the coefficients of equations, and of weights of choice history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from spicestat.equations.estimate.refit import RefitResult, refit
from spicestat.equations.structure.equation_set import BETA, FREE
from spicestat.errors import DataError
from spicestat.fit.history import HistoryFit, unit_factors
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.packing import pack_table
from spicestat.pooled.fit import posterior_weights
from spicestat.pooled.kernels import EVENTS, reward_range, state_moves
from spicestat.trials.sequences import SequenceDataset

__all__ = ["KERNEL", "PartialEstimates", "PartialEstimator", "Targets", "partial_estimator"]

KERNEL = "kernel"
"""Module of the total influence of one reward, and of one choice."""


class Targets(NamedTuple):
    """The choices that are predicted, in S sequences of up to T steps.

    Attributes
    ----------
    mask : bool ndarray of shape (S, T)
    participant, block, experiment : int ndarray of shape (S,)
        Codes from 0.
    """

    mask: np.ndarray
    participant: np.ndarray
    block: np.ndarray
    experiment: np.ndarray

    @classmethod
    def of(cls, data: SequenceDataset) -> Targets:
        """Take them from sequences for networks."""
        return cls(*(field.numpy() for field in (data.mask, data.participant, data.block, data.experiment)))


class PartialEstimates(NamedTuple):
    """Estimates (P, K) of P people, and which of them are known, bool (P, K)."""

    estimate: np.ndarray
    known: np.ndarray


class PartialEstimator(Protocol):
    """Estimates K quantities of everybody from some of the choices.

    Attributes
    ----------
    terms : sequence of K (module, term)
    n_have : int ndarray of shape (K,)
        How many people have the quantity.
    targets : Targets
        The choices that everything is estimated from.
    """

    @property
    def terms(self) -> Sequence[tuple[str, str]]:
        """Names of the quantities."""

    @property
    def n_have(self) -> np.ndarray:
        """How many people have each."""

    @property
    def targets(self) -> Targets:
        """The choices that everything is estimated from."""

    def estimate(self, counted: np.ndarray) -> PartialEstimates:
        """Estimate from the targets ``counted``, a bool array like their mask (S, T)."""


def partial_estimator(fit: SpiceFit | HistoryFit) -> PartialEstimator:
    """Return what estimates a fit's coefficients from parts of its choices."""
    return _Weights(fit) if isinstance(fit, HistoryFit) else _Coefficients(fit)


class _Coefficients:
    """Maximum likelihood, with the equations of the fit."""

    def __init__(self, fit: SpiceFit) -> None:
        self._model, self._data = fit.model, SequenceDataset.from_trials(fit.trials)
        self.targets = Targets.of(self._data)
        self.terms = fit.model.equations.terms
        self.n_have = (fit.model.equations.status == FREE).sum(axis=0)

    def estimate(self, counted: np.ndarray) -> PartialEstimates:
        part = self._data.with_mask(torch.from_numpy(counted))
        part = part.select(torch.nonzero(part.mask.any(dim=1)).squeeze(1))
        return identified(refit(self._model.network, part, self._model.equations))


def identified(result: RefitResult) -> PartialEstimates:
    """Coefficients that people have, and that converged with a standard error, are known."""
    errors = np.diagonal(result.covariance, axis1=1, axis2=2)
    known = (result.equations.status == FREE) & result.converged[:, None] & np.isfinite(errors)
    return PartialEstimates(result.equations.coefficients, known)


class _Weights:
    """Posterior means under the population of the fit, and the total influences that they make."""

    def __init__(self, fit: HistoryFit) -> None:
        self._pooled, n_people = fit.pooled, fit.trials.n_participants
        packed = pack_table(fit.trials, fit.pooled.reward_size)
        self._rows = fit.pooled.rows(packed)
        self._factors = unit_factors(fit.pooled.states, fit.pooled.reward_size)
        blocks = fit.trials.blocks
        mask = np.zeros((len(blocks), int(blocks["n_trials"].max())), dtype=bool)
        mask[self._rows.session, self._rows.trial] = True
        who, experiment = (blocks[name].to_numpy() for name in ("participant", "experiment"))
        self.targets = Targets(mask, who, np.arange(len(blocks)), experiment)
        low, high = reward_range(packed)
        self._events = [event for event in EVENTS if event == "choice" or high > low]
        self._moves = [
            np.nansum(state_moves(packed, fit.pooled.states, event, n_people).mean, axis=1) for event in self._events
        ]
        if not fit.pooled.n_own:
            raise DataError("all weights are the population's, so that they cannot tell people apart")

    @property
    def terms(self) -> Sequence[tuple[str, str]]:
        own = [(BETA, name) for name in self._pooled.names[: self._pooled.n_own]]
        return [*own, *((KERNEL, event) for event in self._events)]

    @property
    def n_have(self) -> np.ndarray:
        return np.full(len(self.terms), len(self._pooled.n_choices))

    def estimate(self, counted: np.ndarray) -> PartialEstimates:
        rows = self._rows.rows(counted[self._rows.session, self._rows.trial])
        mean, _ = posterior_weights(self._pooled, rows)
        own = (mean * self._factors)[:, : self._pooled.n_own]
        totals = [np.einsum("nk,nk->n", moves, mean) for moves in self._moves]
        values = np.column_stack([own, *totals])
        there = np.bincount(rows.person, minlength=len(values)) > 0
        return PartialEstimates(values, np.broadcast_to(there[:, None], values.shape))
