"""The tutorial's two agents on its drifting bandit, in plain numpy and independent of both libraries."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

INITIAL_VALUE = 0.5
DRIFT = 0.2


@dataclass(frozen=True)
class Truth:
    """Chosen: V <- V + alpha (r - V). Not chosen: V <- constant + slope V. P(choice) ~ exp(beta V)."""

    alpha: float
    constant: float
    slope: float
    beta: float


TRUTH = (Truth(alpha=0.8, constant=0.1, slope=0.8, beta=3.0), Truth(alpha=0.2, constant=0.0, slope=1.0, beta=3.0))
"""Participant 0 forgets towards 0.5 at rate 0.2; participant 1 keeps the value that was not chosen."""


@dataclass(frozen=True)
class Choices:
    """One participant's data, arrays (S, T): choice and its reward, and the choice that came next."""

    choice: np.ndarray
    reward: np.ndarray
    target: np.ndarray


def simulate(truth: Truth, n_sessions: int, n_trials: int, rng: np.random.Generator) -> Choices:
    """Simulate sessions of ``n_trials`` + 1 choices on two arms whose reward probabilities drift within [0, 1]."""
    rows = np.arange(n_sessions)
    chance = rng.random((n_sessions, 2))
    value = np.full((n_sessions, 2), INITIAL_VALUE)
    choices = np.empty((n_sessions, n_trials + 1), dtype=np.int64)
    rewards = np.empty((n_sessions, n_trials + 1))
    for trial in range(n_trials + 1):
        first = expit(truth.beta * (value[:, 0] - value[:, 1]))
        choice = (rng.random(n_sessions) >= first).astype(np.int64)
        reward = (rng.random(n_sessions) < chance[rows, choice]).astype(float)
        chance = np.clip(chance + rng.normal(0.0, DRIFT, chance.shape), 0.0, 1.0)
        kept = truth.constant + truth.slope * value[rows, 1 - choice]
        value[rows, choice] += truth.alpha * (reward - value[rows, choice])
        value[rows, 1 - choice] = kept
        choices[:, trial], rewards[:, trial] = choice, reward
    return Choices(choices[:, :-1], rewards[:, :-1], choices[:, 1:])


def fresh_sessions(seed: int, participant: int, n_sessions: int = 4000, n_trials: int = 100) -> Choices:
    """New data of a participant of the tutorial, from a stream that no fit has seen."""
    rng = np.random.default_rng([20_240_404, seed, participant])
    return simulate(TRUTH[participant], n_sessions, n_trials, rng)


def features(data: Choices, participant: int, missing: float = np.nan) -> np.ndarray:
    """Features (S, T, 5) as the tutorial's: one-hot choice, rewards (``missing`` where not shown), participant."""
    chosen = np.eye(2)[data.choice]
    rewards = np.where(chosen == 1.0, data.reward[..., None], missing)
    ids = np.full((*data.choice.shape, 1), float(participant))
    return np.concatenate([chosen, rewards, ids], axis=-1).astype(np.float32)


def from_features(xs: np.ndarray, ys: np.ndarray) -> tuple[Choices, Choices]:
    """Split the tutorial's arrays (S, T, 5) and (S, T, 2) into its two participants."""
    choice = xs[..., :2].argmax(axis=-1)
    reward = np.take_along_axis(xs[..., 2:4], choice[..., None], axis=-1)[..., 0].astype(float)
    target = ys.argmax(axis=-1)
    own = [xs[:, 0, -1] == participant for participant in range(2)]
    first, second = (Choices(choice[rows], reward[rows], target[rows]) for rows in own)
    return first, second
