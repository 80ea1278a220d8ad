"""spice_update: re-estimates a fit's coefficients on other trials, without retraining the network."""

from __future__ import annotations

from typing import Unpack, overload

from spicestat._files.tables import TableSource
from spicestat._runtime.blas import on_one_blas_thread
from spicestat.fit.history import HistoryFit, history_on
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit, task_on
from spicestat.fit.transfer import estimated_on, known_codes, read_like
from spicestat.trials.reading import ReadSettings, TrialTable
from spicestat.trials.sequences import SequenceDataset

__all__ = ["spice_update"]


@overload
def spice_update(fit: SpiceFit, trials: TableSource | TrialTable, **columns: Unpack[ReadSettings]) -> SpiceFit: ...


@overload
def spice_update(fit: HistoryFit, trials: TableSource | TrialTable, **columns: Unpack[ReadSettings]) -> HistoryFit: ...


@overload
def spice_update(fit: TaskFit, trials: TableSource | TrialTable, **columns: Unpack[ReadSettings]) -> TaskFit: ...


@on_one_blas_thread
def spice_update(
    fit: SpiceFit | HistoryFit | TaskFit, trials: TableSource | TrialTable, **columns: Unpack[ReadSettings]
) -> SpiceFit | HistoryFit | TaskFit:
    """Re-estimate the coefficients of a fit's equations on other trials: new participants, sessions or both.

    The structure stays as it was found, so that the new coefficients mean the same as the old ones, and their
    standard errors owe nothing to a search. Participants who are new to the fit get its most frequent structure (with
    ``structure="population"``, everybody's). Of a `HistoryFit` or `TaskFit` the population stays, too: pooled
    weights or parameters are what the new trials say together with it, even of a single new person.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
    trials : DataFrame, path or TrialTable
        All the trials to estimate from, with the columns of the fit's own; earlier trials do not count
        unless they are among these.
    **columns
        Settings of `read_trials` that differ from those of the fit, such as ``participant="id"`` or ``people=...``.

    Returns
    -------
    SpiceFit, HistoryFit or TaskFit
        As ``fit``. ``scores`` are on the new trials; of a SpiceFit, the row "equations" is that of the earlier
        estimates (typical ones for new participants), so that it is out of sample.

    Raises
    ------
    InputError
        The trials cannot be used, or have other actions.

    Warns
    -----
    ConvergenceWarning
        Some participants have no identified estimate.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> first, second = simulate_cohort(4, 240, seed=1), simulate_cohort(6, 240, seed=2)
    >>> fit = spice_fit(first.trials, block="block", model="rescorla_wagner", epochs=20)
    >>> spice_update(fit, second.trials).trials.n_participants
    6
    """
    table = read_like(fit, trials, **columns)
    if not isinstance(fit, SpiceFit):
        n_new = int((known_codes(fit, table.participants, unseen="population") < 0).sum())
        return history_on(fit, table, n_new) if isinstance(fit, HistoryFit) else task_on(fit, table, n_new)
    codes = known_codes(fit, table.participants, unseen="typical")
    return estimated_on(
        table,
        SequenceDataset.from_trials(table),
        fit.model.with_participants(codes),
        name=fit.coefficients.info["model"],
        where="these trials",
        population=fit.population,
        updated={"n_new": int((codes < 0).sum()), "n_known": int((codes >= 0).sum())},
    )
