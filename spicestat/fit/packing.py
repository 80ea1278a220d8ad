"""From coded trials to the arrays of pooled weights, and back: blocks, what was shown, and options as places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from spicestat.pooled.packed import Sessions, Shown, pack_sessions
from spicestat.pooled.states import state_rows
from spicestat.tasks.task import Task
from spicestat.tasks.task_trials import TaskTrials, task_trials
from spicestat.trials.labels import label_key
from spicestat.trials.roles import losses_of
from spicestat.trials.table import TrialTable

__all__ = ["frame_rows", "in_actions", "pack_table", "pack_task", "predicted_rows"]


def pack_table(table: TrialTable, reward_size: float | None = None) -> Sessions:
    """Pack a table's blocks, in the order of its ``blocks``; ``reward_size`` as in `pack_sessions`.

    Where choices are items on offer, the actions of the arrays are the places on the screen.
    """
    frame, n_blocks = table.frame, len(table.blocks)
    where = frame["block"].to_numpy(), frame["trial"].to_numpy()
    shape = (n_blocks, int(table.blocks["n_trials"].max()))
    choices, rewards = _at_places(table)
    n_actions = rewards.shape[1]
    choice = np.full(shape, -1)
    reward = np.full((*shape, n_actions), np.nan)
    choice[where], reward[where] = choices, rewards

    def laid_out(values: np.ndarray) -> np.ndarray:
        filler = np.zeros((*shape, *values.shape[1:]), dtype=values.dtype)
        filler[where] = values
        return filler

    shown = _shown(table, choices, n_actions).map(laid_out)
    return pack_sessions(choice, reward, table.blocks["participant"].to_numpy(), n_actions, reward_size, shown)


def pack_task(table: TrialTable, task: Task) -> tuple[Sessions, TaskTrials]:
    """Pack a table's blocks for the model of a task, with rewards as they stand.

    Raises
    ------
    ConfigError, DataError
        The trials lack a role that the model reads, have one for which it has no use, or are not what it is for.
    """
    columns = table.record["columns"]
    task.check_roles(columns, table.record.get("feedback"))
    data = pack_table(table, 1.0)
    if columns.get("rt") is None:
        trials = task_trials(data, table.actions)
    else:
        session = np.broadcast_to(np.arange(data.choice.shape[1]), data.choice.shape)
        rt = table.times[frame_rows(table, session, np.maximum(data.trial, 0))]
        trials = task_trials(data, table.actions, rt)
    if task.check is not None:
        task.check(trials)
    return data, trials


def _at_places(table: TrialTable) -> tuple[np.ndarray, np.ndarray]:
    """Choices (n,) and rewards (n, A) of actions, or of places where choices are items."""
    choice = table.frame["choice"].to_numpy()
    rewards = table.frame[[f"reward_{action}" for action in range(table.n_actions)]].to_numpy()
    offered = table.offered_actions
    if offered is None:
        return choice, rewards
    place = (offered == choice[:, None]).argmax(axis=1)
    return np.where(choice >= 0, place, -1), table.of_options(rewards)


def in_actions(table: TrialTable, row: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (R, A) of the table's actions, of those (R, places) of the arrays; ``row`` is that of the frame."""
    offered = table.offered_actions
    if offered is None:
        return probabilities
    found = np.zeros((len(row), table.n_actions))
    at, place = np.nonzero(offered[row] >= 0)
    found[at, offered[row][at, place]] = probabilities[at, place]
    return found


def predicted_rows(table: TrialTable) -> np.ndarray:
    """Tell which trials of the frame have a choice that is predicted."""
    rows = state_rows(pack_table(table), ())
    found = np.zeros(len(table.frame), dtype=bool)
    found[frame_rows(table, rows.session, rows.trial)] = True
    return found


def _shown(table: TrialTable, choice: np.ndarray, n_actions: int) -> Shown:
    """Everything that was shown, (n, ...)."""
    columns, shown = table.record["columns"], table.shown
    context = _context(shown, columns.get("context") or ())
    losses = losses_of(shown, columns)
    loss = None
    if losses is not None:
        loss = np.where(np.arange(n_actions) == choice[:, None], losses[:, None], np.nan)
    forced, state, second = (columns.get(role) for role in ("forced", "state2", "choice2"))
    return Shown(
        stimulus=_stimuli(shown, columns.get("stimulus") or ()),
        item=_items(shown, columns.get("options") or ()),
        attributes={
            name: np.nan_to_num(shown[list(own)].to_numpy(dtype="float64"))
            for name, own in (columns.get("attributes") or {}).items()
        },
        context=context,
        free=None if forced is None else ~shown[forced].to_numpy(dtype=bool),
        loss=loss,
        state=None if state is None else _codes(shown[state]).astype(np.int64),
        second=None if second is None else _codes(shown[second]).astype(np.int64),
    )


def _codes(column: pd.Series[Any]) -> np.ndarray:
    keys = [None if pd.isna(label) else label_key(label) for label in column.tolist()]
    return pd.factorize(np.array(keys, dtype=object))[0]


def _stimuli(shown: pd.DataFrame, columns: tuple[str, ...] | list[str]) -> np.ndarray | None:
    """Codes of stimuli, of each combination of several columns; a missed trial without one has that of the first."""
    if not columns:
        return None
    each = np.column_stack([_codes(shown[name]) for name in columns])
    return np.maximum(np.unique(each, axis=0, return_inverse=True)[1].ravel(), 0).astype(np.int64)


def _items(shown: pd.DataFrame, columns: tuple[str, ...] | list[str]) -> np.ndarray | None:
    if not columns:
        return None
    stacked = pd.concat([shown[name] for name in columns], ignore_index=True)
    return np.ascontiguousarray(_codes(stacked).reshape(len(columns), -1).T).astype(np.int64)


def _context(shown: pd.DataFrame, columns: tuple[str, ...] | list[str]) -> Mapping[str, np.ndarray]:
    """Numbers of contexts; of labels, 0 and 1 of each level."""
    found: dict[str, np.ndarray] = {}
    for name in columns:
        column = shown[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            found[name] = np.nan_to_num(column.to_numpy(dtype="float64"))
            continue
        keys = np.array(["" if pd.isna(label) else label_key(label) for label in column.tolist()])
        levels = sorted(set(keys.tolist()) - {""})
        found |= {f"{name}={level}": (keys == level).astype("float64") for level in levels}
    return found


def frame_rows(table: TrialTable, session: np.ndarray, trial: np.ndarray) -> np.ndarray:
    """Position in the table's frame, which has a block's trials next to each other, of trials of packed sessions."""
    lengths = table.blocks["n_trials"].to_numpy()
    return np.asarray((np.cumsum(lengths) - lengths)[session] + trial)
