"""Refit: maximum-likelihood estimates of the equations' coefficients, per participant, with covariances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from spicestat._runtime.progress import Progress
from spicestat._runtime.threads import one_thread
from spicestat.equations.estimate.affine import AffineLikelihood
from spicestat.equations.estimate.affine_form import find_affine
from spicestat.equations.estimate.forward import EquationModel
from spicestat.equations.estimate.prior import Prior
from spicestat.equations.structure.equation_set import BETA, EXCLUDED, FREE, EquationSet
from spicestat.models.base import BaseRNN
from spicestat.training.loss import check_times
from spicestat.trials.sequences import SequenceDataset

__all__ = ["CoefficientLikelihood", "Curvature", "RefitResult", "default_starts", "local_curvature", "merged", "refit"]

_BETA_LIMIT = 50.0
_TERM_LIMIT = 10.0
_ROWS_AT_ONCE = 2000
_EDGE = 1e-6
_FLAT = 1e-6
_SINGULAR = 1e-6
_ROUGH, _ROUGH_ITER = 0.01, 20
_N_LENDERS = 32


@dataclass(frozen=True, eq=False)
class RefitResult:
    """Maximum-likelihood estimates of P participants' K coefficients.

    Attributes
    ----------
    equations : EquationSet
        The structure with the estimates.
    covariance : ndarray of shape (P, K, K)
        Inverse of the observed information over the free coefficients; NaN elsewhere, and everywhere
        for a participant with a coefficient at its bound, or whose likelihood is flat (information not
        positive definite, or a standard error wider than the bounds).
    log_likelihood : ndarray of shape (P,)
        At the estimates, in nats.
    n_trials : int ndarray of shape (P,)
        Number of predicted choices; with none, a participant keeps its start and has not converged.
    converged : bool ndarray of shape (P,)
        The Newton decrement is below tolerance and the likelihood is not flat.
    at_bound : bool ndarray of shape (P, K)
        The estimate lies on its bound, and the likelihood still rises beyond it.
    """

    equations: EquationSet
    covariance: np.ndarray
    log_likelihood: np.ndarray
    n_trials: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray

    @property
    def unidentified(self) -> np.ndarray:
        """Participants with a free coefficient that has no standard error, bool ndarray of shape (P,)."""
        unknown = ~np.isfinite(np.diagonal(self.covariance, axis1=1, axis2=2))
        return np.asarray((unknown & (self.equations.status == FREE)).any(axis=1))

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood per choice."""
        return float(-self.log_likelihood.sum() / self.n_trials.sum())

    def select(self, codes: np.ndarray) -> RefitResult:
        """Return copies of the estimates of some participants, in the order of their codes (N,)."""
        own = self.equations
        equations = replace(own, coefficients=own.coefficients[codes], status=own.status[codes])
        return RefitResult(
            equations,
            self.covariance[codes],
            self.log_likelihood[codes],
            self.n_trials[codes],
            self.converged[codes],
            self.at_bound[codes],
        )


@dataclass(frozen=True, eq=False)
class Curvature:
    """Gradient (P, K) and observed information (P, K, K) of the log-likelihood over all K coefficients."""

    gradient: np.ndarray
    information: np.ndarray


@dataclass
class _Point:
    """Likelihood (P,), gradient (P, F) and observed information (P, F, F) at coefficients (P, K)."""

    coefficients: Tensor
    log_likelihood: Tensor
    gradient: Tensor
    information: Tensor

    def update(self, other: _Point, better: Tensor) -> None:
        """Take the participants where ``better`` (P,) from another point."""
        for name in ("coefficients", "log_likelihood", "gradient", "information"):
            mine, new = getattr(self, name), getattr(other, name)
            setattr(self, name, torch.where(better.reshape(-1, *[1] * (mine.ndim - 1)), new, mine))


