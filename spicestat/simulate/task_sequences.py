"""The running state of bandit tasks, for S sequences at once."""

from __future__ import annotations

import numpy as np

__all__ = [
    "BanditSequences",
    "DriftSequences",
    "FlipSequences",
    "PlannedSequences",
    "RewardedFlipSequences",
    "SwitchSequences",
    "hide_unchosen",
]


class BanditSequences:
    """S sequences with rewards of 0 or 1 and reward probabilities that stay.

    Parameters
    ----------
    reward_probs : ndarray of shape (S, A)
        Reward probabilities of the first trial.
    counterfactual : bool
        Whether rewards of actions not chosen are shown.
    rng : Generator
        Source of randomness.

    Examples
    --------
    >>> task = BanditSequences(np.array([[1.0, 0.0], [0.0, 1.0]]), False, np.random.default_rng(1))
    >>> task.step(np.array([0, 0]))
    array([[ 1., nan],
           [ 0., nan]])
    """

    def __init__(self, reward_probs: np.ndarray, counterfactual: bool, rng: np.random.Generator) -> None:
        self.reward_probs = reward_probs
        self._counterfactual = counterfactual
        self._rng = rng

    def step(self, choices: np.ndarray) -> np.ndarray:
        """Draw the rewards of one trial, then change the reward probabilities.

        Parameters
        ----------
        choices : int ndarray of shape (S,)
            Actions from 0.

        Returns
        -------
        ndarray of shape (S, A)
            0 or 1; NaN where not shown.
        """
        rewards = (self._rng.random(self.reward_probs.shape) < self.reward_probs).astype("float64")
        self._adjust(rewards, choices)
        self._advance(rewards[np.arange(len(choices)), choices])
        return rewards if self._counterfactual else hide_unchosen(rewards, choices)

    def _adjust(self, rewards: np.ndarray, choices: np.ndarray) -> None:
        """Change drawn rewards (S, A) in place."""

    def _advance(self, received: np.ndarray) -> None:
        """Change the reward probabilities after rewards (S,) were received."""


class DriftSequences(BanditSequences):
    """Reward probabilities that take a Gaussian step and are clipped to [0, 1]."""

    def __init__(self, reward_probs: np.ndarray, counterfactual: bool, rng: np.random.Generator, sigma: float) -> None:
        super().__init__(reward_probs, counterfactual, rng)
        self._sigma = sigma

    def _advance(self, received: np.ndarray) -> None:
        stepped = self.reward_probs + self._sigma * self._rng.standard_normal(self.reward_probs.shape)
        self.reward_probs = np.clip(stepped, 0.0, 1.0)


class FlipSequences(BanditSequences):
    """Reward probabilities whose order turns round with probability ``flip_prob`` after a trial."""

    def __init__(
        self, reward_probs: np.ndarray, counterfactual: bool, rng: np.random.Generator, flip_prob: float
    ) -> None:
        super().__init__(reward_probs, counterfactual, rng)
        self._flip_prob = flip_prob

    def _advance(self, received: np.ndarray) -> None:
        self._turn(self._rng.random(len(received)) < self._flip_prob)

    def _turn(self, where: np.ndarray) -> None:
        self.reward_probs = np.where(where[:, None], self.reward_probs[:, ::-1], self.reward_probs)


class RewardedFlipSequences(FlipSequences):
    """Flips after a number of rewards drawn from U(7, 15); a good first choice in a block is always rewarded."""

    def __init__(self, reward_probs: np.ndarray, counterfactual: bool, rng: np.random.Generator) -> None:
        super().__init__(reward_probs, counterfactual, rng, flip_prob=0.0)
        self._rewards_to_flip = self._draw_criterion(len(reward_probs))
        self._fresh = np.ones(len(reward_probs), dtype=bool)

    def _draw_criterion(self, n_sequences: int) -> np.ndarray:
        return self._rng.uniform(7.0, 15.0, size=n_sequences)

    def _adjust(self, rewards: np.ndarray, choices: np.ndarray) -> None:
        good = self._fresh & (choices == self.reward_probs.argmax(axis=1))
        rewards[good, choices[good]] = 1.0

    def _advance(self, received: np.ndarray) -> None:
        self._rewards_to_flip = self._rewards_to_flip - received
        self._fresh = self._rewards_to_flip <= 0
        self._turn(self._fresh)
        self._rewards_to_flip[self._fresh] = self._draw_criterion(int(self._fresh.sum()))


class SwitchSequences(BanditSequences):
    """Sets of reward probabilities (K, A), one of which holds until another one takes its place."""

    def __init__(
        self, sets: np.ndarray, n_sequences: int, counterfactual: bool, rng: np.random.Generator, switch_prob: float
    ) -> None:
        self._sets, self._switch_prob = sets, switch_prob
        self._current = rng.integers(len(sets), size=n_sequences)
        super().__init__(sets[self._current], counterfactual, rng)

    def _advance(self, received: np.ndarray) -> None:
        switched = self._rng.random(len(received)) < self._switch_prob
        # 1 to K - 1 places on, so that the set never stays the same
        places = self._rng.integers(1, len(self._sets), size=len(received))
        self._current = np.where(switched, (self._current + places) % len(self._sets), self._current)
        self.reward_probs = self._sets[self._current]


class PlannedSequences:
    """Reward probabilities (S, T, A) that were drawn beforehand; only rewards of chosen actions are drawn and shown."""

    def __init__(self, reward_probs: np.ndarray, rng: np.random.Generator) -> None:
        self._planned, self._rng = reward_probs, rng
        self._trial = 0

    @property
    def reward_probs(self) -> np.ndarray:
        """Reward probabilities (S, A) of the next trial."""
        current: np.ndarray = self._planned[:, self._trial]
        return current

    def step(self, choices: np.ndarray) -> np.ndarray:
        """Return the rewards (S, A) of one trial, NaN for actions not chosen."""
        rows = np.arange(len(choices))
        rewards = np.full(self.reward_probs.shape, np.nan)
        rewards[rows, choices] = self._rng.random(len(choices)) < self.reward_probs[rows, choices]
        self._trial += 1
        return rewards


def hide_unchosen(rewards: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """Return rewards (S, A) with NaN for the actions not chosen."""
    shown = np.full(rewards.shape, np.nan)
    rows = np.arange(len(choices))
    shown[rows, choices] = rewards[rows, choices]
    return shown
