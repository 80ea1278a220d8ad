"""Your own environments: anything with a gymnasium-like ``reset`` and ``step`` becomes a task for agents."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from spicestat.errors import ConfigError, DataError
from spicestat.simulate.arguments import action_index, rewards_per_action
from spicestat.simulate.base_environment import Bandits, CopiedSequences, TaskSequences

__all__ = ["UserBandits", "as_environment"]


def as_environment(
    environment: Any,
    n_actions: int | None = None,
    *,
    restart: bool = False,
    not_shown: float | None = None,
    seed: int | None = None,
) -> Bandits:
    """Turn a user's environment into a `Bandits`; a `Bandits` is returned as it is.

    Parameters
    ----------
    environment : object or callable
        An object with ``step(choice)`` that returns a reward, or a tuple as gymnasium does:
        (observation, reward, terminated, truncated, info). A reward is one number, for the chosen action, or
        one number per action with NaN where it was not shown. If it has ``reset(seed=...)``, ``reset()`` or
        ``new_sess()``, that starts a session. A class or function without arguments that returns such an
        object works too, and is needed for many sequences at once if there is no ``reset(seed=...)``.
    n_actions : int, optional
        Number of actions A. Default: the environment's ``n_actions`` or ``action_space.n``.
    restart : bool, default False
        What to do when the environment says that it has ended (terminated or truncated): reset it and go on,
        or raise.
    not_shown : float, optional
        A number that stands for "not shown" in rewards of actions not chosen, such as SPICE's -1. Default:
        only NaN does.
    seed : int, optional
        Seed of the first reset. Default: NumPy's global state decides.

    Raises
    ------
    ConfigError
        The object has no ``step``, or the number of actions is unknown or differs from ``n_actions``.

    Examples
    --------
    >>> class Always:
    ...     n_actions = 2
    ...     def reset(self, seed=None):
    ...         return None, {}
    ...     def step(self, choice):
    ...         return None, float(choice == 1), False, False, {}
    >>> as_environment(Always()).step(1)
    array([nan,  1.])
    """
    is_factory = isinstance(environment, type) or (callable(environment) and not hasattr(environment, "step"))
    made = environment() if is_factory else environment
    if isinstance(made, Bandits):
        _settled_actions(made.n_actions, n_actions)
        return made
    if not callable(getattr(made, "step", None)):
        raise ConfigError(
            "the environment has no step method", got=repr(made), do="give it step(choice), which returns a reward"
        )
    size = _settled_actions(_known_actions(made), n_actions)
    return UserBandits(made, environment if is_factory else None, size, restart, not_shown, seed)


class UserBandits(Bandits):
    """A user's environment as `Bandits`; made by `as_environment`."""

    def __init__(
        self,
        environment: Any,
        factory: Callable[[], Any] | None,
        n_actions: int,
        restart: bool,
        not_shown: float | None,
        seed: int | None,
    ) -> None:
        super().__init__(n_actions, seed=seed)
        self._environment, self._factory = environment, factory
        self._restart, self._not_shown = restart, not_shown
        self._started = False
        self._ended = False

    def new_sess(self) -> None:
        """Reset the environment, with a new seed if it takes one."""
        self._random.new_session()
        reset = getattr(self._environment, "reset", None) or getattr(self._environment, "new_sess", None)
        if reset is not None and _takes_seed(reset):
            reset(seed=int(self.rng.integers(2**31)))
        elif reset is not None:
            reset()
        self._started, self._ended = True, False

    def step(self, choice: int) -> np.ndarray:
        """Return the rewards (A,) of one trial, NaN where not shown."""
        if not self._started or (self._ended and self._restart):
            self.new_sess()
        if self._ended:
            raise DataError(
                "the environment ended before the last trial",
                do="play fewer trials, or pass as_environment(environment, restart=True)",
            )
        index = action_index(choice, self.n_actions)
        outcome = self._environment.step(index)
        if isinstance(outcome, tuple):
            if len(outcome) not in (4, 5):
                raise DataError(
                    "step returned a tuple of unknown meaning",
                    got=repr(outcome),
                    allowed="a reward, or (observation, reward, terminated, truncated, info)",
                )
            # gymnasium has two flags between reward and info, its predecessor gym one
            self._ended = any(bool(flag) for flag in outcome[2:-1])
            outcome = outcome[1]
        return rewards_per_action(outcome, index, self.n_actions, self._not_shown)

    def vectorized(self, n_sequences: int, rng: np.random.Generator) -> TaskSequences:
        """Start S new sequences, each in an environment of its own."""
        if self._factory is not None:
            made = [self._factory() for _ in range(n_sequences)]
            options = (None, self.n_actions, self._restart, self._not_shown, None)
            return CopiedSequences([UserBandits(one, *options) for one in made], rng)
        if not _takes_seed(getattr(self._environment, "reset", None)):
            raise ConfigError(
                "copies of this environment would all draw the same rewards",
                do="give it reset(seed=...), or pass a function that makes a new one",
            )
        return super().vectorized(n_sequences, rng)


def _settled_actions(known: int | None, wanted: int | None) -> int:
    """Settle the number of actions between the environment and the caller."""
    if known is not None and wanted is not None and known != wanted:
        raise ConfigError(
            "the environment has a different number of actions",
            got=known,
            allowed=wanted,
            do=f"give it {wanted} actions, such as BanditsDrift(0.2, n_actions={wanted})",
        )
    settled = known if wanted is None else wanted
    if settled is None:
        raise ConfigError(
            "the environment does not say how many actions it has", do="pass as_environment(environment, n_actions)"
        )
    return settled


def _known_actions(environment: Any) -> int | None:
    known = getattr(environment, "n_actions", None)
    if known is None:
        known = getattr(getattr(environment, "action_space", None), "n", None)
    return None if known is None else int(known)


def _takes_seed(reset: Any) -> bool:
    if not callable(reset):
        return False
    parameters = inspect.signature(reset).parameters.values()
    return any(one.name == "seed" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
