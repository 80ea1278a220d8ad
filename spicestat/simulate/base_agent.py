"""Agent: the simplest learner, and the base of all agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from spicestat._checks import real_number, whole_number
from spicestat.errors import ConfigError
from spicestat.simulate.arguments import RandomSource, action_index, probability, rewards_per_action

__all__ = ["INITIAL_VALUE", "NOT_SHOWN", "Agent", "finite", "softmax"]

INITIAL_VALUE = 0.5
"""Value of every action at the start of a session, and where forgetting leads."""

NOT_SHOWN = -1.0
"""SPICE's mark of a reward that was not shown; learners read it as NaN in rewards of actions not chosen."""

_LARGEST = float(np.finfo("float64").max)


class Agent:
    r"""The simplest learner, and the base of all agents.

    Only the value of the chosen action learns, :math:`V_c \leftarrow V_c + \alpha (r - V_c)`, from
    :math:`V = .5` at the start of a session; choices follow :math:`P \propto \exp(\beta V)`
    (Rescorla & Wagner, 1972; Sutton & Barto, 2018).

    Parameters
    ----------
    n_actions : int, default 2
        Number of actions A, 2 or more.
    beta_reward : float, default 3
        Inverse temperature, the weight of the values in the logits.
    alpha_reward : float, default 0.2
        Learning rate, 0 to 1.
    parameter_variance : float or dict of str to float, default 0
        Standard deviation (not variance; the name is SPICE's) with which
        ``new_sess(sample_parameters=True)`` draws parameters around the given ones, for all or per
        parameter: 0 for none, -1 for half of the parameter. Draws are clipped to 0..1 for rates, and to
        between 0 and twice the parameter for inverse temperatures.
    deterministic : bool, default True
        Whether to choose the action with the largest logit (the first of equals), rather than draw one by its
        probability.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Attributes
    ----------
    state : dict of str to ndarray of shape (A,)
        ``x_value_reward``, ``x_value_choice`` (always 0 here) and ``x_learning_rate_reward`` (the rates of
        the last trial, 0 where nothing was learned).
    parameters : dict of str to float
        The parameters of this session.

    Raises
    ------
    ConfigError
        A parameter is out of range.

    Examples
    --------
    >>> agent = Agent(alpha_reward=0.5)
    >>> agent.update(1, np.array([np.nan, 1.0]))
    >>> agent.state["x_value_reward"], agent.q, agent.get_choice()
    (array([0.5 , 0.75]), array([1.5 , 2.25]), 1)
    """

    _BETAS: ClassVar[Mapping[str, str]] = {"x_value_reward": "beta_reward"}
    _INITIAL: ClassVar[Mapping[str, float]] = {
        "x_value_reward": INITIAL_VALUE,
        "x_value_choice": 0.0,
        "x_learning_rate_reward": 0.0,
    }

    def __init__(
        self,
        n_actions: int = 2,
        beta_reward: float = 3.0,
        alpha_reward: float = 0.2,
        parameter_variance: float | Mapping[str, float] = 0.0,
        deterministic: bool = True,
        seed: int | None = None,
    ) -> None:
        means = {
            "beta_reward": finite("beta_reward", beta_reward),
            "alpha_reward": probability("alpha_reward", alpha_reward),
        }
        self._set_up(means, n_actions, parameter_variance, deterministic, seed)

    def _set_up(
        self,
        means: Mapping[str, float],
        n_actions: int,
        parameter_variance: float | Mapping[str, float],
        deterministic: bool,
        seed: int | None,
    ) -> None:
        self.n_actions = whole_number("n_actions", n_actions, 2)
        self.deterministic = bool(deterministic)
        self.state: dict[str, np.ndarray] = {}
        self.parameters: dict[str, float] = dict(means)
        self._means = dict(means)
        self._spread = _spread(parameter_variance, means)
        self._random = RandomSource(seed, stream=1)
        Agent.new_sess(self)

    @property
    def _n_actions(self) -> int:
        """SPICE's name of `n_actions`."""
        return self.n_actions

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of the current session."""
        return self._random.generator

    def new_sess(
        self,
        participant_id: int = 0,
        experiment_id: int = 0,
        additional_embedding_inputs: Any = None,
        sample_parameters: bool = False,
    ) -> None:
        """Start a session: all states return to their initial values.

        Parameters
        ----------
        participant_id, experiment_id, additional_embedding_inputs : optional
            Who is playing what; agents without participants ignore it.
        sample_parameters : bool, default False
            Whether to draw new parameters, rather than keep those of the last session.
        """
        self._random.new_session()
        if sample_parameters:
            self.parameters = self._sampled()
        self.state = {name: np.full(self.n_actions, value) for name, value in self._INITIAL.items()}

    def _sampled(self) -> dict[str, float]:
        return {name: self._draw(name, mean) for name, mean in self._means.items()}

    def _draw(self, name: str, mean: float) -> float:
        spread = abs(mean) / 2 if self._spread[name] == -1 else self._spread[name]
        low, high = sorted((0.0, 2 * mean)) if name.startswith("beta") else (0.0, 1.0)
        return float(np.clip(mean + spread * self.rng.standard_normal(), low, high))

    def get_choice_probs(self) -> np.ndarray:
        """Return the choice probabilities (A,), the softmax of `q`."""
        return softmax(self.q)

    def get_choice(self) -> int:
        """Choose an action, 0 to A - 1."""
        if self.deterministic:
            return int(np.argmax(self.q))
        passed = np.cumsum(self.get_choice_probs()) < self.rng.random()
        return min(int(passed.sum()), self.n_actions - 1)

    def update(self, choice: int, reward: Any, block: int = 0, additional_inputs: Any = None) -> None:
        """Learn from one trial.

        Parameters
        ----------
        choice : int
            0 to A - 1; -1 if there was none.
        reward : array of shape (A,), or float
            Rewards per action, NaN where not shown, or the reward of the chosen action alone.
        block, additional_inputs : optional
            What else belongs to the trial; agents that do not learn from it ignore it.

        Raises
        ------
        ConfigError
            The choice is not one of the actions.
        DataError
            The rewards have the wrong shape.
        """
        chosen, rewards = self._read(choice, reward)
        self._learn(chosen, rewards)

    def _read(self, choice: object, reward: object) -> tuple[np.ndarray, np.ndarray]:
        """Return which action was chosen (A,) and the rewards (A,)."""
        index = action_index(choice, self.n_actions, missing=True)
        rewards = rewards_per_action(reward, index, self.n_actions, NOT_SHOWN)
        return np.arange(self.n_actions) == index, rewards

    def _learn(self, chosen: np.ndarray, rewards: np.ndarray) -> None:
        value = self.state["x_value_reward"]
        rate = np.where(chosen & ~np.isnan(rewards), self.parameters["alpha_reward"], 0.0)
        self.state["x_value_reward"] = value + rate * (np.where(rate > 0, rewards, value) - value)
        self.state["x_learning_rate_reward"] = rate

    def get_state_value(self, state: str, multiply_with_beta: bool = True) -> np.ndarray:
        """Return a state (A,); with ``multiply_with_beta``, times its inverse temperature if it has one.

        Raises
        ------
        ConfigError
            There is no such state.
        """
        if state not in self.state:
            raise ConfigError("the agent has no such state", got=repr(state), allowed=sorted(self.state))
        weight = self.parameters[self._BETAS[state]] if multiply_with_beta and state in self._BETAS else 1.0
        weighted: np.ndarray = weight * self.state[state]
        return weighted

    @property
    def q(self) -> np.ndarray:
        """Logits (A,) of the next choice."""
        logits: np.ndarray = np.sum([self.get_state_value(state) for state in self._BETAS], axis=0)
        return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities proportional to exp(logits) along the last axis.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = weight / weight.sum(axis=-1, keepdims=True)
    return probabilities


def finite(name: str, value: object) -> float:
    """Return a setting as a finite float of either sign."""
    return real_number(name, value, -_LARGEST)


def _spread(parameter_variance: float | Mapping[str, float], means: Mapping[str, float]) -> dict[str, float]:
    """Return the standard deviation of every parameter, -1 for half of its mean."""
    if isinstance(parameter_variance, Mapping):
        unknown = sorted(set(parameter_variance) - set(means))
        if unknown:
            raise ConfigError("parameter_variance has unknown parameters", got=unknown, allowed=sorted(means))
        given = {name: _deviation(name, value) for name, value in parameter_variance.items()}
        idle = [name for name, value in given.items() if name.startswith("beta") and value != 0 and means[name] == 0]
        if idle:
            raise ConfigError(
                "an inverse temperature of 0 is always drawn as 0", got=idle, do="give it a value, or no variance"
            )
        return dict.fromkeys(means, 0.0) | given
    common = _deviation("all parameters", parameter_variance)
    # a mechanism that is switched off stays off unless a dict says otherwise
    return {name: common if mean != 0 else 0.0 for name, mean in means.items()}


def _deviation(name: str, value: object) -> float:
    if value == -1 and not isinstance(value, bool):
        return -1.0
    return real_number(f"parameter_variance of {name}", value, 0)
