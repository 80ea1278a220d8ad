"""Checks of a trial table before coding: columns and roles, order of trials, usable participants."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.missing_values import MissingValues, remedy
from spicestat._files.tables import check_numeric, first_rows, require_columns
from spicestat.errors import ColumnError, ConfigError, DataError, SuspiciousDataWarning, warn_user
from spicestat.trials.export_shapes import refuse_gains_and_losses
from spicestat.trials.labels import alike, as_label, code_labels, label_key
from spicestat.trials.missing_codes import is_code, notice_alike

__all__ = [
    "LONGEST_SECONDS",
    "check_roles",
    "code_choices",
    "code_complete",
    "code_rewards",
    "code_times",
    "order_trials",
]

Codes = npt.NDArray[np.int64]

_RESERVED = {"participant", "experiment", "block", "trial", "choice"}
_RARE_CHOICES = 5
LONGEST_SECONDS = 100.0
"""Response times above this look like milliseconds."""


def check_roles(frame: pd.DataFrame, roles: Mapping[str, Sequence[str]]) -> None:
    """Raise unless every role's columns exist and no column has two roles.

    Parameters
    ----------
    frame : DataFrame
        The trials as read.
    roles : mapping of str to sequence of str
        Columns by role, such as ``{"choice": ["choice"], "inputs": []}``.
    """
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ColumnError(f"the trials have two columns called '{twice}'", do="rename one of them")
    role_of: dict[str, str] = {}
    for role, columns in roles.items():
        for name in columns:
            if name in role_of:
                raise ConfigError(
                    f"column '{name}' is used twice, as {role_of[name]} and as {role}",
                    do="give each role its own column (copy the column if it has two jobs)",
                )
            role_of[name] = role
    for role, columns in roles.items():
        if role != "covariates":
            require_columns(frame, columns, f"{role}: the table of trials")
    reserved = _RESERVED | ({"rt"} if roles.get("rt") else set())
    for name in roles.get("inputs", ()):
        if name in reserved or name.removeprefix("reward_").isdigit():
            raise ConfigError(f"an input cannot be called '{name}': spicestat uses that name", do="rename the column")
    if frame.empty:
        raise DataError("the trials have no rows", do="check the file or the filter that made the table")


def code_complete(frame: pd.DataFrame, column: str, what: str) -> tuple[Codes, tuple[Hashable, ...]]:
    """Code a column of ids that may have no missing value; see `code_labels`."""
    codes, labels = code_labels(frame[column], what)
    if (codes < 0).any():
        raise DataError(
            f"{what} column '{column}' has missing values",
            got=first_rows(frame, codes < 0, [column]),
            do="fill in the labels or drop these rows",
        )
    notice_alike(labels, column, what)
    return codes, labels


def code_choices(
    frame: pd.DataFrame, column: str, actions: Sequence[Hashable] | None, missing: MissingValues | None = None
) -> tuple[Codes, tuple[Hashable, ...]]:
    """Code the choices as positions in the actions, -1 for a missed trial.

    Examples
    --------
    >>> code_choices(pd.DataFrame({"key": ["f", None, "j"]}), "key", actions=["j", "f"])[0].tolist()
    [1, -1, 0]
    """
    codes, found = code_labels(frame[column], "choice")
    if actions is None:
        if len(found) < 2:
            raise DataError(
                f"choice column '{column}' must have at least 2 different choices",
                got=", ".join(map(repr, found)) or "no choice at all",
                do="check the column, or list all options in actions=[...]",
            )
        if len(found) > 20 and any(isinstance(label, float) for label in found):
            raise ColumnError(
                f"choice column '{column}' looks continuous ({len(found)} different fractional numbers)",
                do="name the column of chosen options, or list them in actions=[...]",
            )
        if missing is None or not missing.settles(column):
            _warn_of_mistyped(codes, found, column)
        return codes, found
    wanted = tuple(as_label(label) for label in actions)
    if len(wanted) < 2 or len(set(map(label_key, wanted))) < len(wanted):
        raise ConfigError("actions must be at least 2 different labels", got=list(actions))
    position = {label_key(label): code for code, label in enumerate(wanted)}
    unknown = [code for code, label in enumerate(found) if label_key(label) not in position]
    if unknown:
        raise DataError(
            f"choice column '{column}' has labels that are not in actions",
            got=first_rows(frame, np.isin(codes, unknown), [column]),
            allowed=", ".join(map(repr, wanted)),
            do="add them to actions, or, where they mean that a choice is missing, pass "
            f"{remedy(column, [found[code] for code in unknown[:5]])}",
        )
    recode = np.array([position[label_key(label)] for label in found] + [-1], dtype=np.int64)
    return recode[codes], wanted


def _warn_of_mistyped(codes: Codes, labels: Sequence[Hashable], column: str) -> None:
    """Warn of labels that look like typing errors: alike but for case, blanks and zeros, or hardly ever chosen."""
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    similar = [label for group in alike(labels) for label in group]
    rare = (counts > 0) & (counts < min(_RARE_CHOICES, counts.sum() / (10 * len(labels)))) & (len(labels) > 2)
    reasons = {
        "that differ only in case, blanks or zeros around a number": [
            code for code, label in enumerate(labels) if label in similar
        ],
        f"chosen fewer than {_RARE_CHOICES} times in all": [
            code for code in np.flatnonzero(rare).tolist() if labels[code] not in similar
        ],
    }
    for reason, found in reasons.items():
        if found:
            shown = ", ".join(f"{labels[code]!r} (chosen {counts[code]}x)" for code in found)
            warn_user(
                f"choice column '{column}' has labels {reason}: {shown}. Each label is an action of its own: correct "
                "typing errors, or list all options in actions=[...]; where a label means that a choice is missing, "
                f"pass {remedy(column, [labels[found[0]]])}",
                SuspiciousDataWarning,
            )


def _warn_of_unrewarded(
    choice: Codes, reward: npt.NDArray[np.float64], actions: Sequence[Hashable], column: str
) -> None:
    """Warn of an action that never has a reward while others have: it may stand for a missed trial."""
    chosen = np.bincount(choice[choice >= 0], minlength=len(actions))
    seen = np.bincount(choice[(choice >= 0) & ~np.isnan(reward)], minlength=len(actions))
    for code in np.flatnonzero((chosen > 0) & (seen == 0) & seen.any()).tolist():
        warn_user(
            f"none of the {chosen[code]} trials with choice {actions[code]!r} has a reward. If this label marks a "
            f"missed trial, pass {remedy(column, [actions[code]])}",
            SuspiciousDataWarning,
        )


def code_rewards(
    frame: pd.DataFrame,
    reward: str | Sequence[str],
    choice: Codes,
    actions: Sequence[Hashable],
    column: str = "choice",
) -> npt.NDArray[np.float64]:
    """Return the observed reward of every action, shape (n_rows, n_actions), NaN where not observed."""
    rewards = np.full((len(frame), len(actions)), np.nan)
    if isinstance(reward, str):
        values = check_numeric(frame, reward, "reward").to_numpy()
        made = choice >= 0
        rewards[made, choice[made]] = values[made]
        _warn_of_unrewarded(choice, values, actions, column)
        columns = [reward]
    else:
        columns = list(reward)
        codes = [label for label in actions if is_code(label)] if len(columns) < len(actions) else []
        if len(columns) != len(actions):
            raise ConfigError(
                "reward must be one column, or one column per action in the order of the actions",
                got=f"{len(columns)} columns for {len(actions)} actions ({', '.join(map(str, actions))})",
                do="name one reward column per action, or pass actions=[...] to set their order"
                + (f"; where a label means that a choice is missing, pass {remedy(column, codes)}" if codes else ""),
            )
        refuse_gains_and_losses(frame, columns, actions)
        for action, name in enumerate(columns):
            rewards[:, action] = check_numeric(frame, name, "reward").to_numpy()
    if np.isnan(rewards).all():
        raise DataError(
            f"no trial with a choice has a reward in column {', '.join(map(repr, columns))}",
            do="name the column that holds the outcomes",
        )
    return rewards


def code_times(frame: pd.DataFrame, column: str | None, choice: Codes) -> npt.NDArray[np.float64]:
    """Return the response time of every choice in seconds, NaN where there is no choice or no time.

    Examples
    --------
    >>> code_times(pd.DataFrame({"rt": [0.4, None, 0.0]}), "rt", np.array([1, 0, -1])).tolist()
    [0.4, nan, nan]
    """
    if column is None:
        return np.full(len(frame), np.nan)
    # missed trials are often marked by a time of 0, -1 or the deadline
    times = np.where(choice >= 0, check_numeric(frame, column, "response time").to_numpy(), np.nan)
    if np.isnan(times).all():
        raise DataError(f"no trial with a choice has a response time in column '{column}'", do="check the column")
    if (times <= 0).any():
        raise DataError(
            f"response time column '{column}' must be above 0 where there is a choice",
            got=first_rows(frame, times <= 0, [column]),
            do="make unknown response times missing, and the choices still count: "
            f"{remedy(column, np.unique(times[times <= 0])[:5].tolist())}",
        )
    if np.nanmedian(times) > LONGEST_SECONDS:
        raise DataError(
            f"response time column '{column}' must be in seconds",
            got=f"a median of {np.nanmedian(times):g}",
            do="if these are milliseconds, divide them by 1000",
        )
    if (times > LONGEST_SECONDS).any():
        warn_user(
            f"some response times in column '{column}' are above {LONGEST_SECONDS:g} seconds: "
            f"{first_rows(frame, times > LONGEST_SECONDS, [column])}. If they are mistakes, make them missing",
            SuspiciousDataWarning,
        )
    return times


def order_trials(frame: pd.DataFrame, block: Codes, trial: str | None, block_columns: Sequence[str]) -> Codes:
    """Return the row positions sorted by block and, within a block, by trial or by file order.

    Parameters
    ----------
    frame : DataFrame
        The trials in file order.
    block : ndarray of int64, shape (n_rows,)
        Block code of each row.
    trial : str, optional
        Column that orders the trials of a block.
    block_columns : sequence of str
        Columns that identify a block, for the messages.
    """
    if trial is None:
        starts = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
        resumed = starts[pd.Series(block[starts]).duplicated().to_numpy()]
        if resumed.size:
            where = np.zeros(len(frame), dtype=bool)
            where[resumed] = True
            raise DataError(
                "the order of the trials is ambiguous: the rows of a block are not next to each other",
                got=first_rows(frame, where, block_columns),
                do="name the column that numbers the trials with trial=..., or the block column with block=...",
            )
        return np.argsort(block, kind="stable")
    number = check_numeric(frame, trial, "trial").to_numpy()
    if np.isnan(number).any():
        raise ColumnError(
            f"trial column '{trial}' has missing values",
            got=first_rows(frame, np.isnan(number), [trial]),
            do="number these trials or drop the rows",
        )
    order = np.lexsort((number, block))
    same = (np.diff(block[order]) == 0) & (np.diff(number[order]) == 0)
    if same.any():
        where = np.zeros(len(frame), dtype=bool)
        where[order[:-1][same]] = where[order[1:][same]] = True
        raise DataError(
            f"trial column '{trial}' numbers two trials of one block the same",
            got=first_rows(frame, where, [*block_columns, trial]),
            do="name the column of blocks or sessions with block=... if trials restart there, or keep one row of each",
        )
    return order