def refit(
    model: BaseRNN,
    data: SequenceDataset,
    equations: EquationSet,
    starts: list[np.ndarray] | None = None,
    *,
    prior: Prior | None = None,
    tolerance: float = 1e-8,
    max_iter: int = 60,
    progress: Progress | None = None,
) -> RefitResult:
    r"""Estimate every participant's free coefficients from the choices.

    Maximises :math:`\sum_t \log p(a_t \mid \theta_i)` (the model's `BaseRNN.log_likelihood`) by Newton's
    method with Levenberg damping, all participants at once, within bounds: inverse temperatures within
    50 over the range of the rewards, the model's other constants within its `BaseRNN.bounds`, constant
    terms (which may be in units of reward) within 10 max(1, max|r|), other coefficients within 10 of
    zero. The best of several starts counts. Standard errors are from the observed information.

    Parameters
    ----------
    model : BaseRNN
        Gives the forward pass.
    data : SequenceDataset
        Choices of P participants.
    equations : EquationSet
        Structure, and the first start.
    starts : list of ndarrays of shape (P, K), optional
        Further starts. Default: the median over participants, and the first start with the model's own
        values of its constants (`BaseRNN.starts`) where it has some. Unless there are none, everybody also starts
        where others ended whose estimates predict their choices best: single people have several maxima.
    prior : Prior, optional
        With it, the posterior's mode and covariance instead of the likelihood's.
    tolerance : float
        Log-likelihood that the last Newton step may still promise.
    max_iter : int
        Newton steps of the best start; each start gets at most 20 rough ones first.
    progress : callable, optional
        Called with ("refit", start, starts, message).

    Returns
    -------
    RefitResult
    """
    problem = CoefficientLikelihood(model, data, equations, prior)
    borrow = starts is None or bool(starts)
    if starts is None:
        starts = default_starts(model, equations)
    with one_thread():
        best: _Point | None = None
        for number, start in enumerate([equations.coefficients, *starts], start=1):
            # with several starts only the best one is worth the last digits
            point = problem.maximise(problem.start(start), max(tolerance, _ROUGH), min(max_iter, _ROUGH_ITER))
            if best is None:
                best = point
            else:
                higher = point.log_likelihood > best.log_likelihood + _ROUGH
                best.update(point, higher | best.log_likelihood.isnan())
            if progress is not None:
                progress("refit", number, 1 + len(starts), f"log-likelihood {float(best.log_likelihood.sum()):.1f}")
        assert best is not None
        if borrow and equations.n_participants > 1:
            point = problem.maximise(problem.borrowed(best), max(tolerance, _ROUGH), min(max_iter, _ROUGH_ITER))
            best.update(point, point.log_likelihood > best.log_likelihood + _ROUGH)
        return problem.result(problem.maximise(best, tolerance, max_iter))


def default_starts(model: BaseRNN, equations: EquationSet) -> list[np.ndarray]:
    """Return starts (P, K) of a refit besides the equations' own coefficients; see `refit`."""
    starts = [np.broadcast_to(np.median(equations.coefficients, axis=0), equations.coefficients.shape)]
    if model.starts:
        own = equations.coefficients.copy()
        for name, value in model.starts.items():
            own[:, equations.terms.index((BETA, name))] = value
        starts.append(own)
    return starts


