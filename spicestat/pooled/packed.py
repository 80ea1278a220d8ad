"""Sessions: what people chose and earned, packed so that one sweep over time serves everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spicestat.errors import ShapeError

__all__ = ["Floats", "Ints", "Sessions", "pack_sessions"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return int(self.reward.shape[2])

    @property
    def received(self) -> Floats:
        """Reward of the chosen action, shape (T, S); NaN where it was not shown."""
        chosen = np.maximum(self.choice, 0)[..., None]
        return np.asarray(np.take_along_axis(self.reward, chosen, axis=2)[..., 0])

    def select(self, sessions: npt.ArrayLike) -> Sessions:
        """Keep some of the sessions, by a boolean mask or by their positions."""
        keep = np.asarray(sessions)
        choice = self.choice[:, keep]
        length = int((choice >= 0).sum(axis=0).max(initial=0))
        return Sessions(
            choice[:length], self.reward[:length, keep], self.trial[:length, keep], self.person[keep], self.reward_size
        )


def pack_sessions(
    choice: npt.ArrayLike,
    reward: npt.ArrayLike,
    person: npt.ArrayLike,
    n_actions: int,
    reward_size: float | None = None,
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

    Returns
    -------
    Sessions

    Raises
    ------
    ShapeError
        Shapes do not fit together, or an action index is too large.
    """
    played, shown, who = np.asarray(choice, dtype=np.int64), np.asarray(reward, dtype=float), np.asarray(person)
    _check_shapes(played, shown, who, n_actions)
    if shown.ndim == 2:
        shown = _of_chosen(played, shown, n_actions)
    shown = np.where((played >= 0)[..., None], shown, np.nan)
    size = _largest(shown) if reward_size is None else float(reward_size)
    order = np.argsort(played < 0, axis=1, kind="stable")
    length = int((played >= 0).sum(axis=1).max(initial=0))
    there = np.take_along_axis(played, order, axis=1)[:, :length]
    return Sessions(
        choice=np.ascontiguousarray(np.maximum(there, -1).T),
        reward=np.ascontiguousarray(np.take_along_axis(shown, order[..., None], 1)[:, :length].transpose(1, 0, 2))
        / size,
        trial=np.ascontiguousarray(np.where(there >= 0, order[:, :length], -1).T),
        person=who.astype(np.int64),
        reward_size=size,
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
