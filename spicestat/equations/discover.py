"""Discovery: from a trained RNN to equations, and from the equations to estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spicestat._checks import real_number, whole_number
from spicestat._runtime.progress import Progress
from spicestat._runtime.threads import one_thread
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.select.criteria import Criterion, check_criterion
from spicestat.equations.select.search import select_structure
from spicestat.equations.sparse import (
    SparseFit,
    check_optimizer,
    independent_terms,
    polynomial_library,
    sparse_regression,
)
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.equations.trajectories import Trajectory, record_member_trajectories, record_trajectories
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Discovery", "SparseSettings", "Structure", "discover", "sparse_equations"]

Structure = Literal["population", "participant"]

_LARGEST_START = 3.0
"""Largest inverse temperature that a refit starts from, per unit of reward, when rewards are above 1."""


@dataclass(frozen=True)
class SparseSettings:
    """How equations are found.

    Parameters
    ----------
    degree : int
        Polynomial degree of the candidate terms, 1 or more.
    threshold, alpha : float
        Of the sparse regression on the RNN's trajectories, 0 or more; see `sparse_regression`.
    stability : float
        With an ensemble, terms of degree 2 or more are candidates if the regression selects them in at
        least this share of the members, in [0, 1]; constants and linear terms always are.
    optimizer : {"STLSQ", "SR3_L1", "SR3_weighted_l1"} or pysindy optimizer
        Of that regression.
    structure : {"population", "participant"}
        One structure for everybody, so that magnitudes can be compared, or one per participant.
    criterion : {"aic", "bic", "evidence", "cv"}
        What decides between structures; see `select_structure`.
    significance : float
        Level of the likelihood-ratio test that goes with "aic" and "bic".
    """

    degree: int = 1
    threshold: float = 0.03
    alpha: float = 0.1
    stability: float = 0.5
    optimizer: Any = "STLSQ"
    structure: Structure = "population"
    criterion: Criterion = "aic"
    significance: float = 0.001

    def __post_init__(self) -> None:
        if self.structure not in ("population", "participant"):
            raise ConfigError("unknown structure", got=self.structure, allowed="'population' or 'participant'")
        whole_number("degree", self.degree, 1)
        real_number("threshold", self.threshold, 0.0)
        # the relaxation of SR3 must not be 0
        real_number("alpha", self.alpha, 0.0, low_included=not str(self.optimizer).startswith("SR3_"))
        real_number("stability", self.stability, 0.0, 1.0, high_included=True)
        check_optimizer(self.optimizer)
        check_criterion(self.criterion, self.significance)


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found.

    Attributes
    ----------
    sparse : EquationSet
        Sparse regression on the RNN's trajectories, with the RNN's inverse temperatures.
    refit : RefitResult
        Selected structure with maximum-likelihood estimates.
    inclusion : ndarray of shape (P, K)
        See `Selection`.
    stability : ndarray of shape (P, K)
        See `member_stability`.
    """

    sparse: EquationSet
    refit: RefitResult
    inclusion: np.ndarray
    stability: np.ndarray


def discover(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    progress: Progress | None = None,
    *,
    sparse: EquationSet | None = None,
) -> Discovery:
    """Turn a trained RNN into equations and estimate them on the choices.

    The RNN proposes candidate terms (besides the linear ones, which always are) and starting values; the
    likelihood of the choices decides which of them stay, and gives the estimates.

    Parameters
    ----------
    model : BaseRNN
        A trained model.
    data : SequenceDataset
        Its data.
    config : SpiceConfig
        Modules and signals.
    settings : SparseSettings
        How to search.
    progress : callable, optional
        Called with (stage, done, total, message).
    sparse : EquationSet, optional
        Equations from a sparse regression that was run before, with the same ``settings`` but for its
        threshold and penalty. Default: it is run here.
    """
    trajectories = record_trajectories(model, data, config)
    # a lone member's trajectories are the mean over members
    members = [trajectories] if model.n_members == 1 else record_member_trajectories(model, data, config)
    stability = member_stability(model, data, config, settings, members)
    if sparse is None:
        sparse = sparse_equations(model, data, config, settings, trajectories)
    if model.n_members > 1:
        sparse = _stable(sparse, stability >= settings.stability)
    start = _simple_start(sparse, trajectories)
    allowed = _linear_candidates(sparse, trajectories)
    allowed |= (sparse.status != EXCLUDED).any(axis=0) | (start.status != EXCLUDED).any(axis=0)
    result = select_structure(
        model,
        data,
        start,
        allowed,
        shared=settings.structure == "population",
        criterion=settings.criterion,
        significance=settings.significance,
        progress=progress,
        others=[*_with_constants(start, trajectories), sparse],
    )
    return Discovery(sparse, result.result, result.inclusion, stability)


