"""Learners for many sequences at once: the mechanisms of `AgentQ` with one set of parameters per participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.simulate.base_agent import INITIAL_VALUE, NOT_SHOWN
from spicestat.simulate.base_environment import TaskSequences
from spicestat.simulate.user_environment import as_environment

__all__ = [
    "LEARNER_PARAMETERS",
    "LearnerRun",
    "checked_parameters",
    "learner_parameters",
    "play",
    "replay_learners",
    "simulate_learners",
]

LEARNER_PARAMETERS: Mapping[str, str | float | None] = {
    "alpha": None,
    "beta": None,
    "alpha_penalty": "alpha",
    "forget": 0.0,
    "perseverance": 0.0,
    "persistence": 0.0,
    "counterfactual": 0.0,
    "counterfactual_penalty": "counterfactual",
    "beta_counterfactual": 0.0,
}
"""Parameters and what holds where one is not given: a number, another parameter, or None if it must be given."""

_PENALTY = 0.5  # rewards below it are penalties
_UNBOUNDED = ("beta", "perseverance", "beta_counterfactual")


@dataclass(frozen=True, eq=False)
class LearnerRun:
    """Choices and rewards of S simulated sequences of T trials.

    Attributes
    ----------
    choices : int ndarray of shape (S, T)
        Actions from 0.
    rewards : ndarray of shape (S, T, A)
        Rewards, NaN where not shown.
    probabilities : ndarray of shape (S, T, A)
        Probabilities of the actions before each choice.
    """

    choices: np.ndarray
    rewards: np.ndarray
    probabilities: np.ndarray

    def __repr__(self) -> str:
        sequences, trials, actions = self.rewards.shape
        return f"<LearnerRun: {sequences} sequences of {trials} trials, {actions} actions>"

    @property
    def chosen_rewards(self) -> np.ndarray:
        """Rewards of the chosen actions, shape (S, T)."""
        return _at_choices(self.rewards, self.choices)

    @property
    def chosen_probabilities(self) -> np.ndarray:
        """Probabilities of the choices that were made, shape (S, T)."""
        return _at_choices(self.probabilities, self.choices)


def simulate_learners(
    parameters: pd.DataFrame | Mapping[str, Any],
    environment: Any,
    n_trials: int,
    n_blocks: int = 1,
    seed: int | np.random.Generator = 0,
) -> LearnerRun:
    r"""Let N learners play an environment, all at the same time.

    The mechanisms are those of `AgentQ`, with the choice kernel as a trace that is added to the logits, as in
    `spicestat.models.precoded.ChoiceRNN`: :math:`C_a \leftarrow d\, C_a + p\, [a = \text{choice}]` and
    :math:`\mathrm{logit}_a = \beta V_a + \beta_W W_a + C_a`. See `learner_parameters` for the translation.

    Parameters
    ----------
    parameters : DataFrame, or mapping of str to array of shape (N,) or float
        ``alpha`` and ``beta`` are required. Learning rates: ``alpha`` from rewards of .5 or more,
        ``alpha_penalty`` (default: alpha) from lower ones, ``counterfactual`` (0) and
        ``counterfactual_penalty`` (default: counterfactual) for actions not chosen. ``forget`` (0): rate at
        which values not chosen return to .5. ``perseverance`` (0) and ``persistence`` (0): increment p and
        decay factor d of the choice trace. ``beta`` and ``beta_counterfactual`` (0): weights of V and W.
        Rates and persistence lie between 0 and 1, and so does the sum of forget and a counterfactual rate. A column
        ``participant`` is ignored.
    environment : Bandits, or what `as_environment` takes
        The task; it starts anew for every sequence. An environment of your own runs as one copy per sequence, which is
        slow.
    n_trials : int
        Trials T per block.
    n_blocks : int, default 1
        Blocks per learner, in each of which learning starts afresh.
    seed : int or Generator, default 0
        The same seed gives the same run.

    Returns
    -------
    LearnerRun
        ``S = N * n_blocks`` sequences, the blocks of a learner next to each other.

    Raises
    ------
    ConfigError
        A parameter is unknown, missing or out of range.
    ShapeError
        Parameters differ in length.

    Examples
    --------
    >>> from spicestat.simulate import BanditsDrift
    >>> run = simulate_learners({"alpha": [0.2, 0.8], "beta": 3.0}, BanditsDrift(0.2), 100, n_blocks=5, seed=1)
    >>> run.choices.shape, run.rewards.shape
    ((10, 100), (10, 100, 2))
    """
    n_trials, n_blocks = whole_number("n_trials", n_trials, 1), whole_number("n_blocks", n_blocks, 1)
    checked = checked_parameters(parameters)
    per_sequence = {name: np.repeat(values, n_blocks) for name, values in checked.items()}
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed_number(seed))
    task = as_environment(environment)
    sequences = task.vectorized(len(per_sequence["alpha"]), rng)
    return play(per_sequence, sequences, n_trials, task.n_actions, rng)


def replay_learners(
    parameters: pd.DataFrame | Mapping[str, Any], choices: np.ndarray, rewards: np.ndarray
) -> np.ndarray:
    """Return the probabilities that learners would have given to all actions before each of S x T choices.

    Parameters
    ----------
    parameters : DataFrame, or mapping of str to array of shape (S,) or float
        As in `simulate_learners`, one learner per sequence.
    choices : int array of shape (S, T)
        Actions from 0; -1 for a missed trial.
    rewards : array of shape (S, T, A)
        Rewards, NaN where not shown.

    Returns
    -------
    ndarray of shape (S, T, A)

    Raises
    ------
    ConfigError, ShapeError
        As in `simulate_learners`; or choices and rewards do not fit each other or the parameters.
    DataError
        A choice is not one of the actions.

    Examples
    --------
    >>> rewards = np.array([[[1.0, np.nan], [np.nan, 0.0]]])
    >>> replay_learners({"alpha": 0.5, "beta": 4.0}, np.array([[0, 1]]), rewards).round(2)
    array([[[0.5 , 0.5 ],
            [0.73, 0.27]]])
    """
    choices, rewards = np.asarray(choices), np.asarray(rewards, dtype="float64")
    if rewards.ndim != 3 or choices.shape != rewards.shape[:2]:
        raise ShapeError("choices must be (S, T) and rewards (S, T, A)", got=(choices.shape, rewards.shape))
    n_sequences, n_trials, n_actions = rewards.shape
    if not np.isin(choices, np.arange(-1, n_actions)).all():
        raise DataError("a choice is not one of the actions", got=np.unique(choices), allowed=f"-1 to {n_actions - 1}")
    checked = checked_parameters(parameters)
    if len(checked["alpha"]) not in (1, n_sequences):
        raise ShapeError("there must be one learner per sequence", got=len(checked["alpha"]), allowed=n_sequences)
    checked = {name: np.broadcast_to(values, n_sequences) for name, values in checked.items()}
    learners = _Learners(checked, n_actions)
    probabilities = np.empty(rewards.shape)
    for trial in range(n_trials):
        probabilities[:, trial] = learners.probabilities().T
        learners.update(choices[:, trial], rewards[:, trial].T)
    return probabilities


def learner_parameters(agent_parameters: pd.DataFrame | Mapping[str, Any]) -> dict[str, Any]:
    """Translate the parameters of `AgentQ` into those of `simulate_learners`.

    The choice kernel of rate a and weight b is the trace with persistence 1 - a and perseverance a b.

    Parameters
    ----------
    agent_parameters : DataFrame or mapping
        The names of `AgentQ`, such as ``agent.parameters``.

    Returns
    -------
    dict

    Examples
    --------
    >>> from spicestat.simulate import AgentQ
    >>> parameters = learner_parameters(AgentQ(beta_choice=2.0, alpha_choice=0.25).parameters)
    >>> parameters["perseverance"], parameters["persistence"]
    (0.5, 0.75)
    """
    names = {
        "alpha": "alpha_reward",
        "beta": "beta_reward",
        "alpha_penalty": "alpha_penalty",
        "forget": "forget_rate",
        "counterfactual": "alpha_counterfactual_reward",
        "counterfactual_penalty": "alpha_counterfactual_penalty",
        "beta_counterfactual": "beta_counterfactual",
    }
    translated = {ours: agent_parameters[theirs] for ours, theirs in names.items() if theirs in agent_parameters}
    if "beta_choice" in agent_parameters:
        rate = agent_parameters["alpha_choice"]
        translated |= {"perseverance": rate * agent_parameters["beta_choice"], "persistence": 1 - rate}
    return translated


def checked_parameters(parameters: pd.DataFrame | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return all of `LEARNER_PARAMETERS` as arrays of one length, checked."""
    given_names = [str(name) for name in parameters if name != "participant"]
    missing = [name for name, default in LEARNER_PARAMETERS.items() if default is None and name not in given_names]
    if missing or set(given_names) - set(LEARNER_PARAMETERS):
        raise ConfigError("unknown or missing parameters", got=given_names, allowed=", ".join(LEARNER_PARAMETERS))
    arrays: dict[str, np.ndarray] = {}
    for name, default in LEARNER_PARAMETERS.items():
        given = parameters[name] if name in parameters else arrays.get(str(default), default)
        arrays[name] = np.atleast_1d(np.asarray(given, dtype="float64"))
    lengths = {len(values) for values in arrays.values()} - {1}
    if len(lengths) > 1 or any(values.ndim != 1 for values in arrays.values()):
        raise ShapeError("the parameters differ in length", got=sorted(lengths), allowed="one value per learner")
    for name, values in arrays.items():
        _check_range(name, values)
    larger = np.maximum(arrays["counterfactual"], arrays["counterfactual_penalty"])
    if (larger + arrays["forget"] > 1).any():
        raise ConfigError(
            "forget and a counterfactual rate change the same values, so they must not exceed 1 together",
            got=float((larger + arrays["forget"]).max()),
        )
    if ((arrays["beta_counterfactual"] != 0) & (larger == 0)).any():
        raise ConfigError("beta_counterfactual has no effect without counterfactual learning")
    return dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))


