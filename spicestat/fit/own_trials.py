"""People of a fit whose task showed something make the choices of their own trials again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from spicestat.fit.history import HistoryFit
from spicestat.fit.packing import frame_rows, pack_table
from spicestat.pooled.replay import alternatives, matched, placed, replay_states
from spicestat.trials.labels import labels_to_series
from spicestat.trials.table import TrialTable

__all__ = ["play_again"]

_COPIED = ("gain", "loss", "state2", "choice2")
"""Outcomes of one column each."""

_PLAIN = ("participant", "block", "trial", "choice", "reward")


def play_again(
    fit: HistoryFit, blocks: np.ndarray, weights: np.ndarray, rng: np.random.Generator, n_trials: int | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Let blocks of a fit's trials be played again; see `replay_states` for what choices bring.

    Parameters
    ----------
    fit : HistoryFit
    blocks : int ndarray of shape (S,)
        Codes of blocks, each as often as it is to be played.
    weights : ndarray of shape (S, K)
        In logits per unit of the state.
    rng : numpy Generator
    n_trials : int, optional
        Only so many of each block.

    Returns
    -------
    DataFrame
        Trials with the columns of the fit's own, where ``participant``, ``block``, ``trial``, ``choice`` and
        ``reward`` have these names; trials on which nobody had chosen are left out.
    ndarray of int
        For each of these, which of the S blocks it is of.
    """
    table = fit.trials
    data = pack_table(table, fit.pooled.reward_size)
    played = replay_states(fit.pooled.states, weights, data, blocks, rng, n_trials)
    session, time = np.nonzero(played.choice.T >= 0)
    own = time, blocks[session]
    source = played.source_trial[time, session], played.source_session[time, session]
    row, source_row = (frame_rows(table, block, data.trial[at, block]) for at, block in (own, source))
    things, choice = alternatives(data), played.choice[time, session]
    place = matched(things[own], things[source])
    columns, observed = table.record["columns"], table.to_frame()
    trials = observed.iloc[row].reset_index(drop=True)
    got = observed.iloc[source_row].reset_index(drop=True)
    trials[columns["choice"]] = _labels(table, row, choice)
    copied = [columns.get(role) for role in _COPIED] + [columns["reward"]]
    for name in copied:
        if isinstance(name, str):
            trials[name] = got[name]
    if columns["reward"] is not None and not isinstance(columns["reward"], str):
        names = list(columns["reward"])
        trials[names] = placed(got[names].to_numpy(dtype="float64"), place)
    if columns.get("foregone"):
        trials[columns["foregone"]] = _foregone(got[columns["foregone"]], place)
    plain = {columns[role]: role for role in _PLAIN if isinstance(columns.get(role), str)}
    # a block may be an occasion, too
    kept = [name for name in plain if name in table.shown or name in (columns.get("occasion") or ())]
    return trials.rename(columns=plain).assign(**{name: trials[name] for name in kept}), session


def _labels(table: TrialTable, row: np.ndarray, choice: np.ndarray) -> pd.Series[Any]:
    """Labels of what was taken, of its place."""
    offered = table.offered_actions
    return labels_to_series(table.actions, choice if offered is None else offered[row, choice])


def _foregone(values: pd.Series[Any], place: np.ndarray) -> np.ndarray:
    """Outcomes of what was not taken, where the same was not taken there."""
    return np.where((place >= 0).sum(axis=1) == 2, values, np.nan)
