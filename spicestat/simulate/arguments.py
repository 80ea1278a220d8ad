"""Arguments shared by environments and agents: seeds, probabilities and choices."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from spicestat._checks import seed_number
from spicestat.errors import ConfigError, DataError

__all__ = ["RandomSource", "action_index", "probability", "rewards_per_action"]


class RandomSource:
    """Random numbers from a seed, or from NumPy's global state as long as there is none.

    Without a seed, every session takes one number from ``np.random``, so that ``np.random.seed(42)``
    before an experiment reproduces it. With a seed, the global state is neither read nor changed, and
    the sessions are successive parts of one stream.

    Parameters
    ----------
    seed : int, optional
        0 or more.
    stream : int, default 0
        Makes different numbers of the same seed, so that an agent and an environment that a user gives the
        same seed are independent.

    Examples
    --------
    >>> source = RandomSource(1)
    >>> source.generator is source.generator
    True
    """

    def __init__(self, seed: int | None = None, stream: int = 0) -> None:
        self._stream = stream
        self._generator: np.random.Generator | None = None
        self._seeded = False
        self.seed(seed)

    @property
    def generator(self) -> np.random.Generator:
        """The generator of the current session."""
        if self._generator is None:
            # the seed API promises reproducibility under np.random.seed
            self._generator = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002
        return self._generator

    def seed(self, seed: int | None) -> None:
        """Start the stream of ``seed``; None changes nothing."""
        if seed is not None:
            self._generator = np.random.default_rng([seed_number(seed), self._stream])
            self._seeded = True

    def new_session(self) -> None:
        """Forget an unseeded generator, so that the next number depends on the global state again."""
        if not self._seeded:
            self._generator = None


def probability(name: str, value: object) -> float:
    """Return a setting as a float from 0 to 1, both included.

    Raises
    ------
    ConfigError
        It is no number, or outside.

    Examples
    --------
    >>> probability("forget_rate", 1)
    1.0
    """
    number = _number(value)
    if not 0 <= number <= 1:
        raise ConfigError(f"{name} is out of range", got=repr(value), allowed="a number from 0 to 1")
    return number


def action_index(choice: object, n_actions: int, *, missing: bool = False) -> int:
    """Return a choice as an int from 0 to ``n_actions - 1``, or -1 for a missing one where that is allowed.

    Raises
    ------
    ConfigError
        It is no action.

    Examples
    --------
    >>> action_index(1.0, 2)
    1
    """
    number = _number(choice)
    if missing and (number == -1 or choice is None):
        return -1
    if number not in range(n_actions):
        raise ConfigError("the choice is not one of the actions", got=repr(choice), allowed=f"0 to {n_actions - 1}")
    return int(number)


def rewards_per_action(outcome: object, choice: int, n_actions: int, not_shown: float | None = None) -> np.ndarray:
    """Return rewards (A,) as floats, NaN where not shown.

    Parameters
    ----------
    outcome : number or array of shape (A,)
        One number is the reward of the chosen action.
    choice, n_actions : int
        Chosen action and number of actions; -1 for no choice.
    not_shown : float, optional
        A number that stands for NaN in rewards of actions not chosen.

    Raises
    ------
    DataError
        These are no rewards of A actions.

    Examples
    --------
    >>> rewards_per_action(1, 0, 2), rewards_per_action([1, -1], 0, 2, not_shown=-1)
    (array([ 1., nan]), array([ 1., nan]))
    """
    try:
        # NumPy reads None as NaN, but here it means that a return was forgotten
        values = np.asarray("" if outcome is None else outcome, dtype="float64")
    except (TypeError, ValueError) as error:
        raise DataError("a reward is not a number", got=repr(outcome)) from error
    chosen = np.arange(n_actions) == choice
    if values.size == 1:
        return np.where(chosen, values.item(), np.nan)
    if values.shape != (n_actions,):
        raise DataError("rewards have the wrong shape", got=values.shape, allowed=f"one number, or ({n_actions},)")
    if not_shown is None:
        return values.copy()
    return np.where(~chosen & (values == not_shown), np.nan, values)


def _number(value: object) -> float:
    """Return a real number as a float, anything else as NaN."""
    return math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