def local_curvature(
    model: BaseRNN, data: SequenceDataset, equations: EquationSet, allowed: np.ndarray | None = None
) -> Curvature:
    """Gradient and information at the current coefficients as if all allowed terms were free.

    Parameters
    ----------
    model, data, equations
        As in `refit`.
    allowed : bool ndarray of shape (K,), optional
        Terms to look at besides those that are in the equations; default: all. The others have 0.

    """
    looked_at = (equations.status != EXCLUDED).any(axis=0) | (True if allowed is None else allowed)
    status = np.broadcast_to(np.where(looked_at, FREE, EXCLUDED).astype("int8"), equations.status.shape)
    everything = EquationSet(equations.libraries, equations.states, equations.coefficients, status)
    problem = CoefficientLikelihood(model, data, everything)
    with one_thread():
        everybody = torch.ones(equations.n_participants, dtype=torch.bool)
        point = problem.evaluate(torch.from_numpy(equations.coefficients), everybody)
    n_participants, n_terms = equations.coefficients.shape
    gradient, information = np.zeros((n_participants, n_terms)), np.zeros((n_participants, n_terms, n_terms))
    where = problem.free_anywhere
    gradient[:, where] = np.nan_to_num(point.gradient.numpy())
    information[:, where[:, None], where] = np.nan_to_num(point.information.numpy())
    return Curvature(gradient, information)


