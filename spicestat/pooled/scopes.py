"""Scopes: the same signals for each stimulus, or for the items on offer, by regrouping the trials and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spicestat.errors import DataError
from spicestat.pooled.packed import Floats, Ints, Sessions, Shown

__all__ = ["OUTCOMES", "SCOPES", "View", "view"]

SCOPES = ("all", "stimulus", "item", "offer")
OUTCOMES = ("net", "gain", "loss")


@dataclass(frozen=True, eq=False)
class View:
    """Trials as a signal sees them.

    Attributes
    ----------
    data : Sessions
        The trials, regrouped.
    time, session : int ndarray of shape (T, S) or (T, S, A), optional
        Where in them each trial (or each action on offer) went. None: they are not regrouped.
    item : int ndarray of shape (T, S, A), optional
        Which of the regrouped trials' actions each action is; -1 where it is not on offer.
    """

    data: Sessions
    time: Ints | None = None
    session: Ints | None = None
    item: Ints | None = None

    def spread(self, values: Floats) -> Floats:
        """Bring a signal's values back to the trials, (T, S, A) or (T, S, 1)."""
        if self.item is not None and values.shape[2] > 1:
            found = np.take_along_axis(values, np.maximum(self.item, 0), axis=2)
            return np.where(self.item >= 0, found, 0.0)
        if self.time is None or self.session is None:
            return values
        if self.time.ndim == 2:
            return values[self.time, self.session]
        return np.where(self.session >= 0, values[self.time, self.session, 0], 0.0)


def view(data: Sessions, scope: str, outcome: str) -> View:
    """Regroup trials for signals of a scope.

    Parameters
    ----------
    data : Sessions
    scope : {"all", "stimulus", "item", "offer"}
        "all": as they are. "stimulus": each stimulus of each session has a session of its own. "item": actions are
        the session's items. "offer": each item of each session has a session of its own, with the trials on which it
        was on offer, where action 0 is taking it.
    outcome : {"net", "gain", "loss"}
        Which part of the rewards counts.

    Raises
    ------
    DataError
        The trials have no stimuli, items or losses.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> shown = Shown(stimulus=np.array([[0, 1, 0]]))
    >>> data = pack_sessions([[0, 1, 1]], [[1.0, 0, 1]], [0], n_actions=2, shown=shown)
    >>> view(data, "stimulus", "net").data.choice
    array([[ 0,  1],
           [ 1, -1]])
    """
    data = _with_outcome(data, outcome)
    if scope == "all":
        return View(data)
    known = data.shown.stimulus if scope == "stimulus" else data.shown.item
    if known is None:
        raise DataError(
            f"a state of the fit is of each {'stimulus' if scope == 'stimulus' else 'item'}, and the trials have none",
            do=f"name their columns with {'stimulus' if scope == 'stimulus' else 'options'}=...",
        )
    return {"stimulus": _by_stimulus, "item": _by_item, "offer": _by_offer}[scope](data, known)


def _with_outcome(data: Sessions, outcome: str) -> Sessions:
    if outcome == "net":
        return data
    loss = data.shown.loss
    if loss is None:
        raise DataError(
            f"a state of the fit is of {outcome} alone, and the trials do not tell gains and losses apart",
            do="name their columns with gain=... and loss=...",
        )
    return replace(data, reward=loss if outcome == "loss" else data.reward - loss)


def _sequences(key: Ints) -> tuple[Ints, Ints, int, int]:
    """Return the sequence and the place in it of each of R trials, the number of sequences, and the longest."""
    _, sequence = np.unique(key, return_inverse=True)
    order = np.argsort(sequence, kind="stable")
    count = np.bincount(sequence)
    place = np.empty(len(key), dtype=np.int64)
    place[order] = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count)
    return sequence, place, len(count), int(count.max(initial=0))


