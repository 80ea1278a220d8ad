"""Cohorts of learners with known covariate effects, simulated for all participants at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat._display import html_block, screen, shortlist
from spicestat.errors import ConfigError
from spicestat.simulate.base_environment import TaskSequences
from spicestat.simulate.drift import drifting_probabilities
from spicestat.simulate.learners import LEARNER_PARAMETERS, LearnerRun, checked_parameters, play
from spicestat.simulate.task_sequences import PlannedSequences
from spicestat.simulate.user_environment import as_environment

__all__ = ["DEFAULT_PARAMETERS", "Cohort", "Parameter", "simulate_cohort"]

_DEFAULT_N_ACTIONS = 2


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
    """Simulated trials and the truth behind them.

    Attributes
    ----------
    trials : DataFrame
        ``participant, block, trial, choice, reward``; choices are 1 to A, rewards 0 or 1. If the environment
        shows rewards of actions not chosen, ``reward_1`` to ``reward_A`` in place of ``reward``.
    people : DataFrame
        ``participant`` and the covariates ``anxiety`` (z-score), ``age`` (years), ``diagnosis``.
    truth : DataFrame
        ``participant, alpha, forget, beta``, and further parameters that were asked for.
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

    def __repr__(self) -> str:
        covariates = list(self.people.columns.drop("participant"))
        text = (
            f"<Cohort: {len(self.people)} participants, {len(self.trials)} trials; "
            f"covariates: {shortlist(covariates)}; parameters: {shortlist(list(self.parameters))}>"
        )
        return screen(text, ".trials, .people and .truth")

    def _repr_html_(self) -> str:
        title = f"Cohort: {len(self.people)} participants, {len(self.trials)} trials"
        return html_block(title, [f"true parameters: {shortlist(list(self.parameters))}"], self.trials)

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
    n_actions: int = _DEFAULT_N_ACTIONS,
    sigma: float = 0.2,
    parameters: Mapping[str, Parameter] = DEFAULT_PARAMETERS,
    seed: int = 0,
    environment: Any = None,
) -> Cohort:
    r"""Simulate Q-learners with forgetting on drifting bandits, or other learners and environments.

    Chosen action: :math:`V \leftarrow V + \alpha (r - V)`; others:
    :math:`V \leftarrow V + f (.5 - V)`; choice by softmax(beta V); values start at .5 in each block.
    `simulate_learners` explains further parameters.

    Parameters
    ----------
    n_participants : int
        At least 2.
    n_trials : int
        Trials per participant, over all blocks; a multiple of ``n_blocks``.
    n_blocks, n_actions : int
        Blocks per participant, actions.
    sigma : float
        Step of the drift of reward probabilities; not used with an ``environment``.
    parameters : mapping of str to Parameter
        Distributions of ``alpha``, ``forget`` and ``beta``, and of any other of `LEARNER_PARAMETERS`, such as
        ``alpha_penalty``, ``perseverance``, ``persistence`` or ``counterfactual``.
    seed : int
        The same seed gives the same cohort.
    environment : Bandits, or what `as_environment` takes, optional
        The task; it starts anew in every block and determines the number of actions. Default: reward
        probabilities of `drifting_probabilities`.

    Raises
    ------
    ConfigError
        A size is too small, a parameter or covariate is unknown, or a drawn parameter is out of range.

    Examples
    --------
    >>> cohort = simulate_cohort(5, 40, seed=1)
    >>> cohort.trials.shape, list(cohort.people)
    ((200, 5), ['participant', 'anxiety', 'age', 'diagnosis'])

    >>> from spicestat.simulate import BanditsFlip
    >>> perseverating = dict(DEFAULT_PARAMETERS) | {"perseverance": Parameter(0.8, 0.2, low=-5.0, high=5.0)}
    >>> list(simulate_cohort(5, 40, parameters=perseverating, environment=BanditsFlip()).truth)
    ['participant', 'alpha', 'forget', 'beta', 'perseverance']
    """
    for name, size in {"n_participants": n_participants, "n_trials": n_trials, "n_blocks": n_blocks}.items():
        whole_number(name, size, 1)
    whole_number("n_actions", n_actions, 2)
    task = None if environment is None else as_environment(environment)
    if task is not None:
        n_actions = _agreed(n_actions, task.n_actions)
    if n_participants < 2 or n_actions < 2 or n_blocks < 1 or n_trials < 2 * n_blocks or n_trials % n_blocks:
        raise ConfigError(
            "the cohort's sizes do not fit",
            got={"n_participants": n_participants, "n_trials": n_trials, "n_blocks": n_blocks, "n_actions": n_actions},
            allowed="2 or more participants and actions, n_trials a multiple of n_blocks with 2 or more per block",
        )
    rng = np.random.default_rng(seed_number(seed))
    people = _draw_people(rng, n_participants)
    truth = _draw_truth(rng, people, parameters)
    per_sequence = {name: np.repeat(values, n_blocks) for name, values in checked_parameters(truth).items()}
    n_sequences, n_steps = n_participants * n_blocks, n_trials // n_blocks
    if task is None:
        planned = drifting_probabilities(rng, n_sequences, n_steps, n_actions, sigma)
        sequences: TaskSequences = PlannedSequences(planned, rng)
    else:
        sequences = task.vectorized(n_sequences, rng)
    run = play(per_sequence, sequences, n_steps, n_actions, rng)
    trials = _long_table(people["participant"], run, n_blocks)
    return Cohort(trials, people, truth, parameters, run.chosen_probabilities.ravel())


def _agreed(n_actions: int, of_task: int) -> int:
    if n_actions not in (_DEFAULT_N_ACTIONS, of_task):
        raise ConfigError("the environment has a different number of actions", got=of_task, allowed=n_actions)
    return of_task


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
    further = [name for name in LEARNER_PARAMETERS if name not in DEFAULT_PARAMETERS]
    if set(parameters) - set(further) != set(DEFAULT_PARAMETERS):
        raise ConfigError(
            "unknown or missing parameters",
            got=sorted(parameters),
            allowed=f"{', '.join(DEFAULT_PARAMETERS)}, and any of {', '.join(further)}",
        )
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


def _long_table(participant: pd.Series, run: LearnerRun, n_blocks: int) -> pd.DataFrame:
    n_sequences, n_trials = run.choices.shape
    return pd.DataFrame(
        {
            # repeated as it is stored: going through Python strings takes seconds for millions of rows
            "participant": participant.array.repeat(n_blocks * n_trials),
            "block": np.repeat(np.tile(np.arange(1, n_blocks + 1), len(participant)), n_trials),
            "trial": np.tile(np.arange(1, n_trials + 1), n_sequences),
            "choice": run.choices.ravel() + 1,
            **_reward_columns(run),
        }
    )


def _reward_columns(run: LearnerRun) -> dict[str, np.ndarray]:
    """One column of the chosen actions' rewards, or one per action if others were shown too."""
    n_actions = run.rewards.shape[-1]
    n_shown = np.count_nonzero(~np.isnan(run.rewards))
    chosen = run.chosen_rewards
    if n_shown == np.count_nonzero(~np.isnan(chosen)):
        return {"reward": _whole(chosen.ravel())}
    return {f"reward_{action + 1}": _whole(run.rewards[..., action].ravel()) for action in range(n_actions)}


def _whole(values: np.ndarray) -> np.ndarray:
    """Return integers if that changes nothing."""
    if np.isnan(values).any() or (values != np.rint(values)).any():
        return values
    return values.astype("int64")
