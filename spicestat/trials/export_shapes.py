"""Shapes of raw exports that do not fit a trial table: unnamed blocks, several rows per trial, and so on."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat.errors import ConfigError, DataError, SuspiciousDataWarning, warn_user

__all__ = [
    "notice_unnamed",
    "refuse_gains_and_losses",
    "refuse_several_rows",
    "time_column",
    "unused_columns",
]

Codes = npt.NDArray[np.int64]

_COUNT = "(number|num|nr|no|n|id|ind|index|idx|count|counter|i)"
_BEFORE = rf"((exp|experiment|task|test|main|game|sub|mini|current|this|scan|{_COUNT})_?)?"
_AFTER = rf"s?(_?{_COUNT})?"
_CONVENTIONAL = {
    "block": re.compile(rf"{_BEFORE}(block|blk|bloc|game|episode){_AFTER}"),
    "session": re.compile(rf"{_BEFORE}(session|sess|ses|visit|wave|time_?point|day|week){_AFTER}"),
    "run": re.compile(rf"{_BEFORE}run{_AFTER}"),
    "file": re.compile(r"file"),
    "trial": re.compile(rf"{_BEFORE}(trial|trl){_AFTER}(_this_?(trial_?)?n|_?in_?(block|session|run))?"),
}
_TIMES = frozenset(
    ("rt", "rts", "rtms", "rtsec", "rts", "reactiontime", "responsetime", "resprt", "keyresprt", "latency")
)
_GAIN = re.compile(r"(^|[^a-z])(gains?|wins?|won|rewards?|earned|earnings?|plus|pos|positive)([^a-z]|$)")
_LOSS = re.compile(
    r"(^|[^a-z])(loss(es)?|lose|lost|punish(ments?|ed)?|penalty|penalties|costs?|minus|neg|negative)([^a-z]|$)"
)
_FOREGONE = re.compile(r"(^|[^a-z])(unchosen|not chosen|nonchosen|forgone|foregone|counterfactual|fictive)([^a-z]|$)")
_FEWEST_ROWS = 50
_REPEATED = 0.1


def snake(name: object) -> str:
    """Write a column's name in lower case with underscores: ``trials.thisN`` is ``trials_this_n``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name).strip())
    return re.sub(r"[^a-z]+", "_", text.casefold()).strip("_")


def _kind(name: object) -> str | None:
    text = snake(name)
    return next((kind for kind, pattern in _CONVENTIONAL.items() if pattern.fullmatch(text)), None)


def notice_unnamed(
    table: pd.DataFrame, sequence: Codes, order: Codes, named: Mapping[str, str | None], used: Collection[str]
) -> None:
    """Warn of columns for blocks, sessions, runs and trials that would change the learning and have no role.

    Several files of a participant count as such a column, which `read_files` calls ``file``.

    Parameters
    ----------
    table : DataFrame
        The trials as read.
    sequence, order : ndarray of int64, shape (n_rows,)
        Which sequence of learning a row belongs to, and the rows in the order of learning.
    named : mapping
        The columns named as ``block`` and ``trial``.
    used : collection of str
        Columns with any role.
    """
    sorted_sequence = sequence[order]
    same = np.diff(sorted_sequence) == 0
    for name in map(str, table.columns):
        kind = _kind(name)
        if kind is None or name in used:
            continue
        if kind == "trial":
            if named["trial"] is None:
                _notice_order(table[name], order, same, name, named["block"])
            continue
        codes = pd.factorize(table[name])[0][order]
        both = same & (codes[1:] >= 0) & (codes[:-1] >= 0)
        if (codes[1:] != codes[:-1])[both].any():
            n = table[name].nunique()
            do = (
                f"pass block='{name}' if learning starts afresh in each"
                if named["block"] is None
                else f"make one column of '{named['block']}' and '{name}' and pass it as block=..."
            )
            warn_user(
                f"column '{name}' is there and has no role, so that learning runs on over its {n} values: {do}; drop "
                "the column if learning does go on",
                SuspiciousDataWarning,
            )


def _notice_order(
    column: pd.Series[Any], order: Codes, same: npt.NDArray[np.bool_], name: str, block: str | None
) -> None:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)[order]
    step = np.diff(numbers)[same]
    if len(step) and (step == 0).mean() > _REPEATED:
        warn_user(
            f"column '{name}' is there and has no role, and {(step == 0).sum()} of {len(numbers)} rows repeat the "
            "number of the row before, as in tables with several rows per trial, where each counts as a trial: keep "
            f"one row of each trial, or drop column '{name}' if it says something else",
            SuspiciousDataWarning,
        )
    elif (step < 0).any():
        restarts = block is None and float((step < 0).mean()) < 0.5 and bool((step[step >= 0] > 0).mean() > 0.5)
        do = (
            "if the numbers restart in each block, name the block column with block=...; else pass "
            if restarts
            else "pass "
        )
        warn_user(
            f"column '{name}' is there and has no role, and its numbers are not in the order of the rows, in which "
            f"trials are taken: {do}trial='{name}', or drop the column",
            SuspiciousDataWarning,
        )


