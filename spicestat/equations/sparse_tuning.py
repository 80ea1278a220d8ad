"""Tuning of the sparse regression's threshold and ridge penalty with Optuna, by the likelihood of the choices."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib
import numpy as np
import torch

from spicestat._checks import real_number, seed_number, whole_number
from spicestat._runtime.progress import Progress
from spicestat._runtime.threads import one_thread
from spicestat.equations.discover import SparseSettings, sparse_equations
from spicestat.equations.estimate.forward import equation_nll
from spicestat.equations.optuna_studies import Study, open_storage, quiet_optuna
from spicestat.equations.sparse import OPTIMIZERS
from spicestat.equations.structure.equation_set import FREE, EquationSet
from spicestat.equations.trajectories import Trajectory, record_trajectories
from spicestat.errors import ConfigError, NumericalError
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.trials.sequences import SequenceDataset

__all__ = ["TunedSparse", "description_length", "tune_sparse"]

_RANGES = {"threshold": (0.005, 0.5), "alpha": (0.001, 1.0)}
"""Where to search, on a log scale; the given settings widen it."""


Known = dict[bytes, float]
"""Description lengths of equations, by their coefficients and status."""


@dataclass(frozen=True, eq=False)
class TunedSparse:
    """The best settings of the sparse regression.

    Attributes
    ----------
    settings : dict of int to SparseSettings
        By participant code, for participants with choices; the same for all with
        ``structure="population"``.
    values : dict of int to float
        What they reach: `description_length` of the participant, or of everybody, in nats per choice.
    n_trials : dict of int to int
        Finished trials of the study, earlier calls with the same storage included.
    equations : EquationSet
        Sparse equations under these settings.
    """

    settings: dict[int, SparseSettings]
    values: dict[int, float]
    n_trials: dict[int, int]
    equations: EquationSet


def description_length(model: BaseRNN, data: SequenceDataset, equations: EquationSet) -> float:
    r"""Bayesian information criterion of the choices under equations, in nats per choice.

    :math:`\frac{1}{n}\left(-\log L + \frac{1}{2} \sum_i k_i \log n_i\right)`, where participant i made
    :math:`n_i` of the n choices and has :math:`k_i` free coefficients that are not 0. Schwarz (1978),
    doi:10.1214/aos/1176344136.

    Parameters
    ----------
    model : BaseRNN
        Gives the forward pass.
    data : SequenceDataset
        Choices of P participants.
    equations : EquationSet
        Equations of the same participants.
    """
    counts = data.trials_per_participant.cpu().numpy()
    used = ((equations.status == FREE) & (equations.coefficients != 0)).sum(axis=1)
    price = 0.5 * float(np.sum(used * np.log(np.maximum(counts, 1))))
    return equation_nll(model, data, equations) + price / float(counts.sum())


def tune_sparse(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    n_trials: int = 50,
    *,
    trajectories: Mapping[str, Trajectory] | None = None,
    stop_at: float | None = None,
    seed: int = 0,
    storage: str | Path | None = None,
    study_name: str = "spicestat",
    n_jobs: int = 1,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> TunedSparse:
    """Find the threshold and the ridge penalty whose sparse equations describe the choices best.

    One study per participant, or a single one with ``structure="population"``, by Optuna's TPE sampler
    (Akiba et al. 2019, doi:10.1145/3292500.3330701). The first trial are the given settings, so that the
    result is never worse than these. Trials are drawn eight at a time, with a seed of their own each:
    results do not depend on ``n_jobs``, and a study that is continued from its storage after a multiple
    of eight trials ends as if it had not stopped.

    Parameters
    ----------
    model : BaseRNN
        A trained model.
    data : SequenceDataset
        Choices that judge the equations.
    config : SpiceConfig
        Modules and signals.
    settings : SparseSettings
        Degree, structure, and where the search starts.
    n_trials : int
        Trials per study in all, those in the storage included, 1 or more.
    trajectories : mapping of str to Trajectory, optional
        What the equations are regressed on; default: the model's own on ``data``.
    stop_at : float, optional
        A study ends when its best value reaches this many nats per choice; default: never.
    seed : int
        Seed of Optuna's sampler.
    storage : str or Path, optional
        A file (Optuna's journal) or a database address such as ``sqlite:///tuning.db`` that keeps the
        trials; a later call with the same data goes on from there. Default: nothing is kept.
    study_name : str
        Name in the storage; a participant's study is called ``<study_name>-<code>``.
    n_jobs : int
        Trials or participants that joblib evaluates at the same time; -1 means all cores.
    timeout : float, optional
        Seconds after which no further trials start; with it, results depend on the machine.
    progress : callable, optional
        Called with ("tuning", done, trials, message).

    Returns
    -------
    TunedSparse

    Raises
    ------
    ConfigError
        A setting is out of range, the optimizer is not known by name, or the storage holds a study of other
        data or settings.
    NumericalError
        No setting gives equations with a finite likelihood.
    StorageError
        The storage cannot be used.
    """
    if not isinstance(settings.optimizer, str):
        raise ConfigError("an optimizer object has settings of its own", got=settings.optimizer, allowed=OPTIMIZERS)
    whole_number("n_trials", n_trials, 1)
    seed_number(seed)
    if n_jobs != -1:
        whole_number("n_jobs", n_jobs, 1)
    seconds = math.inf if timeout is None else real_number("timeout", timeout, 0.0)
    recorded = record_trajectories(model, data, config) if trajectories is None else trajectories
    base = sparse_equations(model, data, config, settings, recorded)
    start = {"threshold": settings.threshold, "alpha": settings.alpha}
    with one_thread(), quiet_optuna(), open_storage(storage) as opened:
        searches = [
            _Search(Study(study_name + task.suffix, start, _RANGES, seed, opened, task.fingerprint()), task)
            for task in _tasks(model, data, config, settings, recorded, base)
        ]
        deadline = time.monotonic() + seconds
        while _round(searches, n_trials, stop_at, n_jobs, progress) and time.monotonic() < deadline:
            pass
        return _collected(searches, base)


@dataclass(frozen=True, eq=False)
class _Task:
    """What one study is about: some participants' choices and trajectories, and their inverse temperatures."""

    model: BaseRNN
    data: SequenceDataset
    config: SpiceConfig
    settings: SparseSettings
    trajectories: Mapping[str, Trajectory]
    betas: np.ndarray
    codes: tuple[int, ...]
    suffix: str

    def at(self, params: Mapping[str, float]) -> SparseSettings:
        return replace(self.settings, threshold=params["threshold"], alpha=params["alpha"])

    def equations(self, params: Mapping[str, float]) -> EquationSet:
        found = sparse_equations(self.model, self.data, self.config, self.at(params), self.trajectories)
        coefficients = found.coefficients.copy()
        # inside a task a lone participant has code 0, so the network's constants would be another one's
        coefficients[:, coefficients.shape[1] - self.betas.shape[1] :] = self.betas
        return replace(found, coefficients=coefficients)

    def evaluate(self, points: Sequence[Mapping[str, float]], known: Known) -> tuple[list[float], Known]:
        """Return the description lengths, infinite where they are no number, and all that are known by now."""
        known, values = dict(known), []
        for params in points:
            equations = self.equations(params)
            # most settings lead to one of a few structures
            key = equations.coefficients.tobytes() + equations.status.tobytes()
            if key not in known:
                length = description_length(self.model, self.data, equations)
                known[key] = length if math.isfinite(length) else math.inf
            values.append(known[key])
        return values, known

    def fingerprint(self) -> str:
        """Hash everything that the values depend on."""
        hashed = hashlib.sha256(repr((self.config, self.settings, self.codes)).encode())
        for tensor in (self.data.xs, self.data.targets, self.data.mask, self.data.times):
            hashed.update(tensor.cpu().contiguous().numpy().tobytes())
        for module in sorted(self.trajectories):
            hashed.update(self.trajectories[module].variables.tobytes() + self.trajectories[module].target.tobytes())
        hashed.update(self.betas.tobytes())
        return hashed.hexdigest()


@dataclass
class _Search:
    """A task with its study, and what was computed for it."""

    study: Study
    task: _Task
    known: Known = field(default_factory=dict)


def _tasks(
    model: BaseRNN,
    data: SequenceDataset,
    config: SpiceConfig,
    settings: SparseSettings,
    trajectories: Mapping[str, Trajectory],
    base: EquationSet,
) -> list[_Task]:
    present = np.flatnonzero(data.trials_per_participant.cpu().numpy()).tolist()
    betas = base.coefficients[:, len(base.terms) - len(base.states) :]
    if settings.structure == "population":
        return [_Task(model, data, config, settings, trajectories, betas, tuple(present), "")]
    # networks that stay look their participant up; without any, one participant with code 0 will do, so that
    # the regression does not carry everybody else along
    alone = set(model.submodules_rnn) <= set(config.rnn_modules)
    tasks = []
    for code in present:
        own = data.select(torch.nonzero(data.participant == code).squeeze(1))
        rows = {name: _own_rows(trajectory, code, 0 if alone else code) for name, trajectory in trajectories.items()}
        if alone:
            own = replace(own, participant=torch.zeros_like(own.participant), n_participants=1)
        own_betas = betas[code : code + 1] if alone else betas
        tasks.append(_Task(model, own, config, settings, rows, own_betas, (code,), f"-{code}"))
    return tasks


def _own_rows(trajectory: Trajectory, code: int, new_code: int) -> Trajectory:
    rows = trajectory.participant == code
    return Trajectory(trajectory.variables[rows], trajectory.target[rows], np.full(int(rows.sum()), new_code))


def _round(
    searches: Sequence[_Search], n_trials: int, stop_at: float | None, n_jobs: int, progress: Progress | None
) -> bool:
    """Draw a batch for every open study, evaluate all of them, tell the studies; False when none was open."""
    open_ones = [search for search in searches if stop_at is None or search.study.best_value > stop_at]
    batches = [(search, asked) for search in open_ones if (asked := search.study.ask(n_trials))]
    if not batches:
        return False
    # a task's trials share what they compute, so they are parted only where a single study is to use all cores
    parted = len(batches) == 1 and n_jobs != 1
    pieces = [
        (search, piece) for search, asked in batches for piece in ([[trial] for trial in asked] if parted else [asked])
    ]
    results = joblib.Parallel(n_jobs)(
        joblib.delayed(search.task.evaluate)([trial.params for trial in piece], search.known)
        for search, piece in pieces
    )
    for (search, piece), (values, known) in zip(pieces, results, strict=True):
        search.study.tell(piece, values)
        search.known.update(known)
    if progress is not None:
        done = sum(search.study.n_finished for search in searches)
        mean = float(np.mean([search.study.best_value for search in searches]))
        progress("tuning", done, n_trials * len(searches), f"{mean:.4f} nats per choice")
    return True


def _collected(searches: Sequence[_Search], base: EquationSet) -> TunedSparse:
    settings: dict[int, SparseSettings] = {}
    values: dict[int, float] = {}
    n_trials: dict[int, int] = {}
    coefficients, status = base.coefficients.copy(), base.status.copy()
    for search in searches:
        study, task = search.study, search.task
        if not math.isfinite(study.best_value):
            raise NumericalError("no setting gives equations with a finite likelihood", got=f"study '{study.name}'")
        found, codes = task.equations(study.best_params), list(task.codes)
        rows = codes if found.n_participants == base.n_participants else [0]
        coefficients[codes], status[codes] = found.coefficients[rows], found.status[rows]
        for code in codes:
            settings[code] = task.at(study.best_params)
            values[code], n_trials[code] = study.best_value, study.n_finished
    return TunedSparse(settings, values, n_trials, replace(base, coefficients=coefficients, status=status))