def merged(first: RefitResult, second: RefitResult, take_second: np.ndarray) -> RefitResult:
    """Take each participant's result from one of two refits, from the second where ``take_second`` (P,)."""

    def pick(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(take_second.reshape(-1, *[1] * (one.ndim - 1)), other, one)

    equations = EquationSet(
        first.equations.libraries,
        first.equations.states,
        pick(first.equations.coefficients, second.equations.coefficients),
        pick(first.equations.status, second.equations.status),
    )
    return RefitResult(
        equations,
        pick(first.covariance, second.covariance),
        pick(first.log_likelihood, second.log_likelihood),
        first.n_trials,
        pick(first.converged, second.converged),
        pick(first.at_bound, second.at_bound),
    )


class CoefficientLikelihood:
    """The likelihood of all participants as a function of their free coefficients.

    Parameters
    ----------
    model, data, equations, prior
        As in `refit`.
    known_as : int Tensor of shape (S,), optional
        Participant codes by which the model itself knows the sequences. Default: those of the data.
    own_limit : float, default 10
        Bound of the coefficients of own states, by size.
    """

    def __init__(
        self,
        model: BaseRNN,
        data: SequenceDataset,
        equations: EquationSet,
        prior: Prior | None = None,
        known_as: Tensor | None = None,
        own_limit: float = _TERM_LIMIT,
    ) -> None:
        check_times(model, data)
        self.run = EquationModel(model, data, equations)
        if known_as is not None:
            self.run.features[..., -1] = known_as[:, None].to(self.run.features.dtype)
        self.data, self.equations = self.run.data, equations
        self.free_anywhere = np.flatnonzero((equations.status == FREE).any(axis=0))
        self.free = torch.from_numpy((equations.status == FREE)[:, self.free_anywhere])
        self.prior = None if prior is None else prior.select(self.free_anywhere)
        self.length = self.data.lengths
        self.low, self.high = self._bounds(own_limit)
        self.edge = _EDGE * (self.high - self.low)

    def _bounds(self, own_limit: float) -> tuple[Tensor, Tensor]:
        """Bounds of the free coefficients, each of shape (F,)."""
        scale, span = (self.data.largest_reward, self.data.reward_span) if self.data.n_sequences else (0.0, 0.0)
        limits = {BETA: _BETA_LIMIT / (span or 1.0), "1": _TERM_LIMIT * max(1.0, scale)}
        ranges = torch.empty(len(self.free_anywhere), 2, dtype=torch.float64)
        for row, position in enumerate(self.free_anywhere):
            module, term = self.equations.terms[position]
            own_state = bool(self.equations.own_state[position])
            limit = own_limit if own_state else limits.get(module, limits.get(term, _TERM_LIMIT))
            own = self.run.model.bounds.get(term) if module == BETA else None
            ranges[row] = torch.tensor((-limit, limit) if own is None else own)
        return ranges[:, 0], ranges[:, 1]

    def _moved(self, coefficients: Tensor, step: Tensor | float) -> Tensor:
        """Return coefficients (P, K) after a step (P, F) of the free ones, inside the bounds."""
        free = (coefficients[:, self.free_anywhere] + step).clamp(self.low, self.high)
        moved = coefficients.clone()
        moved[:, self.free_anywhere] = torch.where(self.free, free, moved[:, self.free_anywhere])
        return moved

    @cached_property
    def affine(self) -> AffineLikelihood | None:
        """The likelihood by recursions, where the equations allow it."""
        return find_affine(self.run)

    def _rows(self, active: Tensor) -> Tensor:
        """Sequences of the active participants, without those of padding alone."""
        return torch.nonzero(active[self.data.participant] & (self.length > 0)).squeeze(1)

    def _pieces(self, rows: Tensor, n_copies: int) -> list[tuple[Tensor, int]]:
        """Sequences by length, in pieces that keep memory small, with their steps."""
        rows = rows[torch.argsort(self.length[rows], stable=True)]
        pieces = torch.split(rows, max(1, _ROWS_AT_ONCE // max(n_copies, 1)))
        return [(piece, int(self.length[piece[-1]])) for piece in pieces if len(piece)]

    def values(self, coefficients: Tensor) -> Tensor:
        """Log-likelihood (C, P) of all participants at coefficients (C, P, K), without derivatives and prior."""
        n_copies, n_sequences = coefficients.shape[0], len(self.length)
        value = torch.zeros(n_copies, n_sequences, dtype=torch.float64)
        rest = (self.length > 0).expand(n_copies, -1)
        with torch.no_grad():
            if self.affine is not None and n_copies:
                value, inside = self.affine.log_likelihood(coefficients, torch.arange(n_sequences))
                rest = ~inside
            copies = torch.nonzero(rest.any(dim=1)).squeeze(1)
            for rows, n_steps in self._pieces(torch.nonzero(rest.any(dim=0)).squeeze(1), len(copies)):
                for some in torch.split(copies, max(1, _ROWS_AT_ONCE // len(rows))):
                    where = some[:, None], rows
                    own = self.run.log_likelihood(coefficients[some], rows, n_steps)
                    value[where] = torch.where(rest[where], own, value[where])
        total = torch.zeros(n_copies, len(self.free), dtype=torch.float64)
        return total.index_add_(1, self.data.participant, value)

    def evaluate(self, coefficients: Tensor, active: Tensor) -> _Point:
        """Likelihood, gradient and observed information of the active participants.

        By recursions where these hold; else the batch holds one copy per free coefficient, so that a
        single second derivative gives all columns of the Hessian.
        """
        n_participants, n_free = self.free.shape
        log_likelihood = torch.zeros(n_participants, dtype=torch.float64)
        gradient = torch.zeros(n_participants, n_free, dtype=torch.float64)
        information = torch.zeros(n_participants, n_free, n_free, dtype=torch.float64)

        rest = self._rows(active)
        if self.affine is not None and len(rest):
            *found, inside = self.affine.derivatives(coefficients, rest)
            who = self.data.participant[rest[inside]]
            for total, part, sign in zip((log_likelihood, gradient, information), found, (1, 1, -1), strict=True):
                total.index_add_(0, who, part[inside], alpha=sign)
            rest = rest[~inside]
        for rows, n_steps in self._pieces(rest, n_free):
            likelihood, first, second = self._derivatives(coefficients, rows, n_steps)
            log_likelihood.index_add_(0, self.data.participant[rows], likelihood)
            gradient += first
            information -= second
        if self.prior is not None:
            log_prior, slope, precision = self._log_prior(coefficients)
            log_likelihood, gradient = log_likelihood + log_prior, gradient + slope
            information = information + precision
        both = self.free[:, :, None] & self.free[:, None, :]
        symmetric = (information + information.transpose(1, 2)) / 2
        return _Point(
            coefficients,
            log_likelihood,
            torch.where(self.free, gradient, 0.0),
            torch.where(both, symmetric, 0.0),
        )

    def _log_prior(self, coefficients: Tensor) -> tuple[Tensor, ...]:
        """Log prior density (P,) of the free coefficients, its gradient (P, F) and its precision (P, F, F)."""
        assert self.prior is not None
        values = coefficients[:, self.free_anywhere].detach().numpy()
        return tuple(torch.from_numpy(part) for part in self.prior.parts(values, self.free.numpy()))

    def _derivatives(self, coefficients: Tensor, rows: Tensor, n_steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-likelihood (R,) of some sequences, with its gradient (P, F) and Hessian (P, F, F)."""
        n_participants, n_free = self.free.shape
        n_copies = max(n_free, 1)
        copies = coefficients.repeat(n_copies, 1, 1).requires_grad_()
        likelihood = self.run.log_likelihood(copies, rows, n_steps)
        if not n_free:
            nothing = torch.zeros(n_participants, 0, dtype=torch.float64)
            return likelihood.detach()[0], nothing, nothing.unsqueeze(2)
        (first,) = torch.autograd.grad(likelihood.sum(), copies, create_graph=True)
        # participants and copies do not mix: copy c gives column c of every participant
        own = first[torch.arange(n_free), :, self.free_anywhere].sum()
        (second,) = torch.autograd.grad(own, copies)
        free = self.free_anywhere
        return likelihood.detach()[0], first.detach()[0][:, free], second[:, :, free].transpose(0, 1)

    def _step(self, point: _Point, damping: Tensor) -> tuple[Tensor, Tensor]:
        """Return the damped Newton step (P, F) and the Newton decrement (P,).

        Eigenvalues of the information (scaled to a unit diagonal) are taken by size, so that every
        step goes uphill, also where the likelihood is not concave.
        """
        movable = self._movable(point)
        both = movable[:, :, None] & movable[:, None, :]
        gradient = torch.where(movable, point.gradient, 0.0)
        matrix = torch.nan_to_num(torch.where(both, point.information, 0.0))
        size = torch.diagonal(matrix, dim1=1, dim2=2).abs().clamp(min=1e-8).sqrt()
        values, vectors = torch.linalg.eigh(matrix / (size[:, :, None] * size[:, None, :]))
        curvature = values.abs().clamp(min=_FLAT) + damping[:, None]
        along = (vectors.transpose(1, 2) @ torch.nan_to_num(gradient / size).unsqueeze(-1)).squeeze(-1)
        step = (vectors @ (along / curvature).unsqueeze(-1)).squeeze(-1) / size
        return torch.where(movable, step, 0.0), (gradient * step).sum(dim=1)

    def _movable(self, point: _Point) -> Tensor:
        """Free coefficients (P, F) that do not push against their bound."""
        value = point.coefficients[:, self.free_anywhere]
        low = (value <= self.low + self.edge) & (point.gradient < 0)
        high = (value >= self.high - self.edge) & (point.gradient > 0)
        return self.free & ~low & ~high

    def _without_prior(self, point: _Point) -> Tensor:
        return (
            point.log_likelihood
            if self.prior is None
            else point.log_likelihood - self._log_prior(point.coefficients)[0]
        )

    def start(self, coefficients: np.ndarray) -> _Point:
        """Evaluate a starting value (P, K), moved inside the bounds."""
        values = torch.from_numpy(np.nan_to_num(self.equations.with_coefficients(coefficients).coefficients))
        return self.evaluate(self._moved(values, 0.0), self.data.trials_per_participant > 0)

    def borrowed(self, best: _Point) -> _Point:
        """Evaluate everybody at the coefficients of somebody else that predict their choices best."""
        rank = torch.argsort(best.log_likelihood / self.data.trials_per_participant.clamp(min=1), stable=True)
        lenders = rank[torch.linspace(0, len(rank) - 1, min(_N_LENDERS, len(rank))).round().long()]
        offers = np.stack([self._own_structure(best.coefficients[lender]) for lender in lenders.tolist()])
        value = self.values(torch.from_numpy(offers))
        value[torch.arange(len(lenders)), lenders] = -torch.inf
        chosen = torch.nan_to_num(value, nan=-torch.inf).argmax(dim=0).numpy()
        return self.start(offers[chosen, np.arange(len(chosen))])

    def _own_structure(self, coefficients: Tensor) -> np.ndarray:
        """Coefficients (P, K) of everybody's own structure with the values (K,) of one participant."""
        everybody = np.broadcast_to(coefficients.numpy(), self.equations.coefficients.shape)
        return self.equations.with_coefficients(everybody).coefficients

    def maximise(self, start: _Point, tolerance: float, max_iter: int) -> _Point:
        """Newton's method with Levenberg damping per participant."""
        point, n_participants = start, len(start.coefficients)
        active = self.data.trials_per_participant > 0
        damping = torch.full((n_participants,), 1e-2, dtype=torch.float64)
        for _ in range(max_iter):
            step, decrement = self._step(point, damping)
            active = active & (decrement > tolerance) & (damping < 1e12)
            if not bool(active.any()):
                break
            trial = self.evaluate(self._moved(point.coefficients, step), active)
            better = active & (trial.log_likelihood >= point.log_likelihood) & torch.isfinite(trial.log_likelihood)
            point.update(trial, better)
            damping = torch.where(better, damping / 5, torch.where(active, damping * 4, damping)).clamp(min=1e-9)
        return point

    def result(self, point: _Point) -> RefitResult:
        """Add covariances and flags to the estimates."""
        _, decrement = self._step(point, torch.zeros(len(point.coefficients), dtype=torch.float64))
        movable = self._movable(point)
        covariance, positive = _inverse(point.information, movable)
        at_bound = (self.free & ~movable).numpy()
        # a standard error wider than the bounds says that the likelihood is flat
        too_wide = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)) > (self.high - self.low).numpy()
        identified = positive & ~too_wide.any(axis=1)
        # given that one coefficient stopped at its bound, the others only look precise
        covariance[~identified | at_bound.any(axis=1)] = np.nan
        n_terms = len(self.equations.terms)
        full = np.full((len(covariance), n_terms, n_terms), np.nan)
        full[:, self.free_anywhere[:, None], self.free_anywhere] = covariance
        bounds_hit = np.zeros(self.equations.status.shape, dtype=bool)
        bounds_hit[:, self.free_anywhere] = at_bound
        return RefitResult(
            equations=self.equations.with_coefficients(point.coefficients.numpy()),
            covariance=full,
            log_likelihood=self._without_prior(point).numpy(),
            n_trials=self.data.trials_per_participant.numpy(),
            converged=(decrement < 1e-4).numpy() & identified,
            at_bound=bounds_hit,
        )


def _inverse(information: Tensor, movable: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Invert (P, F, F) over the movable coefficients; NaN elsewhere and where not positive definite."""
    both = (movable[:, :, None] & movable[:, None, :]).numpy()
    matrix = np.where(both, information.numpy(), 0.0)
    if not matrix.size:
        return matrix, np.ones(len(matrix), dtype=bool)
    finite = np.isfinite(matrix).all(axis=(1, 2))
    matrix[~finite] = 0.0
    index = np.arange(matrix.shape[1])
    matrix[:, index, index] = np.where(movable.numpy(), matrix[:, index, index], 1.0)
    diagonal = matrix[:, index, index]
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = matrix / (scale[:, :, None] * scale[:, None, :])
    positive = np.asarray(finite & (diagonal > 0).all(axis=1))
    positive[positive] = np.linalg.eigvalsh(scaled[positive])[:, 0] > _SINGULAR
    inverse = np.full_like(matrix, np.nan)
    inverse[positive] = np.linalg.inv(scaled[positive]) / (scale[:, :, None] * scale[:, None, :])[positive]
    return np.where(both, inverse, np.nan), positive