def sparse_equations(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    trajectories: Mapping[str, Trajectory],
) -> EquationSet:
    """Sparse regression of every module's trajectory on its candidate terms, with the RNN's inverse temperatures."""
    libraries = _libraries(config, settings)
    fits = _regressions(libraries, settings, trajectories, data.n_participants)
    betas = _rnn_betas(model, data)
    selected = np.concatenate([fit.selected for fit in fits] + [np.ones_like(betas, dtype=bool)], axis=1)
    coefficients = np.concatenate([np.nan_to_num(fit.coefficients) for fit in fits] + [betas], axis=1)
    status = np.where(selected, FREE, EXCLUDED).astype("int8")
    found = EquationSet(libraries, tuple(model.betas), coefficients, status)
    # one step ahead it makes little difference, but over a block a state that grows runs away
    bounded = np.where(found.own_state, coefficients.clip(-1.0, 1.0), coefficients)
    return found.with_coefficients(bounded)


def member_stability(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    members: Sequence[Mapping[str, Trajectory]] | None = None,
) -> np.ndarray:
    """Share of the ensemble's members in which the sparse regression selects a term, (P, K).

    Stability selection (Meinshausen & Buehlmann 2010, doi:10.1111/j.1467-9868.2010.00740.x), with
    networks that differ in their initial weights and, with ``bagging``, in their sequences. NaN for
    participants without data; inverse temperatures have 1. ``members`` are the members' trajectories, if
    these are recorded already.
    """
    libraries, n_participants = _libraries(config, settings), data.n_participants
    # one by one, as with a structure for the population every member must find its own
    fits = [
        _regressions(libraries, settings, trajectories, n_participants)
        for trajectories in (record_member_trajectories(model, data, config) if members is None else members)
    ]
    share = np.mean([np.concatenate([fit.selected for fit in own], axis=1) for own in fits], axis=0)
    share[data.trials_per_participant.cpu().numpy() == 0] = np.nan
    return np.concatenate([share, np.ones((n_participants, len(model.betas)))], axis=1)


def _libraries(config: SpiceConfig, settings: SparseSettings) -> tuple[ModuleLibrary, ...]:
    return tuple(polynomial_library(module, config.signals(module), settings.degree) for module in config.rnn_modules)


def _regressions(
    libraries: tuple[ModuleLibrary, ...],
    settings: SparseSettings,
    trajectories: Mapping[str, Trajectory],
    n_participants: int,
) -> list[SparseFit]:
    return [
        sparse_regression(
            trajectories[library.module],
            library,
            n_participants,
            settings.optimizer,
            settings.threshold,
            settings.alpha,
            independent_terms(trajectories[library.module], library),
            shared=settings.structure == "population",
        )
        for library in libraries
    ]


def _stable(sparse: EquationSet, stable: np.ndarray) -> EquationSet:
    """Drop the terms that are not stable over members; inverse temperatures always stay."""
    return sparse.with_status(np.where(stable, sparse.status, EXCLUDED).astype("int8"))


