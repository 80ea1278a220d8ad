"""convert_dataset: turns a table of trials into SPICE's layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from spicestat._files.table_formats import whole_numbers
from spicestat._files.tables import TableSource, check_numeric, read_table, require_columns
from spicestat.errors import ConfigError
from spicestat.spice.dataset import DatasetRNN
from spicestat.spice.sessions import BanditSession
from spicestat.trials.checks import check_roles
from spicestat.trials.labels import code_labels
from spicestat.trials.reading import TrialTable, read_trials

__all__ = ["Dynamics", "convert_dataset"]

_ROW = "row of the file"
_DYNAMICS = ("choice_prob", "action_value", "reward_value", "choice_value")


class Dynamics(NamedTuple):
    """What is known of the agents behind simulated sessions, each of shape (S, T, A), NaN where not given.

    From the columns ``choice_prob_<action>``, ``action_value_<action>``, ``reward_value_<action>`` and
    ``choice_value_<action>``, with actions numbered from 0.
    """

    probs_choice: np.ndarray
    values_action: np.ndarray
    values_reward: np.ndarray
    values_choice: np.ndarray


def convert_dataset(
    file: TableSource,
    device: torch.device | str | None = None,
    sequence_length: int | None = None,
    df_participant_id: str = "session",
    df_block: str = "block",
    df_experiment_id: str = "experiment",
    df_choice: str = "choice",
    df_reward: str = "reward",
    additional_inputs: Sequence[str] | None = None,
) -> tuple[DatasetRNN, list[BanditSession], pd.DataFrame, Dynamics]:
    """Read a CSV file of trials as a `DatasetRNN`, with one session per participant, experiment and block.

    The table is checked and coded by `read_trials`; if you do not need compatibility with SPICE, use that and
    `SequenceDataset.from_trials`.

    Parameters
    ----------
    file : path or DataFrame
        One row per trial; the order of the rows is the order of the trials.
    device : torch device or str, optional
        Where the tensors are put. Default: the CPU.
    sequence_length : int, optional
        Cut the sessions of the dataset (not the other results) into windows; see `DatasetRNN`.
    df_participant_id : str, default "session"
        Column of participant ids, of any type.
    df_block, df_experiment_id : str, default "block" and "experiment"
        Columns of blocks and experiments. Where there is no column of the default name, there is one
        block, or one experiment.
    df_choice : str, default "choice"
        Column of chosen actions, any labels. Missing (also: the number -1 beside two or more other
        labels) is a missed trial.
    df_reward : str, default "reward"
        Column of the chosen action's reward; or, if there are columns ``reward_0``, ``reward_1``, ...,
        the rewards of all actions in the order of their labels. Empty cells are rewards that were not
        shown. The range of all rewards is mapped to 0..1 (if they vary).
    additional_inputs : sequence of str, optional
        Numeric columns that the model receives.

    Returns
    -------
    dataset : DatasetRNN
        ``xs`` (S, T, 2A + I + 3): actions, rewards (NaN where not shown), inputs, block, experiment and
        participant codes; padding is NaN (ids stay). ``ys`` (S, T, A): next choices; the last trial of a
        session has none. Codes are positions in the sorted labels; ``participants``, ``experiments`` and
        ``actions`` are these labels, ``record`` tells what was left out and rescaled.
    sessions : list of BanditSession
        One per session, without padding; their number is the participant code.
    frame : DataFrame
        The table as it was read.
    dynamics : Dynamics
        (probs_choice, values_action, values_reward, values_choice), see `Dynamics`.

    Raises
    ------
    ColumnError
        The table lacks a column, or one that must be numeric is not.
    DataError
        The values cannot be used; the message names the first rows.
    ConfigError
        A setting is out of range.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "session": ["b", "b", "b", "a", "a"], "choice": [1, 2, 1, 2, 1], "reward": [10, None, 0, 5, 10]})
    >>> dataset, sessions, _, _ = convert_dataset(table)
    >>> dataset.xs.shape, dataset.participants, dataset.actions
    (torch.Size([2, 3, 7]), ('a', 'b'), (1, 2))
    >>> sessions[1].choices.tolist(), sessions[1].rewards[:, 0].tolist()
    ([0, 1, 0], [1.0, nan, 0.0])
    """
    names = [df_participant_id, df_choice, df_block, df_experiment_id]
    frame = read_table(file, ids=names[:1], labels=names[1:])
    frame = frame.assign(**{name: whole_numbers(frame[name]) for name in names if list(frame).count(name) == 1})
    table = frame.reset_index(drop=True)
    table.columns = table.columns.map(str)
    if _ROW in table.columns:
        raise ConfigError(f"a column cannot be called '{_ROW}'", do="rename it")
    inputs = [] if additional_inputs is None else list(additional_inputs)
    if isinstance(additional_inputs, str):
        raise ConfigError("additional_inputs is a list of columns", got=repr(additional_inputs))
    require_columns(table, inputs, "additional_inputs: the table")
    trials = _read(table, df_participant_id, df_block, df_experiment_id, df_choice, df_reward)
    values = {name: check_numeric(table, name, "input").to_numpy()[trials.rows] for name in inputs}
    xs, ys = _features(trials, values, _block_codes(trials))
    dataset = DatasetRNN(xs, ys, sequence_length=sequence_length, device=device)
    dataset.participants, dataset.experiments, dataset.actions = trials.participants, trials.experiments, trials.actions
    dataset.record = {
        **trials.record,
        "n_missing_inputs": {name: int(np.isnan(column).sum()) for name, column in values.items()},
        "columns": trials.record["columns"] | {"trial": None, "inputs": inputs},
    }
    return dataset, _sessions(trials), frame, _dynamics(table, trials)


def _read(table: pd.DataFrame, participant: str, block: str, experiment: str, choice: str, reward: str) -> TrialTable:
    check_roles(table, {"participant": [participant], "choice": [choice]})
    table = table.copy()
    table[_ROW] = np.arange(len(table))
    table[choice] = _with_missing(table[choice])
    rewards = _reward_columns(table, reward)
    present = table[rewards].apply(pd.to_numeric, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    scaling: Literal["minmax"] | None = "minmax" if len(np.unique(present[np.isfinite(present)])) > 1 else None
    return read_trials(
        table,
        participant=participant,
        choice=choice,
        reward=rewards[0] if rewards == [reward] else rewards,
        block=_optional(table, block, "block"),
        experiment=_optional(table, experiment, "experiment"),
        trial=_ROW,
        covariates=(),
        actions=_actions(table, choice, len(rewards)) if rewards != [reward] else None,
        reward_scaling=scaling,
    )


def _optional(table: pd.DataFrame, column: str | None, default: str) -> str | None:
    """Return a column's name, or None where the default one is not there."""
    return None if column is None or (column == default and default not in table.columns) else column


