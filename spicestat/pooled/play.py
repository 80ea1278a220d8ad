"""People with given weights play a task, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.prediction import probabilities_of, sampled
from spicestat.pooled.states import State, state_products

__all__ = ["Played", "Task", "play_states"]


class Task(Protocol):
    """What is played: choices (S,) in, rewards (S, A) out, NaN where not shown."""

    def step(self, choice: Ints, /) -> Floats:
        """Take one trial of all sessions."""


class Played(NamedTuple):
    """S sessions of T trials: choices (S, T), rewards (S, T, A), and the probabilities (S, T, A) before each choice."""

    choice: Ints
    rewards: Floats
    probabilities: Floats


def play_states(
    states: Sequence[State], weights: Floats, task: Task, n_actions: int, n_trials: int, rng: np.random.Generator
) -> Played:
    """Let S sessions be played, all at once.

    Parameters
    ----------
    states : sequence of K State
    weights : ndarray of shape (S, K)
        In logits per unit of the state, with rewards as the task gives them.
    task : Task
    n_actions, n_trials : int
    rng : numpy Generator
        Draws the choices; the first of a session follows constant preferences, as nothing was seen before it.

    Returns
    -------
    Played

    Examples
    --------
    >>> from spicestat.pooled.states import state
    >>> class Nothing:
    ...     def step(self, choice):
    ...         return np.zeros((len(choice), 2))
    >>> stay = np.full((3, 1), 50.0)
    >>> choice = play_states([state("last")], stay, Nothing(), 2, 5, np.random.default_rng(0)).choice
    >>> bool((choice == choice[:, :1]).all())
    True
    """
    n_sessions = len(weights)
    choice = np.zeros((n_trials, n_sessions), dtype=np.int64)
    reward = np.full((n_trials, n_sessions, n_actions), np.nan)
    probabilities = np.empty((n_trials, n_sessions, n_actions))
    for trial in range(n_trials):
        past = Sessions(choice[: trial + 1], reward[: trial + 1], choice[: trial + 1], np.arange(n_sessions), 1.0)
        values = np.stack(list(state_products(past, states, -1)), axis=2)
        policy = probabilities_of(np.einsum("sak,sk->sa", values, weights))
        probabilities[trial], choice[trial] = policy, sampled(policy, rng)
        reward[trial] = task.step(choice[trial])
    return Played(choice.T.copy(), reward.transpose(1, 0, 2).copy(), probabilities.transpose(1, 0, 2).copy())