def play(
    parameters: Mapping[str, np.ndarray],
    sequences: TaskSequences,
    n_trials: int,
    n_actions: int,
    rng: np.random.Generator,
) -> LearnerRun:
    """Play S sequences that have been started, with checked parameters of shape (S,)."""
    learners = _Learners(parameters, n_actions)
    n_sequences = len(parameters["alpha"])
    # trial first, as whole trials are written; turned round at the end
    choices = np.empty((n_trials, n_sequences), dtype="int64")
    rewards, probabilities = (np.empty((n_trials, n_actions, n_sequences)) for _ in range(2))
    for trial in range(n_trials):
        policy = learners.probabilities()
        passed = policy.cumsum(axis=0) < rng.random(n_sequences)
        chosen = np.minimum(passed.sum(axis=0), n_actions - 1)
        shown = sequences.step(chosen).T
        learners.update(chosen, shown)
        choices[trial], rewards[trial], probabilities[trial] = chosen, shown, policy
    return LearnerRun(choices.T, rewards.transpose(2, 0, 1), probabilities.transpose(2, 0, 1))


class _Learners:
    """States of S learners with A actions, arrays of shape (A, S); mechanisms that nobody uses cost nothing."""

    def __init__(self, parameters: Mapping[str, np.ndarray], n_actions: int) -> None:
        self._of = parameters
        self._columns = np.arange(len(parameters["alpha"]))
        self._actions = np.arange(n_actions)[:, None]
        shape = (n_actions, len(self._columns))
        self._value = np.full(shape, INITIAL_VALUE)
        self._foregone = np.full(shape, INITIAL_VALUE)
        self._trace = np.zeros(shape)
        self._has_trace = bool(parameters["perseverance"].any())
        self._has_counterfactual = bool(
            parameters["counterfactual"].any() or parameters["counterfactual_penalty"].any()
        )

    def probabilities(self) -> np.ndarray:
        """Choice probabilities (A, S)."""
        logits = self._of["beta"] * (self._value - self._value.max(axis=0))
        if self._has_counterfactual:
            logits += self._of["beta_counterfactual"] * self._foregone
        if self._has_trace:
            logits += self._trace
        if self._has_trace or self._has_counterfactual or (self._of["beta"] < 0).any():
            logits -= logits.max(axis=0)
        weight = np.exp(logits)
        policy: np.ndarray = weight / weight.sum(axis=0)
        return policy

    def update(self, choices: np.ndarray, rewards: np.ndarray) -> None:
        """Learn from choices (S,), -1 for none, and rewards (A, S), NaN where not shown."""
        made = choices >= 0
        cells = (choices, self._columns) if made.all() else (choices[made], self._columns[made])
        received = np.full(len(choices), np.nan)
        received[cells[1]] = rewards[cells]
        learned = self._learned(choices, received)
        changed = self._value + self._of["forget"] * (INITIAL_VALUE - self._value)
        if self._has_counterfactual:
            outcome, rate = self._counterfactual(received, rewards)
            changed += rate * (outcome - self._value)
            kept = self._foregone[cells]
            self._foregone += rate * (outcome - self._foregone)
            self._foregone[cells] = kept
        changed[cells] = learned[cells[1]]
        self._value = changed
        if self._has_trace:
            self._trace *= self._of["persistence"]
            self._trace[cells] += self._of["perseverance"][cells[1]]

    def _learned(self, choices: np.ndarray, received: np.ndarray) -> np.ndarray:
        """Values (S,) of the chosen actions after the trial; anything where there was no choice."""
        old = self._value[choices, self._columns]
        rate = np.where(received < _PENALTY, self._of["alpha_penalty"], self._of["alpha"])
        learned: np.ndarray = np.where(np.isnan(received), old, old + rate * (received - old))
        return learned

    def _counterfactual(self, received: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return foregone outcomes and their rates (A, S), as if no action had been chosen."""
        shown = ~np.isnan(rewards) & (rewards != NOT_SHOWN)
        outcome = np.where(shown, rewards, 1 - received)
        deciding = np.where(shown, rewards, received)
        rate = np.where(deciding < _PENALTY, self._of["counterfactual_penalty"], self._of["counterfactual"])
        unknown = np.isnan(outcome)
        rate[unknown], outcome[unknown] = 0.0, 0.0
        return outcome, rate


def _check_range(name: str, values: np.ndarray) -> None:
    low, high = (-np.inf, np.inf) if name in _UNBOUNDED else (0.0, 1.0)
    wrong = ~np.isfinite(values) | (values < low) | (values > high)
    if wrong.any():
        allowed = "finite numbers" if name in _UNBOUNDED else "0 to 1"
        raise ConfigError(f"{name} is out of range", got=values[wrong][:5].tolist(), allowed=allowed)


def _at_choices(values: np.ndarray, choices: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = np.take_along_axis(values, choices[..., None], axis=-1)[..., 0]
    return chosen
