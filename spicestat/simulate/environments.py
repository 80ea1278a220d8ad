"""Bandit tasks: reward probabilities that stay, drift, flip or switch, for one sequence or many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spicestat._checks import real_number
from spicestat.errors import ConfigError
from spicestat.simulate.arguments import probability
from spicestat.simulate.base_environment import Bandits, BinaryBandits
from spicestat.simulate.task_sequences import (
    BanditSequences,
    DriftSequences,
    FlipSequences,
    RewardedFlipSequences,
    SwitchSequences,
)

__all__ = [
    "Bandits",
    "BanditsDrift",
    "BanditsFlip",
    "BanditsFlipEckstein2022",
    "BanditsStandard",
    "BanditsSwitch",
]


class BanditsDrift(BinaryBandits):
    r"""Reward probabilities that take a Gaussian step after each trial and are clipped to [0, 1].

    A session starts at :math:`p \sim U(0, 1)`; then :math:`p \leftarrow \min(1, \max(0, p + \sigma e))`. With
    a large sigma the probabilities are often exactly 0 or 1 (see `drifting_probabilities` for a walk that
    is reflected instead). After Daw et al. (2006), doi:10.1038/nature04766.

    Parameters
    ----------
    sigma : float
        Standard deviation of a step, 0 or more.
    n_actions : int, default 2
        Number of actions A.
    counterfactual : bool, default False
        Whether rewards of actions not chosen are shown.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Raises
    ------
    ConfigError
        A setting is out of range.

    Examples
    --------
    >>> environment = BanditsDrift(sigma=0.2, seed=1)
    >>> environment.step(0)
    array([ 1., nan])
    >>> environment.vectorized(3, np.random.default_rng(1)).step(np.array([0, 1, 1])).shape
    (3, 2)
    """

    def __init__(self, sigma: float, n_actions: int = 2, counterfactual: bool = False, seed: int | None = None) -> None:
        super().__init__(n_actions, counterfactual, seed)
        self._sigma = real_number("sigma", sigma, 0)
        self.new_sess()

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> BanditSequences:
        """Start S new sequences that are played together."""
        start = rng.random((n_sequences, self.n_actions))
        return DriftSequences(start, self.counterfactual, rng, self._sigma)


class BanditsFlip(BinaryBandits):
    """Two actions, one good and one bad, which change places with a fixed probability after each trial.

    Parameters
    ----------
    block_flip_prob : float, default 0.02
        Probability of a flip after a trial.
    reward_prob_high, reward_prob_low : float, default 0.8 and 0.2
        Reward probabilities of the good and the bad action. Chance decides which is which at first.
    counterfactual : bool, default False
        Whether the reward of the action not chosen is shown.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Raises
    ------
    ConfigError
        A probability is out of range.

    Examples
    --------
    >>> sorted(BanditsFlip(seed=1).reward_probs.tolist())
    [0.2, 0.8]
    """

    def __init__(
        self,
        block_flip_prob: float = 0.02,
        reward_prob_high: float = 0.8,
        reward_prob_low: float = 0.2,
        counterfactual: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(2, counterfactual, seed)
        self._flip_prob = probability("block_flip_prob", block_flip_prob)
        self._pair = _pair(reward_prob_high, reward_prob_low)
        self.new_sess()

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> BanditSequences:
        """Start S new sequences that are played together."""
        return FlipSequences(_either_way(self._pair, n_sequences, rng), self.counterfactual, rng, self._flip_prob)


class BanditsFlipEckstein2022(BinaryBandits):
    """Two actions that change places after 8 to 15 rewards of the current block.

    They do so once the rewards reach a number drawn anew for every block, from U(7, 15); the first trial of a
    block is always rewarded if the good action is chosen. Eckstein et al. (2022), doi:10.1016/j.dcn.2022.101106.

    Parameters
    ----------
    reward_prob_high, reward_prob_low : float, default 0.75 and 0
        Reward probabilities of the good and the bad action. Chance decides which is which at first.
    counterfactual : bool, default False
        Whether the reward of the action not chosen is shown.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Raises
    ------
    ConfigError
        A probability is out of range.

    Examples
    --------
    >>> environment = BanditsFlipEckstein2022(seed=1)
    >>> good = int(environment.reward_probs.argmax())
    >>> environment.step(good)[good]
    np.float64(1.0)
    """

    def __init__(
        self,
        reward_prob_high: float = 0.75,
        reward_prob_low: float = 0.0,
        counterfactual: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(2, counterfactual, seed)
        self._pair = _pair(reward_prob_high, reward_prob_low)
        self.new_sess()

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> BanditSequences:
        """Start S new sequences that are played together."""
        return RewardedFlipSequences(_either_way(self._pair, n_sequences, rng), self.counterfactual, rng)


class BanditsSwitch(BinaryBandits):
    """Two actions that switch between seven pairs of reward probabilities.

    The pairs are all of high, middle and low except low-low and high-high. A switch, which never keeps the
    pair, comes with a fixed probability after each trial.

    Parameters
    ----------
    block_flip_prob : float, default 0.02
        Probability of a switch after a trial.
    reward_prob_high, reward_prob_low, reward_prob_middle : float, default 0.75, 0.25 and 0.5
        The reward probabilities.
    counterfactual : bool, default False
        Whether the reward of the action not chosen is shown.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Raises
    ------
    ConfigError
        A probability is out of range.

    Examples
    --------
    >>> set(BanditsSwitch(seed=1).reward_probs.tolist()) <= {0.25, 0.5, 0.75}
    True
    """

    def __init__(
        self,
        block_flip_prob: float = 0.02,
        reward_prob_high: float = 0.75,
        reward_prob_low: float = 0.25,
        reward_prob_middle: float = 0.5,
        counterfactual: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(2, counterfactual, seed)
        self._flip_prob = probability("block_flip_prob", block_flip_prob)
        high, low = probability("reward_prob_high", reward_prob_high), probability("reward_prob_low", reward_prob_low)
        middle = probability("reward_prob_middle", reward_prob_middle)
        pairs = [(high, low), (high, middle), (middle, low), (middle, middle)]
        self._pairs = np.array(pairs + [pair[::-1] for pair in pairs[:3]])
        self.new_sess()

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> BanditSequences:
        """Start S new sequences that are played together."""
        return SwitchSequences(self._pairs, n_sequences, self.counterfactual, rng, self._flip_prob)


class BanditsStandard(BinaryBandits):
    """Reward probabilities that never change.

    Parameters
    ----------
    reward_probs : sequence of float, default (0.8, 0.2)
        One probability per action.
    counterfactual : bool, default False
        Whether rewards of actions not chosen are shown.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Raises
    ------
    ConfigError
        There are fewer than two actions, or a probability is out of range.

    Examples
    --------
    >>> BanditsStandard((0.9, 0.5, 0.1)).n_actions
    3
    """

    def __init__(
        self, reward_probs: Sequence[float] = (0.8, 0.2), counterfactual: bool = False, seed: int | None = None
    ) -> None:
        if np.ndim(reward_probs) != 1 or len(reward_probs) < 2:
            raise ConfigError("reward_probs is one probability per action", got=reward_probs, allowed="2 or more")
        super().__init__(len(reward_probs), counterfactual, seed)
        self._probabilities = np.array([probability("a reward probability", value) for value in reward_probs])
        self.new_sess()

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> BanditSequences:
        """Start S new sequences that are played together."""
        return BanditSequences(np.tile(self._probabilities, (n_sequences, 1)), self.counterfactual, rng)


def _pair(high: float, low: float) -> np.ndarray:
    return np.array([probability("reward_prob_high", high), probability("reward_prob_low", low)])


def _either_way(pair: np.ndarray, n_sequences: int, rng: np.random.Generator) -> np.ndarray:
    """Give each of S sequences a pair of probabilities in one of its two orders, shape (S, 2)."""
    turned = rng.random(n_sequences) < 0.5
    return np.where(turned[:, None], pair[::-1], pair)
