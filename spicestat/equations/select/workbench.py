"""Workbench of the structure search: fits and scores structures, and predicts where others peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from spicestat._runtime.threads import one_thread
from spicestat.equations.estimate.forward import EquationModel
from spicestat.equations.estimate.refit import Curvature, RefitResult, local_curvature, refit
from spicestat.equations.select.ascent import ascend
from spicestat.equations.select.criteria import Arbiter
from spicestat.equations.select.moves import Move
from spicestat.equations.select.visited import Visited
from spicestat.equations.structure.equation_set import BETA, EXCLUDED, FREE, KEPT, EquationSet
from spicestat.models.base import BaseRNN
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.splits import k_folds

__all__ = ["Workbench"]

_TOLERANCE, _MAX_ITER = 0.05, 10
"""Precision of these refits: enough to compare likelihoods with what a term must gain."""

_FOLD_TOLERANCE = 1e-4
"""Without this, estimates from a part of the data would lean on those from all, where they start."""

_NO_EFFECT = 1e-6
"""Log-likelihoods that differ by less are equal."""

_MAX_ASCENT, _SHORT_ASCENT = 40, 6
"""Evaluations of gradients: to come near a maximum, and to see what a move promises."""

_ROWS_AT_ONCE = 2000
"""Sequences that climb together: more do not come cheaper."""

_SHARES = np.linspace(0, 1, 5)
"""How much of what the curvature advises is tried."""

_WIDE = 50.0
"""No coefficient goes beyond, in steps of its own size."""


class Workbench:
    """Fits and scores structures on one data set, and remembers what it has seen.

    Parameters
    ----------
    model : BaseRNN
        Gives the forward pass.
    data : SequenceDataset
        Choices of P participants.
    arbiter : Arbiter
        Scores structures.
    start : EquationSet
        Gives the K terms.
    allowed : bool ndarray of shape (K,)
        Candidate terms.
    n_folds : int, default 0
        With 2 or more, structures are scored by cross-validation: the log-likelihood of each part of the
        sequences, in consecutive parts that keep their history, at estimates from the others. The
        arbiter's prior steadies these estimates.
    """

    def __init__(
        self,
        model: BaseRNN,
        data: SequenceDataset,
        arbiter: Arbiter,
        start: EquationSet,
        allowed: np.ndarray,
        n_folds: int = 0,
    ) -> None:
        self.model, self.data, self.arbiter, self.allowed = model, data, arbiter, allowed
        self.present = data.trials_per_participant.numpy() > 0
        self.visited = Visited(start.n_participants)
        self._information: np.ndarray | None = None
        self._optimism = np.zeros(start.n_participants)
        everything = start.with_status(np.where(allowed, FREE, EXCLUDED).astype("int8"))
        self._run, self._who = EquationModel(model, data, everything), data.participant.numpy()
        self._stride = torch.from_numpy(_stride(model, start, data))
        folds = k_folds(data, n_folds, by="time") if n_folds else ()
        self._folds = [(fold.train, EquationModel(model, fold.test, everything)) for fold in folds]

    def fit(
        self, equations: EquationSet, starts: list[np.ndarray] | None = None, open_: np.ndarray | None = None
    ) -> tuple[RefitResult, np.ndarray]:
        """Fit a structure, for the participants where ``open_`` (P,) only, and return it with its scores (P,).

        Scores of the others are -inf.
        """
        return self.fit_all([equations], starts, None if open_ is None else [open_])[0]

    def fit_all(
        self,
        candidates: Sequence[EquationSet],
        starts: list[np.ndarray] | None = None,
        open_: Sequence[np.ndarray] | None = None,
    ) -> list[tuple[RefitResult, np.ndarray]]:
        """`fit` several structures, each for its own participants; together, which costs little more than one."""
        if self._information is not None and candidates:
            who = [self.present] * len(candidates) if open_ is None else open_
            candidates, _ = self._ascended(candidates, np.stack(who), _MAX_ASCENT)
        each = [None] * len(candidates) if open_ is None else open_
        return [self._fitted(one, starts, own) for one, own in zip(candidates, each, strict=True)]

    def _fitted(
        self, climbed: EquationSet, starts: list[np.ndarray] | None, open_: np.ndarray | None
    ) -> tuple[RefitResult, np.ndarray]:
        result = self._newton(self.data, climbed, starts, open_, _TOLERANCE)
        scored = self.arbiter.score(result) if not self._folds else self._held_out(result.equations, open_)
        score = np.where(result.n_trials > 0, scored, -np.inf)
        self.visited.add(climbed.status, score)
        return result, score

    def _newton(
        self,
        data: SequenceDataset,
        equations: EquationSet,
        starts: list[np.ndarray] | None,
        open_: np.ndarray | None,
        tolerance: float,
    ) -> RefitResult:
        if open_ is not None:
            data = data.select(torch.from_numpy(np.flatnonzero(open_[self._who])))
        return refit(
            self.model,
            data,
            equations,
            starts,
            prior=self.arbiter.prior,
            tolerance=tolerance,
            max_iter=_MAX_ITER,
        )

    def _ascended(
        self, candidates: Sequence[EquationSet], open_: np.ndarray, max_iter: int
    ) -> tuple[list[EquationSet], np.ndarray]:
        """Climb by gradients, C structures at once, for whom ``open_`` (C, P) says so.

        Returns structures with the coefficients reached, and the log-likelihoods (C, P) there.
        """
        n_at_once = max(1, _ROWS_AT_ONCE // len(self._who))
        climbed, log_likelihood = [], []
        for first in range(0, len(candidates), n_at_once):
            some = slice(first, first + n_at_once)
            coefficients, value = self._climb(candidates[some], open_[some], max_iter)
            climbed += [one.with_coefficients(own) for one, own in zip(candidates[some], coefficients, strict=True)]
            log_likelihood.append(value)
        return climbed, np.concatenate(log_likelihood)

    def _climb(
        self, candidates: Sequence[EquationSet], open_: np.ndarray, max_iter: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (C, P, K) after an ascent, and log-likelihoods (C, P) there."""
        assert self._information is not None
        shape = (len(candidates), *candidates[0].coefficients.shape)
        free = np.concatenate([one.status == FREE for one in candidates])
        inverse = np.concatenate([self.arbiter.inverse(one, self._information) for one in candidates])
        with one_thread():
            run = ascend(
                lambda values, active: self._objective(values, active, free),
                torch.from_numpy(np.concatenate([one.coefficients for one in candidates])),
                torch.from_numpy(free),
                torch.from_numpy(inverse),
                torch.from_numpy(open_.reshape(-1)),
                tolerance=_TOLERANCE,
                max_iter=max_iter,
                step_limit=self._stride,
            )
        coefficients, log_likelihood = run.coefficients.numpy(), run.value.numpy()
        if self.arbiter.prior is not None:
            density = self.arbiter.prior.log_density(coefficients)
            log_likelihood = log_likelihood - np.where(free, density, 0.0).sum(axis=1)
        return coefficients.reshape(shape), log_likelihood.reshape(shape[:2])

    def _objective(self, values: Tensor, active: Tensor, free: np.ndarray) -> tuple[Tensor, Tensor]:
        """Log-likelihood plus log prior (C * P,), and its gradient (C * P, K)."""
        who = torch.from_numpy(self._who)
        copy, rows = torch.nonzero(active.reshape(-1, len(self.present))[:, who], as_tuple=True)
        owner = copy * len(self.present) + who[rows]
        inside = values.clamp(-_WIDE * self._stride, _WIDE * self._stride).requires_grad_()
        per_sequence = self._run.log_likelihood_of(inside[owner], rows)
        (gradient,) = torch.autograd.grad(per_sequence.sum(), inside)
        total = torch.zeros(len(values), dtype=torch.float64).index_add_(0, owner, per_sequence.detach())
        prior = self.arbiter.prior
        if prior is not None:
            density = np.where(free, prior.log_density(values.numpy()), 0.0).sum(axis=1)
            total = total + torch.from_numpy(density)
            gradient = gradient + torch.from_numpy(np.where(free, prior.gradient(values.numpy()), 0.0))
        return total, gradient

    def _held_out(self, equations: EquationSet, open_: np.ndarray | None) -> np.ndarray:
        """Cross-validated log-likelihood (P,), started at the estimates from all data."""
        total = np.zeros(len(equations.coefficients))
        for train, test in self._folds:
            fitted = self._newton(train, equations, [], open_, _FOLD_TOLERANCE).equations
            total += _log_likelihood(test, fitted.coefficients, self._who)
        return total

    def outlook(
        self,
        equations: EquationSet,
        moves: list[Move],
        open_: np.ndarray | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> list[tuple[EquationSet, np.ndarray]]:
        """Structures after moves, with coefficients after a short ascent and the scores (P,) reached there.

        Participants for whom a move is not possible, or who are not in ``open_`` (P,; default: all), keep
        their structure. ``tell`` is called with the number of moves that were looked at.
        """
        curvature = local_curvature(self.model, self.data, equations, self.allowed)
        self._information, self._optimism = curvature.information, self._measured_optimism(equations)
        stay, compensated, possible = self._stay(equations, curvature), [], []
        for number, move in enumerate(moves):
            tell(number)
            can = move.possible(equations.status) & (self.present if open_ is None else open_)
            if not can.any():
                continue
            status = np.where(can[:, None], move.apply(equations.status), equations.status)
            moved = EquationSet(equations.libraries, equations.states, equations.coefficients, status)
            compensated.append(self._compensated(equations, moved))
            possible.append(can)
        if not compensated:
            return []
        climbed, log_likelihood = self._ascended(compensated, np.stack(possible), _SHORT_ASCENT)
        log_likelihood = np.nan_to_num(log_likelihood, nan=-np.inf)
        return [
            (one, np.where(can, self._predicted(value, one, curvature), stay))
            for one, can, value in zip(climbed, possible, log_likelihood, strict=True)
        ]

    def _compensated(self, equations: EquationSet, moved: EquationSet) -> EquationSet:
        """Let the free coefficients make up for a term that left, as far as the curvature tells and where it helps.

        Without it, a short ascent starts so low that no term among correlated ones would ever seem to be in excess.
        """
        assert self._information is not None
        plain = moved.with_coefficients(equations.coefficients)
        free = moved.status == FREE
        change = np.where(free, 0.0, plain.coefficients - equations.coefficients)
        if not change.any():
            return plain
        pull = np.where(free, np.einsum("pkl,pl->pk", self._information, change), 0.0)
        step = np.einsum("pkl,pl->pk", self.arbiter.inverse(moved, self._information), pull)
        ends = plain.coefficients - _SHARES[:, None, None] * np.where(free, step, 0.0)
        with torch.no_grad(), one_thread():
            per_sequence = self._run.log_likelihood(torch.from_numpy(ends)).numpy()
        value = np.stack([np.bincount(self._who, row, len(change)) for row in per_sequence])
        best = np.nan_to_num(value, nan=-np.inf).argmax(axis=0)
        return plain.with_coefficients(ends[best, np.arange(len(best))])

    def _stay(self, equations: EquationSet, curvature: Curvature) -> np.ndarray:
        """Score (P,) of the present structure, predicted like that of others."""
        score = self._predicted(self.log_likelihood(equations.coefficients), equations, curvature)
        return np.where(self.present, score, 0.0)

    def _predicted(self, log_likelihood: np.ndarray, equations: EquationSet, curvature: Curvature) -> np.ndarray:
        """Score (P,) to expect; changes of a cross-validated one are like Akaike's (Stone 1977, JRSS B 39, 44-47)."""
        if self._folds:
            return np.asarray(log_likelihood - (equations.status == FREE).sum(axis=1) - self._optimism)
        return self.arbiter.predict(log_likelihood, equations, curvature)

    def _measured_optimism(self, equations: EquationSet) -> np.ndarray:
        """By how much Akaike's score (P,) of a structure exceeds the cross-validated one."""
        if not self._folds:
            return np.zeros(len(self.present))
        akaike = self.log_likelihood(equations.coefficients) - (equations.status == FREE).sum(axis=1)
        return np.asarray(np.nan_to_num(akaike - self.visited.score(equations.status)))

    def log_likelihood(self, coefficients: np.ndarray) -> np.ndarray:
        """Log-likelihood (P,) at coefficients (P, K) of allowed terms."""
        return _log_likelihood(self._run, coefficients, self._who)

    def without_idle_states(self, equations: EquationSet) -> EquationSet:
        """Drop own states that are kept without an effect: from such a start, other terms would seem to add up."""
        before = self.log_likelihood(equations.coefficients)
        for position in np.flatnonzero(equations.own_state & (equations.status == KEPT).all(axis=0)):
            status = equations.status.copy()
            status[:, position] = EXCLUDED
            dropped = equations.with_status(status)
            if np.allclose(self.log_likelihood(dropped.coefficients), before, rtol=0.0, atol=_NO_EFFECT):
                equations = dropped
        return equations


def _stride(model: BaseRNN, equations: EquationSet, data: SequenceDataset) -> np.ndarray:
    """Largest step (K,): constants may be in units of reward, inverse temperatures in units of its inverse."""
    reward, span = data.largest_reward or 1.0, data.reward_span or 1.0
    constant = np.array([term == "1" for _, term in equations.terms])
    temperature = np.array([module == BETA and term not in model.bounds for module, term in equations.terms])
    return np.where(temperature, 1.0 / span, np.where(constant, max(1.0, reward), 1.0))


def _log_likelihood(run: EquationModel, coefficients: np.ndarray, who: np.ndarray) -> np.ndarray:
    with torch.no_grad(), one_thread():
        per_sequence = run.log_likelihood(torch.from_numpy(coefficients).unsqueeze(0))[0].numpy()
    return np.bincount(who, per_sequence, len(coefficients))
