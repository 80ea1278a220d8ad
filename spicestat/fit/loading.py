"""load_fit: fits of every kind from their folders, without executing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from spicestat._files.sealed import read_sealed
from spicestat.coefficients import CoefficientTable
from spicestat.equations.structure.equation_set import BETA
from spicestat.errors import StorageError
from spicestat.fit.history import HistoryFit
from spicestat.fit.history_files import MANIFEST as HISTORY_MANIFEST
from spicestat.fit.history_files import unpack_network, unpack_pooled
from spicestat.fit.network_fit import SpiceFit, pooled_coefficients
from spicestat.fit.storage import unpack_model, unpack_tables
from spicestat.fit.task_files import MANIFEST as TASK_MANIFEST
from spicestat.fit.task_files import unpack_estimates
from spicestat.fit.task_fit import TaskFit
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.trials.reading import TrialTable
from spicestat.trials.sequences import SequenceDataset

__all__ = ["load_fit"]


def load_fit(
    folder: str | Path, rnn_class: type[BaseRNN] | None = None, spice_config: SpiceConfig | None = None
) -> SpiceFit | HistoryFit | TaskFit:
    """Read a fit that `SpiceFit.save`, `HistoryFit.save`, `TaskFit.save` or ``spicestat fit`` wrote.

    Nothing in it is executed.

    Parameters
    ----------
    folder : path
        Fit folder.
    rnn_class, spice_config : optional
        Needed for a custom model.

    Returns
    -------
    SpiceFit, HistoryFit or TaskFit
        Of the kind that was saved.

    Raises
    ------
    StorageError
        The folder does not hold a fit, or is damaged.
    """
    files = read_sealed(folder, "fit")
    if HISTORY_MANIFEST in files:
        return _load_history(files, folder)
    if TASK_MANIFEST in files:
        return _load_task(files, folder)
    model, extra = unpack_model(files, rnn_class, spice_config)
    (table, coefficients), scores = unpack_tables(files), extra.get("scores")
    if not isinstance(scores, dict):
        raise StorageError(f"'{folder}' lacks scores in its manifest", do="save the fit again")
    equations = model.equations
    _check_same("equations", table, coefficients, equations.n_participants, equations.terms, folder)
    inclusion = coefficients.frame["inclusion_prob"].to_numpy(dtype="float64").reshape(equations.status.shape)
    model = replace(model, inclusion=inclusion)
    # fits of earlier versions were not pooled, or do not say how well
    if "log_marginal" not in coefficients.info.get("population", {}):
        data = SequenceDataset.from_trials(table)
        coefficients = pooled_coefficients(table, data, model, coefficients.info)
    return SpiceFit(table, model, coefficients, pd.DataFrame(scores))


def _load_history(files: Mapping[str, bytes], folder: str | Path) -> HistoryFit:
    pooled, scores = unpack_pooled(files)
    table, coefficients = unpack_tables(files)
    terms = tuple((BETA, name) for name in pooled.names)
    _check_same("weights", table, coefficients, len(pooled.n_choices), terms, folder)
    fit = HistoryFit(table, pooled, coefficients, pd.DataFrame(scores))
    network = unpack_network(files)
    if network is None:
        return fit
    if network.n_people != table.n_participants:
        raise StorageError(f"trials and network in '{folder}' have different participants", do="save the fit again")
    return fit.with_network(network)


def _load_task(files: Mapping[str, bytes], folder: str | Path) -> TaskFit:
    task, estimates, scores = unpack_estimates(files)
    table, coefficients = unpack_tables(files)
    terms = tuple((task.name, one.name) for one in task.parameters)
    _check_same("estimates", table, coefficients, len(estimates.own), terms, folder)
    return TaskFit(table, task, estimates, coefficients, pd.DataFrame(scores))


def _check_same(
    what: str,
    table: TrialTable,
    coefficients: CoefficientTable,
    n_participants: int,
    terms: tuple[tuple[str, str], ...],
    folder: str | Path,
) -> None:
    """Raise `StorageError` where the files of a fit are of different participants or terms."""
    same_people = n_participants == table.n_participants and coefficients.participants == table.participants
    if not (same_people and coefficients.terms == terms):
        raise StorageError(
            f"trials, {what} and coefficients in '{folder}' have different participants or terms",
            do="save the fit again",
        )
