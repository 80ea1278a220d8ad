"""Sessions: what people chose and earned, packed so that one sweep over time serves everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spicestat.errors import ShapeError

__all__ = ["Floats", "Ints", "Sessions", "Shown", "pack_sessions"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shown:
    """What is known of each trial beside choices and rewards; what a task has none of is None or empty.

    Attributes
    ----------
    stimulus : int ndarray of shape (T, S), optional
        Codes from 0 of what was shown.
    item : int ndarray of shape (T, S, A), optional
        Codes from 0 of the items on offer; -1 where an action is not on offer.
    attributes : mapping of str to ndarray of shape (T, S, A)
        Numbers of every action, such as its amount.
    context : mapping of str to ndarray of shape (T, S)
        Numbers that are the same for all actions, such as a set size, or 0 and 1 of a label.
    free : bool ndarray of shape (T, S), optional
        Whether the choice was free, and is predicted; others only teach.
    loss : ndarray of shape (T, S, A), optional
        Part of the rewards that is a loss, 0 or below; the rest is a gain.
    state : int ndarray of shape (T, S), optional
        Codes from 0 of the state that a choice led to, where it is rewarded after a second choice; -1 for none.
    second : int ndarray of shape (T, S), optional
        Codes from 0 of the second choice; -1 for none.
    """

    stimulus: Ints | None = None
    item: Ints | None = None
    attributes: Mapping[str, Floats] = field(default_factory=dict)
    context: Mapping[str, Floats] = field(default_factory=dict)
    free: npt.NDArray[np.bool_] | None = None
    loss: Floats | None = None
    state: Ints | None = None
    second: Ints | None = None

    def map(self, change: Callable[[Any], Any]) -> Shown:
        """Apply a function to every array."""

        def each(part: Mapping[str, Floats]) -> dict[str, Floats]:
            return {name: change(array) for name, array in part.items()}

        stimulus, item, free, loss, state, second = (
            None if array is None else change(array)
            for array in (self.stimulus, self.item, self.free, self.loss, self.state, self.second)
        )
        return Shown(stimulus, item, each(self.attributes), each(self.context), free, loss, state, second)

    @property
    def before_choice(self) -> bool:
        """Whether anything is known before a first choice, so that it can be predicted."""
        return self.stimulus is not None or self.item is not None or bool(self.attributes) or bool(self.context)


@dataclass(frozen=True, eq=False)
class Sessions:
    """Choices and rewards of S sessions (blocks), with time on the first axis.

    Trials without a choice are left out: they are not predicted, and the states step over them.

    Attributes
    ----------
    choice : int ndarray of shape (T, S)
        Action index from 0; -1 after a session's last choice.
    reward : ndarray of shape (T, S, A)
        Reward of every action in units of `reward_size`; NaN where it was not shown.
    trial : int ndarray of shape (T, S)
        Position of the choice in the arrays that were packed; -1 after the last choice.
    person : int ndarray of shape (S,)
        Person codes from 0.
    reward_size : float
        Size of the largest reward, by which rewards were divided.
    shown : Shown
        What else is known of each trial; nothing by default.

    Examples
    --------
    >>> data = pack_sessions(np.array([[0, -1, 1]]), np.array([[5.0, np.nan, -10.0]]), np.array([0]), n_actions=2)
    >>> data.choice[:, 0], data.trial[:, 0], data.reward_size
    (array([0, 1]), array([0, 2]), 10.0)
    """

    choice: Ints
    reward: Floats
    trial: Ints
    person: Ints
    reward_size: float
    shown: Shown = Shown()

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return int(self.reward.shape[2])

    @property
    def received(self) -> Floats:
        """Reward of the chosen action, shape (T, S); NaN where it was not shown."""
        chosen = np.maximum(self.choice, 0)[..., None]
        return np.asarray(np.take_along_axis(self.reward, chosen, axis=2)[..., 0])

    @property
    def offered(self) -> npt.NDArray[np.bool_] | None:
        """Whether each action is on offer, (T, S, A); None where all always are."""
        items = self.shown.item
        return None if items is None or (items[self.choice >= 0] >= 0).all() else items >= 0

    @property
    def predicted(self) -> npt.NDArray[np.bool_]:
        """Whether each choice is predicted, (T, S): it is there, was free, and something was known before it."""
        there = self.choice >= 0
        if not self.shown.before_choice:
            there[:1] = False
        if self.shown.free is not None:
            there &= self.shown.free
        offered = self.offered
        return there if offered is None else there & (offered.sum(axis=2) > 1)

    def select(self, sessions: npt.ArrayLike) -> Sessions:
        """Keep some of the sessions, by a boolean mask or by their positions."""
        keep = np.asarray(sessions)
        choice = self.choice[:, keep]
        length = int((choice >= 0).sum(axis=0).max(initial=0))
        return Sessions(
            choice[:length],
            self.reward[:length, keep],
            self.trial[:length, keep],
            self.person[keep],
            self.reward_size,
            self.shown.map(lambda array: array[:length, keep]),
        )

    def until(self, length: int) -> Sessions:
        """Keep the first trials of all sessions."""
        return Sessions(
            self.choice[:length],
            self.reward[:length],
            self.trial[:length],
            self.person,
            self.reward_size,
            self.shown.map(lambda array: array[:length]),
        )

    def in_unit(self, reward_size: float) -> Sessions:
        """Return the same with rewards divided by another size."""
        factor, loss = self.reward_size / reward_size, self.shown.loss
        shown = self.shown if loss is None else replace(self.shown, loss=loss * factor)
        return replace(self, reward=self.reward * factor, reward_size=reward_size, shown=shown)


def pack_sessions(
    choice: npt.ArrayLike,
    reward: npt.ArrayLike,
    person: npt.ArrayLike,
    n_actions: int,
    reward_size: float | None = None,
    shown: Shown = Shown(),  # noqa: B008 (frozen)
) -> Sessions:
    """Pack padded arrays (session x trial) into `Sessions`.

    Parameters
    ----------
    choice : array of shape (S, T)
        Action index from 0; negative where the choice is missing and in the padding.
    reward : array of shape (S, T) or (S, T, A)
        Reward received, or the reward of every action; NaN where it was not shown.
    person : array of shape (S,)
        Person codes from 0.
    n_actions : int
        Number of actions A, at least 2.
    reward_size : float, optional
        Rewards are divided by it. Default: the largest absolute reward here (1 where there is none). For new
        sessions, give the value of those that were fitted.
    shown : Shown, optional
        What else is known, arrays of shape (S, T) or (S, T, A); losses in the unit of the rewards.

    Returns
    -------
    Sessions

    Raises
    ------
    ShapeError
        Shapes do not fit together, or an action index is too large.
    """
    played, rewards, who = np.asarray(choice, dtype=np.int64), np.asarray(reward, dtype=float), np.asarray(person)
    _check_shapes(played, rewards, who, n_actions)
    if rewards.ndim == 2:
        rewards = _of_chosen(played, rewards, n_actions)
    rewards = np.where((played >= 0)[..., None], rewards, np.nan)
    size = _largest(rewards) if reward_size is None else float(reward_size)
    order = np.argsort(played < 0, axis=1, kind="stable")
    length = int((played >= 0).sum(axis=1).max(initial=0))

    def laid_out(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Trials with a choice first, and time on the first axis."""
        index = order if array.ndim == 2 else order[..., None]
        return np.ascontiguousarray(np.take_along_axis(array, index, axis=1)[:, :length].swapaxes(0, 1))

    choices = np.maximum(laid_out(played), -1)
    known = shown.map(laid_out)
    return Sessions(
        choice=choices,
        reward=laid_out(rewards) / size,
        trial=np.where(choices >= 0, order[:, :length].T, -1),
        person=who.astype(np.int64),
        reward_size=size,
        shown=known if known.loss is None else replace(known, loss=known.loss / size),
    )


def _check_shapes(choice: Ints, reward: Floats, person: npt.NDArray[np.generic], n_actions: int) -> None:
    shapes = (choice.shape, (*choice.shape, n_actions))
    if choice.ndim != 2 or reward.shape not in shapes or person.shape != choice.shape[:1]:
        msg = f"choice, reward and person have shapes {choice.shape}, {reward.shape} and {person.shape}. "
        raise ShapeError(msg + "Allowed: (S, T), (S, T) or (S, T, A), and (S,).")
    if n_actions < 2 or choice.max(initial=0) >= n_actions:
        raise ShapeError(
            f"n_actions is {n_actions}, the largest action index {choice.max(initial=0)}. Indices start at 0."
        )


def _of_chosen(choice: Ints, reward: Floats, n_actions: int) -> Floats:
    """Rewards as (S, T, A), NaN for the actions that were not chosen."""
    return np.where(np.arange(n_actions) == choice[..., None], reward[..., None], np.nan)


def _largest(reward: Floats) -> float:
    size = float(np.nanmax(np.abs(reward), initial=0.0)) if np.isfinite(reward).any() else 0.0
    return size or 1.0
