"""Bandits: the base of all environments, including your own."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Protocol

import numpy as np

from spicestat._checks import whole_number
from spicestat.simulate.arguments import RandomSource, action_index, rewards_per_action
from spicestat.simulate.task_sequences import BanditSequences

__all__ = ["Bandits", "BinaryBandits", "CopiedSequences", "TaskSequences"]


class TaskSequences(Protocol):
    """S sequences of a task that take their choices together."""

    def step(self, choices: np.ndarray) -> np.ndarray:
        """Return the rewards (S, A) that choices (S,) bring, NaN where not shown."""


class Bandits:
    """A task with A actions: the base of the environments here, and of your own.

    A subclass defines ``step``, and ``new_sess`` unless a session starts where the last one ended. What it
    draws should come from ``self.rng``; then ``seed`` and ``reset(seed=...)`` work.

    Parameters
    ----------
    n_actions : int, default 2
        Number of actions A, 2 or more.
    counterfactual : bool, default False
        Whether rewards of actions not chosen are shown.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Examples
    --------
    >>> class Coin(Bandits):
    ...     def step(self, choice):
    ...         return [float(choice == action and self.rng.random() < 0.5) for action in range(2)]
    >>> Coin(seed=1).step(0)
    [0.0, 0.0]
    """

    def __init__(self, n_actions: int = 2, counterfactual: bool = False, seed: int | None = None) -> None:
        self._n_actions = whole_number("n_actions", n_actions, 2)
        self._counterfactual = bool(counterfactual)
        self._random = RandomSource(seed)

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self._n_actions

    @property
    def counterfactual(self) -> bool:
        """Whether rewards of actions not chosen are shown."""
        return self._counterfactual

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of the current session."""
        return self._random.generator

    def new_sess(self) -> None:
        """Start a new session; here nothing changes."""

    def reset(self, seed: int | None = None) -> None:
        """Start a new session, with ``seed`` if one is given."""
        self._random.seed(seed)
        self._random.new_session()
        self.new_sess()

    def step(self, choice: int) -> np.ndarray:
        """Return the rewards (A,) of one trial, NaN where not shown."""
        raise NotImplementedError(f"{type(self).__name__} does not implement step()")

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> TaskSequences:
        """Start S new sequences; here one copy of the environment for each, which is correct but slow."""
        return CopiedSequences([deepcopy(self) for _ in range(n_sequences)], rng)


class CopiedSequences:
    """One environment per sequence."""

    def __init__(self, environments: Sequence[Bandits], rng: np.random.Generator) -> None:
        self._environments = environments
        for environment, seed in zip(environments, rng.integers(2**31, size=len(environments)), strict=True):
            environment.reset(seed=int(seed))

    def step(self, choices: np.ndarray) -> np.ndarray:
        """Return the rewards (S, A) that choices (S,) bring, NaN where not shown."""
        return np.array(
            [
                rewards_per_action(environment.step(int(choice)), int(choice), environment.n_actions)
                for environment, choice in zip(self._environments, choices, strict=True)
            ]
        )


class BinaryBandits(Bandits):
    """Rewards of 0 or 1; subclasses say how the reward probabilities start and change."""

    def new_sess(self) -> None:
        """Draw new reward probabilities."""
        self._random.new_session()
        self._session = self.vectorized(1, self.rng)

    def step(self, choice: int) -> np.ndarray:
        """Draw the rewards of one trial, then change the reward probabilities.

        Parameters
        ----------
        choice : int
            0 to A - 1.

        Returns
        -------
        ndarray of shape (A,)
            0 or 1; NaN where not shown.
        """
        rewards: np.ndarray = self._session.step(np.array([action_index(choice, self.n_actions)]))[0]
        return rewards

    @property
    def reward_probs(self) -> np.ndarray:
        """Reward probabilities (A,) of the next trial, a copy."""
        probabilities: np.ndarray = self._session.reward_probs[0].copy()
        return probabilities

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> BanditSequences:
        """Start S new sequences that are played together; the session of `step` goes on untouched.

        Parameters
        ----------
        n_sequences : int
            S.
        rng : Generator
            Source of randomness.

        Returns
        -------
        BanditSequences
            With ``step(choices (S,)) -> rewards (S, A)`` and ``reward_probs (S, A)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement vectorized()")
