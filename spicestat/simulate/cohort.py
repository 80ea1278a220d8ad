"""Cohorts of learners with known covariate effects, simulated for all participants at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError
from spicestat.simulate.bandits import drifting_probabilities

__all__ = ["DEFAULT_PARAMETERS", "Cohort", "Parameter", "simulate_cohort"]

_INITIAL_VALUE = 0.5


@dataclass(frozen=True)
class Parameter:
    """Distribution of one learning parameter over participants.

    ``theta_i = mean + sum_k effects[k] * covariate_ik + sd * e_i``, with e standard normal, then clipped
    to ``[low, high]``.
    """

    mean: float
    sd: float = 0.0
    effects: Mapping[str, float] = field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0


DEFAULT_PARAMETERS: Mapping[str, Parameter] = {
    "alpha": Parameter(0.45, 0.08, {"anxiety": 0.10}, 0.02, 0.98),
    "forget": Parameter(0.25, 0.05, {}, 0.0, 1.0),
    "beta": Parameter(5.0, 0.8, {}, 0.5, 20.0),
}
"""Learning rate (raised by anxiety), forgetting rate and inverse temperature of the demonstration cohort."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Simulated trials and what is true of them.

    Attributes
    ----------
    trials : DataFrame
        ``participant, block, trial, choice, reward``; choices are 1 to A, rewards 0 or 1.
    people : DataFrame
        ``participant`` and the covariates ``anxiety`` (z-score), ``age`` (years), ``diagnosis``.
    truth : DataFrame
        ``participant, alpha, forget, beta``.
    parameters : mapping
        The distributions that `truth` was drawn from.
    probability : ndarray of shape (rows of `trials`,)
        True probability of the choice that was made.
    """

    trials: pd.DataFrame
    people: pd.DataFrame
    truth: pd.DataFrame
    parameters: Mapping[str, Parameter]
    probability: np.ndarray

    @property
    def oracle_nll(self) -> float:
        """Mean negative log-likelihood per choice under the true parameters, first trials of blocks left out."""
        predicted = (self.trials["trial"] > 1).to_numpy()
        return float(-np.log(self.probability[predicted]).mean())


def simulate_cohort(
    n_participants: int = 40,
    n_trials: int = 200,
    *,
    n_blocks: int = 4,
    n_actions: int = 2,
    sigma: float = 0.2,
    parameters: Mapping[str, Parameter] = DEFAULT_PARAMETERS,
    seed: int = 0,
) -> Cohort:
    r"""Simulate Q-learners with forgetting on drifting bandits.

    Chosen action: :math:`V \leftarrow V + \alpha (r - V)`; others:
    :math:`V \leftarrow V + f (.5 - V)`; choice by softmax(beta V); values start at .5 in each block.

    Parameters
    ----------
    n_participants : int
        At least 2.
    n_trials : int
        Trials per participant, over all blocks; a multiple of ``n_blocks``.
    n_blocks, n_actions : int
        Blocks per participant, actions.
    sigma : float
        Step of the drift of reward probabilities.
    parameters : mapping of str to Parameter
        Distributions of ``alpha``, ``forget`` and ``beta``.
    seed : int
        The same seed gives the same cohort.

    Raises
    ------
    ConfigError
        A size is too small, or a parameter or covariate is unknown.

    Examples
    --------
    >>> cohort = simulate_cohort(5, 40, seed=1)
    >>> cohort.trials.shape, list(cohort.people)
    ((200, 5), ['participant', 'anxiety', 'age', 'diagnosis'])
    """
    if n_participants < 2 or n_actions < 2 or n_blocks < 1 or n_trials < 2 * n_blocks or n_trials % n_blocks:
        raise ConfigError(
            "the cohort's sizes do not fit",
            got={"n_participants": n_participants, "n_trials": n_trials, "n_blocks": n_blocks, "n_actions": n_actions},
            allowed="2 or more participants and actions, n_trials a multiple of n_blocks with 2 or more per block",
        )
    rng = np.random.default_rng(seed)
    people = _draw_people(rng, n_participants)
    truth = _draw_truth(rng, people, parameters)
    per_sequence = {name: np.repeat(truth[name].to_numpy(), n_blocks) for name in ("alpha", "forget", "beta")}
    reward_probability = drifting_probabilities(rng, n_participants * n_blocks, n_trials // n_blocks, n_actions, sigma)
    choice, reward, probability = _play(rng, reward_probability, **per_sequence)
    trials = _long_table(people["participant"], choice, reward, n_blocks)
    return Cohort(trials, people, truth, parameters, probability.ravel())


def _draw_people(rng: np.random.Generator, n_participants: int) -> pd.DataFrame:
    width = len(str(n_participants))
    anxiety = rng.normal(size=n_participants)
    return pd.DataFrame(
        {
            "participant": [f"p{number:0{width}d}" for number in range(1, n_participants + 1)],
            "anxiety": (anxiety - anxiety.mean()) / anxiety.std(ddof=1),
            "age": rng.integers(18, 66, size=n_participants),
            "diagnosis": rng.permutation(np.resize(["control", "patient"], n_participants)),
        }
    )


def _draw_truth(rng: np.random.Generator, people: pd.DataFrame, parameters: Mapping[str, Parameter]) -> pd.DataFrame:
    if set(parameters) != set(DEFAULT_PARAMETERS):
        raise ConfigError("unknown or missing parameters", got=sorted(parameters), allowed=sorted(DEFAULT_PARAMETERS))
    covariates = {
        "anxiety": people["anxiety"].to_numpy(),
        "age": people["age"].to_numpy(dtype="float64"),
        "diagnosis": (people["diagnosis"] == "patient").to_numpy(dtype="float64"),
    }
    truth = {"participant": people["participant"].to_numpy()}
    for name, parameter in parameters.items():
        unknown = sorted(set(parameter.effects) - set(covariates))
        if unknown:
            raise ConfigError(f"'{name}' has effects of unknown covariates", got=unknown, allowed=sorted(covariates))
        effect = sum(slope * covariates[covariate] for covariate, slope in parameter.effects.items())
        drawn = parameter.mean + effect + parameter.sd * rng.normal(size=len(people))
        truth[name] = np.clip(drawn, parameter.low, parameter.high)
    return pd.DataFrame(truth)


def _play(
    rng: np.random.Generator, reward_probability: np.ndarray, alpha: np.ndarray, forget: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return choices (S, T) from 0, rewards (S, T) and the probabilities of the choices (S, T)."""
    n_sequences, n_trials, n_actions = reward_probability.shape
    rows = np.arange(n_sequences)
    value = np.full((n_sequences, n_actions), _INITIAL_VALUE)
    choice = np.empty((n_sequences, n_trials), dtype="int64")
    reward, probability = np.empty((n_sequences, n_trials)), np.empty((n_sequences, n_trials))
    uniform = rng.uniform(size=(n_trials, 2, n_sequences))
    for trial in range(n_trials):
        weight = np.exp(beta[:, None] * (value - value.max(axis=1, keepdims=True)))
        policy = weight / weight.sum(axis=1, keepdims=True)
        below = policy.cumsum(axis=1) < uniform[trial, 0][:, None]
        chosen = np.minimum(below.sum(axis=1), n_actions - 1)
        paid = (uniform[trial, 1] < reward_probability[rows, trial, chosen]).astype("float64")
        updated = value[rows, chosen] + alpha * (paid - value[rows, chosen])
        value += forget[:, None] * (_INITIAL_VALUE - value)
        value[rows, chosen] = updated
        choice[:, trial], reward[:, trial], probability[:, trial] = chosen, paid, policy[rows, chosen]
    return choice, reward, probability


def _long_table(participant: pd.Series, choice: np.ndarray, reward: np.ndarray, n_blocks: int) -> pd.DataFrame:
    n_sequences, n_trials = choice.shape
    return pd.DataFrame(
        {
            "participant": np.repeat(participant.to_numpy(), n_blocks * n_trials),
            "block": np.repeat(np.tile(np.arange(1, n_blocks + 1), len(participant)), n_trials),
            "trial": np.tile(np.arange(1, n_trials + 1), n_sequences),
            "choice": choice.ravel() + 1,
            "reward": reward.ravel().astype("int64"),
        }
    )
