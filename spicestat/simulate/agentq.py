"""AgentQ: the learner with asymmetric, counterfactual and forgetting rates and a choice kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from spicestat._checks import real_number
from spicestat.errors import ConfigError
from spicestat.simulate.arguments import probability
from spicestat.simulate.base_agent import INITIAL_VALUE, Agent, finite

__all__ = ["Agent", "AgentQ", "AgentQSampleZeros"]

_PENALTY = 0.5  # rewards below it are penalties


class AgentQ(Agent):
    r"""A learner with asymmetric rates, forgetting, counterfactual learning and choice perseveration.

    With reward r of the chosen action c, and foregone reward :math:`u_a` of another one:

    .. math::

        V_c &\leftarrow V_c + \alpha_{r} (r - V_c) \\
        V_a &\leftarrow V_a + \alpha'_{a} (u_a - V_a) + f (.5 - V_a), \quad a \neq c \\
        W_a &\leftarrow W_a + \alpha'_{a} (u_a - W_a), \quad a \neq c \\
        C_a &\leftarrow C_a + \alpha_C ([a = c] - C_a) \\
        \mathrm{logit}_a &= \beta V_a + \beta_W W_a + \beta_C C_a

    V and W start at .5, C at 0. Where the foregone reward was shown, it is :math:`u_a` and decides between the two
    counterfactual rates. Where it was not, :math:`u_a = 1 - r`, and r decides, as in Eckstein et al. (2022),
    doi:10.1016/j.dcn.2022.101106. Rewards are taken to lie between 0 and 1. If r is missing, what depends on it stays;
    forgetting and the choice kernel go on. The choice kernel is that of Lau & Glimcher (2005),
    doi:10.1901/jeab.2005.110-04.

    Parameters
    ----------
    n_actions : int, default 2
        Number of actions A, 2 or more.
    beta_reward : float, default 3
        Inverse temperature, the weight of the values V in the logits.
    alpha_reward : float, default 0.2
        Learning rate from rewards of .5 or more, 0 to 1.
    alpha_penalty : float, default -1
        Learning rate from rewards below .5. Below 0: the same as ``alpha_reward``, even when that is sampled.
    beta_counterfactual : float, default 0
        Weight of W, which learns from foregone rewards only. Needs a counterfactual rate above 0.
    alpha_counterfactual_reward, alpha_counterfactual_penalty : float, default 0
        Counterfactual learning rates, 0 to 1.
    beta_choice : float, default 0
        Weight of the choice kernel C; above 0 for perseveration, below for alternation.
    alpha_choice : float, default 1
        Rate of the choice kernel, 0 to 1; with 1 only the last choice counts.
    forget_rate : float, default 0
        Rate at which values of actions not chosen return to .5, 0 to 1; together with a counterfactual rate
        at most 1.
    parameter_variance : float or dict of str to float, default 0
        See `Agent`. ``forget_rate`` is drawn up to 1 minus the larger counterfactual rate.
    deterministic : bool, default False
        Whether to choose the action with the largest logit, rather than draw one by its probability.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Attributes
    ----------
    state : dict of str to ndarray of shape (A,)
        ``x_value_reward`` (V), ``x_value_counterfactual`` (W), ``x_value_choice`` (C) and
        ``x_learning_rate_reward`` (the rates of the last trial, 0 where nothing was learned).
    parameters : dict of str to float
        The parameters of this session.

    Raises
    ------
    ConfigError
        A parameter is out of range or has no effect.

    Examples
    --------
    >>> agent = AgentQ(alpha_reward=0.8, forget_rate=0.2, beta_choice=0.5, seed=1)
    >>> agent.update(0, np.array([1.0, np.nan]))
    >>> agent.update(1, np.array([np.nan, 0.0]))
    >>> agent.state["x_value_reward"].round(3), agent.q.round(3)
    (array([0.82, 0.1 ]), array([2.46, 0.8 ]))
    """

    _BETAS: ClassVar[Mapping[str, str]] = {
        "x_value_reward": "beta_reward",
        "x_value_counterfactual": "beta_counterfactual",
        "x_value_choice": "beta_choice",
    }
    _INITIAL: ClassVar[Mapping[str, float]] = {**Agent._INITIAL, "x_value_counterfactual": INITIAL_VALUE}

    def __init__(
        self,
        n_actions: int = 2,
        beta_reward: float = 3.0,
        alpha_reward: float = 0.2,
        alpha_penalty: float = -1,
        beta_counterfactual: float = 0.0,
        alpha_counterfactual_reward: float = 0.0,
        alpha_counterfactual_penalty: float = 0.0,
        beta_choice: float = 0.0,
        alpha_choice: float = 1.0,
        forget_rate: float = 0.0,
        parameter_variance: float | Mapping[str, float] = 0.0,
        deterministic: bool = False,
        seed: int | None = None,
    ) -> None:
        reward_rate = probability("alpha_reward", alpha_reward)
        self._symmetric = finite("alpha_penalty", alpha_penalty) < 0
        means = {
            "beta_reward": finite("beta_reward", beta_reward),
            "alpha_reward": reward_rate,
            "alpha_penalty": reward_rate if self._symmetric else probability("alpha_penalty", alpha_penalty),
            "beta_counterfactual": finite("beta_counterfactual", beta_counterfactual),
            "alpha_counterfactual_reward": probability("alpha_counterfactual_reward", alpha_counterfactual_reward),
            "alpha_counterfactual_penalty": probability("alpha_counterfactual_penalty", alpha_counterfactual_penalty),
            "beta_choice": finite("beta_choice", beta_choice),
            "alpha_choice": probability("alpha_choice", alpha_choice),
            "forget_rate": probability("forget_rate", forget_rate),
        }
        self._check(means, parameter_variance)
        self._set_up(means, n_actions, parameter_variance, deterministic, seed)

    def _check(self, means: Mapping[str, float], parameter_variance: float | Mapping[str, float]) -> None:
        counterfactual = _larger_counterfactual(means)
        if counterfactual + means["forget_rate"] > 1:
            raise ConfigError(
                "forget_rate and a counterfactual rate change the same values, so they must not exceed 1 together",
                got=f"{means['forget_rate']:g} + {counterfactual:g}",
            )
        if means["beta_counterfactual"] != 0 and counterfactual == 0:
            raise ConfigError(
                "beta_counterfactual has no effect without counterfactual learning",
                do="set alpha_counterfactual_reward or alpha_counterfactual_penalty above 0",
            )
        if self._symmetric and isinstance(parameter_variance, Mapping) and "alpha_penalty" in parameter_variance:
            raise ConfigError(
                "alpha_penalty has a variance but is the same as alpha_reward", do="set alpha_penalty, 0 or more"
            )

    def _sampled(self) -> dict[str, float]:
        drawn = super()._sampled()
        if self._symmetric:
            drawn["alpha_penalty"] = drawn["alpha_reward"]
        drawn["forget_rate"] = min(drawn["forget_rate"], 1 - _larger_counterfactual(drawn))
        return drawn

    def _learn(self, chosen: np.ndarray, rewards: np.ndarray) -> None:
        received = rewards[chosen][0] if chosen.any() else np.nan
        shown = chosen | ~np.isnan(rewards)
        outcome = np.where(shown, rewards, 1 - received)
        deciding = np.where(shown, rewards, received)
        rate = np.where(chosen, self._rate("alpha", deciding), self._rate("alpha_counterfactual", deciding))
        unknown = np.isnan(outcome)
        rate[unknown], outcome[unknown] = 0.0, 0.0
        self._learn_values(chosen, rate, outcome)
        trace = self.state["x_value_choice"]
        self.state["x_value_choice"] = trace + self.parameters["alpha_choice"] * (chosen - trace)
        self.state["x_learning_rate_reward"] = rate

    def _rate(self, stem: str, rewards: np.ndarray) -> np.ndarray:
        good, bad = self.parameters[f"{stem}_reward"], self.parameters[f"{stem}_penalty"]
        return np.where(rewards < _PENALTY, bad, good)

    def _learn_values(self, chosen: np.ndarray, rate: np.ndarray, outcome: np.ndarray) -> None:
        value, foregone = self.state["x_value_reward"], self.state["x_value_counterfactual"]
        forgetting = np.where(chosen, 0.0, self.parameters["forget_rate"] * (INITIAL_VALUE - value))
        self.state["x_value_reward"] = value + rate * (outcome - value) + forgetting
        self.state["x_value_counterfactual"] = foregone + np.where(chosen, 0.0, rate) * (outcome - foregone)


class AgentQSampleZeros(AgentQ):
    """An `AgentQ` whose sampled parameters are uniform and often exactly zero.

    ``new_sess(sample_parameters=True)`` draws ``beta_reward`` and ``beta_choice`` from 0 to twice the given
    value, ``forget_rate``, ``alpha_reward`` and ``alpha_penalty`` from 0 to 1 (``forget_rate`` to 1 minus the larger
    counterfactual rate). Inverse temperatures below ``zero_threshold`` of their range and forgetting rates below
    ``zero_threshold`` become 0, though never both inverse temperatures; learning rates that are less than
    ``zero_threshold`` apart become equal. The other parameters stay as given.

    Parameters
    ----------
    n_actions, beta_reward, alpha_reward, alpha_penalty, beta_counterfactual : optional
        As in `AgentQ`.
    alpha_counterfactual_reward, alpha_counterfactual_penalty : optional
        As in `AgentQ`.
    beta_choice, alpha_choice, forget_rate, deterministic, seed : optional
        As in `AgentQ`.
    zero_threshold : float, default 0.1
        0 or more, below 1.

    Raises
    ------
    ConfigError
        A parameter is out of range, or both inverse temperatures are 0.

    Examples
    --------
    >>> agent = AgentQSampleZeros(beta_choice=1.0, seed=5)
    >>> agent.new_sess(sample_parameters=True)
    >>> {name: round(value, 2) for name, value in agent.parameters.items() if name.startswith("beta")}
    {'beta_reward': 4.65, 'beta_counterfactual': 0.0, 'beta_choice': 0.94}
    """

    def __init__(
        self,
        n_actions: int = 2,
        beta_reward: float = 3.0,
        alpha_reward: float = 0.2,
        alpha_penalty: float = -1,
        beta_counterfactual: float = 0.0,
        alpha_counterfactual_reward: float = 0.0,
        alpha_counterfactual_penalty: float = 0.0,
        beta_choice: float = 0.0,
        alpha_choice: float = 1.0,
        forget_rate: float = 0.0,
        zero_threshold: float = 0.1,
        deterministic: bool = False,
        seed: int | None = None,
    ) -> None:
        if beta_reward == 0 and beta_choice == 0:
            raise ConfigError("beta_reward and beta_choice are both 0, so nothing but zeros can be drawn")
        self._zero_threshold = real_number("zero_threshold", zero_threshold, 0, 1)
        super().__init__(
            n_actions,
            beta_reward,
            alpha_reward,
            alpha_penalty,
            beta_counterfactual,
            alpha_counterfactual_reward,
            alpha_counterfactual_penalty,
            beta_choice,
            alpha_choice,
            forget_rate,
            deterministic=deterministic,
            seed=seed,
        )

    def _sampled(self) -> dict[str, float]:
        limit = self._zero_threshold
        drawn = dict(self._means)
        names = [name for name in ("beta_reward", "beta_choice") if self._means[name] != 0]
        kept = np.zeros(len(names))
        while not kept.any():
            kept = self.rng.random(len(names))
            kept[kept <= limit] = 0.0
        drawn |= {name: float(2 * self._means[name] * share) for name, share in zip(names, kept, strict=True)}
        forget, reward_rate, penalty_rate = self.rng.random(3)
        if abs(reward_rate - penalty_rate) < limit:
            reward_rate = penalty_rate = (reward_rate + penalty_rate) / 2
        forget = forget * (1 - _larger_counterfactual(drawn)) if forget > limit else 0.0
        return drawn | {
            "forget_rate": float(forget),
            "alpha_reward": float(reward_rate),
            "alpha_penalty": float(penalty_rate),
        }


def _larger_counterfactual(parameters: Mapping[str, float]) -> float:
    return max(parameters["alpha_counterfactual_reward"], parameters["alpha_counterfactual_penalty"])