def _by_stimulus(data: Sessions, stimulus: Ints) -> View:
    session, time = np.nonzero(data.choice.T >= 0)
    codes = stimulus[time, session]
    sequence, place, n, length = _sequences(session * (codes.max(initial=0) + 1) + codes)
    choice, trial = np.full((length, n), -1), np.full((length, n), -1)
    reward = np.full((length, n, data.n_actions), np.nan)
    at = place, sequence
    for new, old in ((choice, data.choice), (trial, data.trial), (reward, data.reward)):
        new[at] = old[time, session]
    times, sessions = np.zeros_like(data.choice), np.zeros_like(data.choice)
    times[time, session], sessions[time, session] = at
    return View(Sessions(choice, reward, trial, np.zeros(n, dtype=np.int64), data.reward_size), times, sessions)


def _by_item(data: Sessions, item: Ints) -> View:
    there = (item >= 0) & (data.choice >= 0)[..., None]
    time, session, action = np.nonzero(there)
    keys, code = np.unique(session * (item.max(initial=0) + 1) + item[there], return_inverse=True)
    owner = keys // (item.max(initial=0) + 1)
    own = np.full(item.shape, -1)
    own[there] = (np.arange(len(keys)) - np.searchsorted(owner, owner))[code]
    reward = np.full((*data.choice.shape, int(own.max(initial=0)) + 1), np.nan)
    reward[time, session, own[there]] = data.reward[there]
    taken = np.take_along_axis(own, np.maximum(data.choice, 0)[..., None], axis=2)[..., 0]
    choice = np.where(data.choice >= 0, taken, -1)
    return View(replace(data, choice=choice, reward=reward, shown=Shown()), item=own)


def _by_offer(data: Sessions, item: Ints) -> View:
    there = (item >= 0) & (data.choice >= 0)[..., None]
    session, time, action = np.nonzero(there.transpose(1, 0, 2))
    codes = item[time, session, action]
    sequence, place, n, length = _sequences(session * (codes.max(initial=0) + 1) + codes)
    choice, trial = np.full((length, n), -1), np.full((length, n), -1)
    reward = np.full((length, n, 2), np.nan)
    at = place, sequence
    taken = data.choice[time, session]
    choice[at], trial[at] = taken != action, data.trial[time, session]
    reward[(*at, 0)] = data.reward[time, session, action]
    reward[(*at, 1)] = np.where(taken == action, np.nan, data.reward[time, session, taken])
    times, sessions = np.zeros(item.shape, dtype=np.int64), np.full(item.shape, -1)
    times[time, session, action], sessions[time, session, action] = at
    return View(Sessions(choice, reward, trial, np.zeros(n, dtype=np.int64), data.reward_size), times, sessions)


def attribute_of(data: Sessions, column: str) -> npt.NDArray[Any]:
    """Return an attribute's values, (T, S, A)."""
    return _named(data.shown.attributes, column, "attributes")


def context_of(data: Sessions, column: str) -> npt.NDArray[Any]:
    """Return a context's values, (T, S); 0 for a label that does not occur here."""
    label = column.rpartition("=")[0]
    if column not in data.shown.context and label and any(n.startswith(f"{label}=") for n in data.shown.context):
        return np.zeros(data.choice.shape)
    return _named(data.shown.context, column, "context")


def reached(data: Sessions) -> tuple[Ints, Ints]:
    """Return the states that choices led to and the second choices there, each (T, S)."""
    state, second = data.shown.state, data.shown.second
    if state is None:
        raise DataError(
            "a state of the fit is of what choices led to, which the trials do not say",
            do="name the column of second states with state2=...",
        )
    return state, np.zeros_like(state) if second is None else second


def _named(part: Any, column: str, role: str) -> npt.NDArray[Any]:
    if column not in part:
        raise DataError(
            f"a state of the fit needs '{column}', which the trials do not have",
            do=f"name its columns with {role}=...",
        )
    return np.asarray(part[column])
