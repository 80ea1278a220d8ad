"""TaskTrials: the trials of all blocks as a task's model reads them, with time on the first axis."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spicestat.pooled.packed import Floats, Ints, Sessions, Shown

__all__ = ["TaskTrials", "task_trials"]

_Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class TaskTrials:
    """T trials of S blocks; what lies after a block's end is never looked at.

    Attributes
    ----------
    actions : tuple
        Labels.
    person : int ndarray of shape (S,)
    choice : int ndarray of shape (T, S)
        0 where there is none.
    reward : ndarray of shape (T, S)
        Of what was chosen; NaN where it was not seen.
    rewards : ndarray of shape (T, S, A)
        Of all actions; NaN where they were not seen.
    predicted : bool ndarray of shape (T, S)
        Whether the choice counts in the likelihood.
    slot : int ndarray of shape (T, S, A)
        Where the value of each action is kept: by item, by stimulus and action, or by action.
    n_slots : int
    stimulus : int ndarray of shape (T, S)
        Codes from 0 within a block; 0 where nothing is shown.
    n_stimuli : int
    offered : bool ndarray of shape (T, S, A) or None
    attributes : mapping of str to ndarray of shape (T, S, A)
    context : tuple of ndarray of shape (T, S)
    common : int ndarray of shape (A,)
        The second state that each action mostly leads to.
    state, second : int ndarray of shape (T, S) or None
        Second states, and choices there: codes from 0 within the state.
    rt : ndarray of shape (T, S) or None
        Response times, seconds.
    complete : bool
        Whether the reward of every choice was seen.
    """

    actions: tuple[Hashable, ...]
    person: Ints
    choice: Ints
    reward: Floats
    rewards: Floats
    predicted: npt.NDArray[np.bool_]
    slot: Ints
    n_slots: int
    stimulus: Ints
    n_stimuli: int
    offered: npt.NDArray[np.bool_] | None
    attributes: Mapping[str, Floats]
    context: tuple[Floats, ...]
    common: Ints
    state: Ints | None
    second: Ints | None
    rt: Floats | None
    complete: bool

    @property
    def n_actions(self) -> int:
        """Number of actions, A."""
        return int(self.slot.shape[2])

    @property
    def sizes(self) -> dict[str, float]:
        """Sizes of the largest reward, attributes and contexts."""
        found = {name: np.abs(values) for name, values in (("reward", self.rewards), *self.attributes.items())}
        found["context"] = np.abs(np.concatenate([np.zeros(1), *(values.ravel() for values in self.context)]))
        return {name: float(np.nanmax(size, initial=0.0)) for name, size in found.items()}

    @property
    def n_sessions(self) -> int:
        """Number of blocks, S."""
        return len(self.person)

    @property
    def times(self) -> range:
        """The trials."""
        return range(len(self.choice))

    @property
    def rows(self) -> Ints:
        """Positions of the blocks, (S,), to index values with."""
        return np.arange(self.n_sessions)

    def zeros(self, like: Floats, *shape: int, fill: float = 0.0) -> Floats:
        """Return values (Q, S, ...) for parameters (Q, S)."""
        return np.full((*like.shape, *shape), fill)

    def of_actions(self, values: Floats, t: int) -> Floats:
        """Return the values (Q, S, A) of the actions among those of all slots (Q, S, n_slots)."""
        return values[:, self.rows[:, None], self.slot[t]]

    def taken(self, t: int) -> Ints:
        """Return the slot of what was chosen, (S,)."""
        return np.asarray(self.slot[t, self.rows, self.choice[t]])

    def error(self, t: int, expected: Floats, outcome: Floats | None = None) -> Floats:
        """Return outcomes (default: rewards) minus what was expected (Q, S); 0 where they were not seen."""
        found = (self.reward[t] if outcome is None else outcome) - expected
        return found if self.complete and outcome is None else np.where(np.isnan(found), 0.0, found)

    def select(self, sessions: Ints, person: Ints) -> TaskTrials:
        """Return some blocks, by position, with new person codes."""

        def some(array: _Array | None) -> _Array | None:
            return None if array is None else array[:, sessions]

        names = ("choice", "reward", "rewards", "predicted", "slot", "stimulus", "offered", "state", "second", "rt")
        changed: dict[str, Any] = {name: some(getattr(self, name)) for name in names}
        return replace(
            self,
            person=person,
            attributes={name: values[:, sessions] for name, values in self.attributes.items()},
            context=tuple(values[:, sessions] for values in self.context),
            **changed,
        )


def task_trials(data: Sessions, actions: tuple[Hashable, ...], rt: Floats | None = None) -> TaskTrials:
    """Lay packed sessions out for the models of tasks.

    Parameters
    ----------
    data : Sessions
        With rewards as they stand.
    actions : tuple
        Labels, in the order of the codes.
    rt : ndarray of shape (T, S), optional
        Choices without one are not predicted.
    """
    there, shown = data.choice >= 0, data.shown
    stimulus, n_stimuli = _within_blocks(shown.stimulus, there)
    n_actions = data.n_actions
    if shown.item is not None:
        slot, n_slots = _within_blocks(shown.item, there)
    else:
        slot, n_slots = stimulus[..., None] * n_actions + np.arange(n_actions), n_stimuli * n_actions
    reward = np.where(there, data.received, 0.0)
    return TaskTrials(
        actions=actions,
        person=data.person,
        choice=np.maximum(data.choice, 0),
        reward=reward,
        rewards=data.reward,
        predicted=data.predicted if rt is None else data.predicted & np.isfinite(rt),
        slot=slot,
        n_slots=n_slots,
        stimulus=stimulus,
        n_stimuli=n_stimuli,
        offered=data.offered,
        attributes=shown.attributes,
        context=tuple(shown.context.values()),
        common=_common(data),
        state=None if shown.state is None else np.where(there, shown.state, -1),
        second=_seconds(shown, there),
        rt=rt,
        complete=bool(np.isfinite(reward).all()),
    )


def _within_blocks(codes: Ints | None, there: npt.NDArray[np.bool_]) -> tuple[Ints, int]:
    """Codes from 0 within each block, and how many there are at most; what is not there has 0."""
    if codes is None:
        return np.zeros(there.shape, dtype=np.int64), 1
    found = np.zeros_like(codes)
    for session in range(there.shape[1]):
        own = codes[:, session]
        valid = (own >= 0) & (there[:, session] if own.ndim == 1 else there[:, session, None])
        found[:, session][valid] = np.unique(own[valid], return_inverse=True)[1]
    return found, int(found.max(initial=0)) + 1


def _common(data: Sessions) -> Ints:
    """Return the state that each action leads to most often; without second states, its own code."""
    state, there = data.shown.state, data.choice >= 0
    if state is None:
        return np.arange(data.n_actions)
    counts = np.zeros((data.n_actions, int(state.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (data.choice[there & (state >= 0)], state[there & (state >= 0)]), 1)
    return np.asarray(counts.argmax(axis=1))


def _seconds(shown: Shown, there: npt.NDArray[np.bool_]) -> Ints | None:
    """Codes of second choices from 0 within their states, -1 for none: each state may have labels of its own."""
    if shown.state is None or shown.second is None:
        return None
    found = np.full(shown.second.shape, -1)
    made = there & (shown.state >= 0) & (shown.second >= 0)
    for state in np.unique(shown.state[made]):
        own = made & (shown.state == state)
        found[own] = np.unique(shown.second[own], return_inverse=True)[1]
    return found
