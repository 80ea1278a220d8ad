"""Discovery: from a trained RNN to equations, and from the equations to estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spicestat.dataset import SequenceDataset
from spicestat.equations.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.equations.library import ModuleLibrary
from spicestat.equations.refit import RefitResult
from spicestat.equations.selection import Criterion, check_criterion, select_structure
from spicestat.equations.sparse import SparseFit, group_threshold, independent_terms, polynomial_library, stlsq
from spicestat.equations.trajectories import Trajectory, record_trajectories
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.settings import real_number, whole_number
from spicestat.training.loop import Progress, one_thread

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
        Of sequentially thresholded ridge regression on the RNN's trajectories, 0 or more.
    structure : {"population", "participant"}
        One structure for everybody, so that magnitudes can be compared, or one per participant.
    criterion : {"aic", "bic"}
        What a term must gain in likelihood to stay; see `required_gain`.
    significance : float
        Level of the accompanying likelihood-ratio test.
    """

    degree: int = 1
    threshold: float = 0.03
    alpha: float = 0.1
    structure: Structure = "population"
    criterion: Criterion = "aic"
    significance: float = 0.001

    def __post_init__(self) -> None:
        if self.structure not in ("population", "participant"):
            raise ConfigError("unknown structure", got=self.structure, allowed="'population' or 'participant'")
        whole_number("degree", self.degree, 1)
        real_number("threshold", self.threshold, 0.0)
        real_number("alpha", self.alpha, 0.0)
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
    """

    sparse: EquationSet
    refit: RefitResult


def discover(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    progress: Progress | None = None,
) -> Discovery:
    """Turn a trained RNN into equations and estimate them on the choices.

    The RNN proposes the candidate terms and starting values; the likelihood of the choices decides
    which of them stay, and gives the estimates.

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
    """
    trajectories = record_trajectories(model, data, config)
    sparse = sparse_equations(model, data, config, settings, trajectories)
    start = _simple_start(sparse, trajectories)
    allowed = (sparse.status != EXCLUDED).any(axis=0) | (start.status != EXCLUDED).any(axis=0)
    result = select_structure(
        model,
        data,
        start,
        allowed,
        shared=settings.structure == "population",
        criterion=settings.criterion,
        significance=settings.significance,
        progress=progress,
    )
    return Discovery(sparse, result)


def sparse_equations(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    trajectories: Mapping[str, Trajectory],
) -> EquationSet:
    """Sparse regression of every module's trajectory on its candidate terms."""
    search = group_threshold if settings.structure == "population" else stlsq
    libraries = tuple(
        polynomial_library(module, config.signals(module), settings.degree) for module in config.rnn_modules
    )
    fits: list[SparseFit] = []
    for library in libraries:
        trajectory = trajectories[library.module]
        candidates = independent_terms(trajectory, library)
        fits.append(
            search(
                trajectory,
                library,
                data.n_participants,
                settings.threshold,
                settings.alpha,
                candidates=candidates,
            )
        )
    betas = _rnn_betas(model, data)
    selected = np.concatenate([fit.selected for fit in fits] + [np.ones_like(betas, dtype=bool)], axis=1)
    coefficients = np.concatenate([np.nan_to_num(fit.coefficients) for fit in fits] + [betas], axis=1)
    status = np.where(selected, FREE, EXCLUDED).astype("int8")
    return EquationSet(libraries, tuple(model.betas), coefficients, status)


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
    return np.clip(betas, -limit, limit) if limit < _LARGEST_START else betas


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