def refuse_several_rows(
    table: pd.DataFrame, choice: str, rewards: Collection[str], person: Codes, made: npt.NDArray[np.bool_]
) -> None:
    """Raise where at least half of all rows, and many of everybody's, have no choice: they are no trials.

    Raises
    ------
    DataError
        It names a column that tells trials from other rows, where there is one.
    """
    if len(table) < _FEWEST_ROWS or made.mean() > 0.5:
        return
    rows = np.bincount(person[person >= 0])
    lost = np.bincount(person[(person >= 0) & ~made], minlength=len(rows))
    if (lost < rows / 3).any():
        return
    telling = _telling_column(table.drop(columns=[choice, *rewards], errors="ignore"), made)
    raise DataError(
        f"{(~made).sum()} of {len(table)} rows have no choice in column '{choice}': the table seems to have several "
        "rows per trial, as raw exports of jsPsych and PsychoPy have",
        do=f"keep the rows with the response{telling}, and one row for each missed trial",
    )


def _telling_column(table: pd.DataFrame, made: npt.NDArray[np.bool_]) -> str:
    """Describe the column whose values say which rows have choices."""
    for name in table.columns:
        if table[name].nunique() > 20:
            continue
        values = table[name].astype(object).where(table[name].notna(), "")
        share = pd.Series(made).groupby(values.to_numpy()).agg(["mean", "size"])
        full, empty = share[share["mean"] > 0.5], share[share["mean"] == 0]
        if len(full) and len(full) + len(empty) == len(share) and full["mean"].min() > 0.8:
            return f", here those where '{name}' is {' or '.join(map(repr, full.index.tolist()[:3]))}"
    return ""


def refuse_gains_and_losses(table: pd.DataFrame, rewards: Sequence[str], actions: Sequence[object]) -> None:
    """Raise where columns given as the rewards of the actions are the gains and losses of the chosen one.

    Raises
    ------
    ConfigError
        Their names say so.

    Warns
    -----
    SuspiciousDataWarning
        One column has no negative rewards and the other no positive ones.
    """
    if len(rewards) != 2 or {str(name).casefold() for name in rewards} & {str(label).casefold() for label in actions}:
        return
    text = [snake(name).replace("_", " ") for name in rewards]
    gains, losses = ([pattern.search(name) is not None for name in text] for pattern in (_GAIN, _LOSS))
    _refuse_foregone(rewards, text)
    first = int(bool(losses[0] or not losses[1]))
    gain, loss = rewards[first], rewards[1 - first]
    do = f"pass gain={gain!r} and loss={loss!r} instead of reward, or their sum, losses as negative numbers"
    if (losses[0] and not losses[1] and gains[1]) or (losses[1] and not losses[0] and gains[0]):
        raise ConfigError(
            f"the columns {rewards[0]!r} and {rewards[1]!r} look like gains and losses of the chosen action, and "
            "several reward columns mean one for each action",
            got=f"one column for each of the actions {', '.join(map(str, actions))}",
            do=f"{do}. If each does belong to one action, call them by the actions",
        )
    low, high = (
        [float(function(pd.to_numeric(table[name], errors="coerce"))) for name in rewards]
        for function in (np.nanmin, np.nanmax)
    )
    if any(low[one] >= 0 >= high[other] and high[one] > 0 > low[other] for one, other in ((0, 1), (1, 0))):
        warn_user(
            f"of the reward columns {rewards[0]!r} and {rewards[1]!r}, one has only gains and the other only losses, "
            f"and each is taken for the rewards of one action. If they are gains and losses of the chosen action, {do}",
            SuspiciousDataWarning,
        )


def _refuse_foregone(rewards: Sequence[str], text: Sequence[str]) -> None:
    """Raise where one of two reward columns is that of the action not chosen."""
    foregone = [_FOREGONE.search(name) is not None for name in text]
    if foregone[0] != foregone[1]:
        own, other = (rewards[place] for place in (foregone.index(False), foregone.index(True)))
        raise ConfigError(
            f"the column {other!r} looks like the outcome of the action that was not chosen, and several reward "
            "columns mean one for each action",
            got=list(rewards),
            do=f"pass reward={own!r} and foregone={other!r}. If each does belong to one action, call them by the "
            "actions",
        )


def time_column(table: pd.DataFrame, used: Collection[str]) -> str | None:
    """Return a column without a role that is called like response times."""
    names = (str(name) for name in table.columns if name not in used)
    return next((name for name in names if snake(name).replace("_", "") in _TIMES), None)


def unused_columns(
    table: pd.DataFrame, used: Collection[str], covariates: Collection[str], varying: Collection[str]
) -> dict[str, str]:
    """Return every column without a role, with the reason."""
    reasons = {}
    for name in map(str, table.columns):
        if name in used or name in covariates:
            continue
        if table[name].isna().all():
            reasons[name] = "empty"
        else:
            reasons[name] = "varies within participants" if name in varying else "not among the covariates"
    return reasons