def _with_missing(choice: pd.Series[Any]) -> pd.Series[Any]:
    """Make -1, SPICE's sign of a missed trial, a missing value where it cannot be one of two actions."""
    labels = code_labels(choice, "choice")[1]
    return choice.mask(choice == -1) if -1 in labels and len(labels) > 2 else choice


def _reward_columns(table: pd.DataFrame, reward: str) -> list[str]:
    """Name the reward columns: ``reward_0``, ``reward_1``, ... if there are such, else the one."""
    names: list[str] = []
    while f"{reward}_{len(names)}" in table.columns:
        names.append(f"{reward}_{len(names)}")
    if not names:
        require_columns(table, [reward], "reward: the table")
    return names or [reward]


def _actions(table: pd.DataFrame, choice: str, n_actions: int) -> list[int] | None:
    """Return the numbers of all actions that have rewards, where some of them were never chosen."""
    labels = code_labels(table[choice], "choice")[1]
    numbers = [label for label in labels if isinstance(label, int)]
    if not 0 < len(numbers) == len(labels) < n_actions:
        return None
    return [min(numbers) + code for code in range(n_actions)]


def _block_codes(trials: TrialTable) -> np.ndarray:
    """Code of each block's label among the labels of all blocks, so that blocks have one code in all people."""
    return np.asarray(code_labels(trials.blocks["label"], "block")[0])


def _scatter(trials: TrialTable, values: np.ndarray) -> np.ndarray:
    """Lay values (N, K) per trial out as (S, T, K), NaN on padding."""
    block, step = trials.frame["block"].to_numpy(), trials.frame["trial"].to_numpy()
    laid_out = np.full((len(trials.blocks), int(step.max()) + 1, values.shape[1]), np.nan)
    laid_out[block, step] = values
    return laid_out


def _rewards(trials: TrialTable) -> np.ndarray:
    return trials.frame[[f"reward_{action}" for action in range(trials.n_actions)]].to_numpy()


def _features(
    trials: TrialTable, inputs: dict[str, np.ndarray], block_code: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    choice = trials.frame["choice"].to_numpy()
    one_hot = (choice[:, None] == np.arange(trials.n_actions)).astype("float64")
    inputs_given = np.column_stack([np.empty((len(choice), 0)), *inputs.values()])
    steps = _scatter(trials, np.hstack([one_hot, _rewards(trials), inputs_given]))
    codes = np.column_stack([block_code, trials.blocks["experiment"], trials.blocks["participant"]])
    ids = np.broadcast_to(codes[:, None, :], (*steps.shape[:2], 3))
    following = np.full((*steps.shape[:2], trials.n_actions), np.nan)
    following[:, :-1] = steps[:, 1:, : trials.n_actions]
    following[~(following > 0).any(axis=-1)] = np.nan
    return np.concatenate([steps, ids], axis=-1), following


def _sessions(trials: TrialTable) -> list[BanditSession]:
    choice, rewards = trials.frame["choice"].to_numpy(), _rewards(trials)
    participant = trials.frame["participant"].to_numpy()
    ends = np.cumsum(trials.blocks["n_trials"])[:-1]
    parts = zip(*(np.split(values, ends) for values in (choice, rewards, participant)), strict=True)
    return [BanditSession(chosen, paid, person, len(chosen)) for chosen, paid, person in parts]


def _dynamics(table: pd.DataFrame, trials: TrialTable) -> Dynamics:
    def read(prefix: str) -> np.ndarray:
        columns = [f"{prefix}_{action}" for action in range(trials.n_actions)]
        if columns[0] not in table.columns:
            return _scatter(trials, np.full((len(trials.frame), trials.n_actions), np.nan))
        require_columns(table, columns, "the table")
        numbers = [check_numeric(table, name, "dynamics").to_numpy()[trials.rows] for name in columns]
        return _scatter(trials, np.column_stack(numbers))

    return Dynamics(*(read(prefix) for prefix in _DYNAMICS))