def _rnn_betas(model: BaseRNN, data: SequenceDataset) -> np.ndarray:
    """Inverse temperatures of the networks, mean over a participant's sequences and over members, (P, n_states)."""
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> RemovableHandle:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = output.detach()

        return model.betas[name].register_forward_hook(hook)

    handles = [remember(name) for name in model.betas]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), one_thread():
            model(data.xs[:, :1].repeat(model.n_members, 1, 1), batch_first=True)
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    missing = [name for name in model.betas if name not in seen]
    if missing:
        raise ConfigError("forward() never uses these constants", got=missing, do="multiply the state by betas[name]()")
    counts = torch.bincount(data.participant, minlength=data.n_participants).clamp(min=1)
    columns = []
    for name in model.betas:
        rows = (
            seen[name].double().expand(model.n_members * data.n_sequences, 1).reshape(model.n_members, -1).mean(dim=0)
        )
        total = torch.zeros(data.n_participants, dtype=torch.float64).index_add_(0, data.participant.cpu(), rows.cpu())
        columns.append((total / counts.cpu()).numpy())
    betas = np.stack(columns, axis=1) if columns else np.zeros((data.n_participants, 0))
    # with rewards in points the networks' constants, which start near 1, would start the refit at its bound
    limit = _LARGEST_START / max(1.0, data.largest_reward)
    unbounded = np.array([name not in model.bounds for name in model.betas], dtype=bool)
    return np.where(unbounded, np.clip(betas, -limit, limit), betas) if limit < _LARGEST_START else betas


def _linear_candidates(sparse: EquationSet, trajectories: Mapping[str, Trajectory]) -> np.ndarray:
    """Say which terms are constant or linear and no combination of others, (K,).

    They are few, so the likelihood judges them itself: a network that has not learned a weak mechanism
    yet must not hide it. Terms of higher degree need the network's word.
    """
    flags = [
        independent_terms(trajectories[library.module], library) & (np.sum(library.powers, axis=1) <= 1)
        for library in sparse.libraries
    ]
    return np.concatenate([*flags, np.ones(len(sparse.states), dtype=bool)])


def _simple_start(sparse: EquationSet, trajectories: Mapping[str, Trajectory]) -> EquationSet:
    """For each module the one-term equation that comes closest to its trajectory; the search grows from there."""
    status = np.where(np.arange(len(sparse.terms)) < len(sparse.terms) - len(sparse.states), EXCLUDED, FREE)
    values = sparse.coefficients.copy()
    for library in sparse.libraries:
        offset = sparse.positions(library).start
        term, state, value = _closest_term(library, trajectories[library.module])
        status[offset + term] = state
        values[:, offset + term] = value
    return EquationSet(sparse.libraries, sparse.states, values, sparse.status).with_status(status.astype("int8"))


def _with_constants(start: EquationSet, trajectories: Mapping[str, Trajectory]) -> list[EquationSet]:
    """Return the simple start with one module's constant instead of its term, for each module, and with all constants.

    A constant rate, for example, is best predicted by its own last value, but a kept rate never leaves 0.
    """
    swaps = []
    for library in start.libraries:
        where = start.positions(library)
        constant = where.start + library.terms.index("1") if "1" in library.terms else None
        if constant is not None and start.status[0, constant] != FREE:
            swaps.append((where, constant, float(trajectories[library.module].target.mean())))
    return [_swapped(start, some) for some in [*([swap] for swap in swaps), *([swaps] if len(swaps) > 1 else [])]]


def _swapped(start: EquationSet, swaps: Sequence[tuple[slice, int, float]]) -> EquationSet:
    status, values = start.status.copy(), start.coefficients.copy()
    for where, constant, value in swaps:
        status[:, where] = EXCLUDED
        status[:, constant], values[:, constant] = FREE, value
    return EquationSet(start.libraries, start.states, values, status).with_coefficients(values)


def _closest_term(library: ModuleLibrary, trajectory: Trajectory) -> tuple[int, int, float]:
    """Return (term, status, coefficient) with the smallest squared error; keeping the own state costs nothing."""
    terms, target = library.evaluate(trajectory.variables), trajectory.target
    square = np.maximum((terms**2).sum(axis=0), np.finfo(float).tiny)
    slope = (terms * target[:, None]).sum(axis=0) / square
    error = ((target[:, None] - terms * slope) ** 2).sum(axis=0)
    own = library.own_state
    if own is not None:
        # its free coefficient is left to the search
        error[own] = ((target - terms[:, own]) ** 2).sum()
    term = int(np.argmin(error))
    return (term, KEPT, 1.0) if term == own else (term, FREE, float(slope[term]))
