"""The study's participants, in plain numpy: four mechanisms on a drifting two-armed bandit."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from spicestat.simulate import drifting_probabilities

MECHANISMS = ("Rescorla-Wagner", "forgetting", "perseveration", "asymmetric")
RW, FORGETTING, PERSEVERATION, ASYMMETRIC = range(4)

RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "everybody": {"alpha": (0.3, 0.7), "beta": (3.0, 6.0)},
    "forgetting": {"forget": (0.2, 0.6)},
    "perseveration": {"perseverance": (0.7, 1.5), "persistence": (0.2, 0.6)},
    "asymmetric": {"alpha": (0.6, 0.9), "alpha_penalty": (0.1, 0.3)},
}
"""Uniform ranges of the effects; what is not named is absent. They are part of the claim."""

DRIFT = 0.1
BLOCK = 100
"""Trials of a block; learning starts afresh in each."""

INITIAL_VALUE = 0.5


@dataclass(frozen=True, eq=False)
class Cohort:
    """P participants with B blocks of T choices each.

    mechanism (P,): position in `MECHANISMS`. parameters: {name: (P,)}, by the names of `simulate_learners`.
    choices, rewards (P, B, T).
    """

    mechanism: np.ndarray
    parameters: dict[str, np.ndarray]
    choices: np.ndarray
    rewards: np.ndarray


def make_cohort(seed: int, n_participants: int = 64, n_blocks: int = 4, n_trials: int = BLOCK) -> Cohort:
    """Draw participants, a quarter from each mechanism, and let them play."""
    rng = np.random.default_rng([20_240_505, seed])
    mechanism = np.repeat(np.arange(4), n_participants // 4)
    parameters = draw_parameters(mechanism, rng)
    per_block = {name: np.repeat(values, n_blocks) for name, values in parameters.items()}
    choices, rewards = play(per_block, n_trials, rng)
    shape = (len(mechanism), n_blocks, n_trials)
    return Cohort(mechanism, parameters, choices.reshape(shape), rewards.reshape(shape))


def draw_parameters(mechanism: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw parameters (P,) from `RANGES`."""

    def draw(name: str, whose: str) -> np.ndarray:
        return rng.uniform(*RANGES[whose][name], size=len(mechanism))

    def only(kind: int, name: str) -> np.ndarray:
        return np.where(mechanism == kind, draw(name, MECHANISMS[kind]), 0.0)

    alpha = np.where(mechanism == ASYMMETRIC, draw("alpha", "asymmetric"), draw("alpha", "everybody"))
    return {
        "alpha": alpha,
        "alpha_penalty": np.where(mechanism == ASYMMETRIC, draw("alpha_penalty", "asymmetric"), alpha),
        "beta": draw("beta", "everybody"),
        "forget": only(FORGETTING, "forget"),
        "perseverance": only(PERSEVERATION, "perseverance"),
        "persistence": only(PERSEVERATION, "persistence"),
    }


def play(parameters: dict[str, np.ndarray], n_trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choices and rewards (S, T) of S learners on arms that pay 0 or 1, with probabilities that drift."""
    own = {name: values[:, None] for name, values in parameters.items()}
    rows = np.arange(len(own["alpha"]))
    chance = drifting_probabilities(rng, len(rows), n_trials, 2, DRIFT)
    value, trace = np.full((len(rows), 2), INITIAL_VALUE), np.zeros((len(rows), 2))
    choices, rewards = np.empty((len(rows), n_trials), dtype=np.int64), np.empty((len(rows), n_trials))
    for trial in range(n_trials):
        logits = own["beta"] * value + trace
        choice = (rng.random(len(rows)) < expit(logits[:, 1] - logits[:, 0])).astype(np.int64)
        reward = (rng.random(len(rows)) < chance[rows, trial, choice]).astype(float)
        chosen = np.eye(2)[choice]
        rate = np.where(reward[:, None] > 0, own["alpha"], own["alpha_penalty"])
        target = np.where(chosen > 0, reward[:, None], INITIAL_VALUE)
        value = value + np.where(chosen > 0, rate, own["forget"]) * (target - value)
        trace = own["persistence"] * trace + own["perseverance"] * chosen
        choices[:, trial], rewards[:, trial] = choice, reward
    return choices, rewards


def arrays(cohort: Cohort, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (S, T, 5) and targets (S, T, 2) of everybody's first ``n_blocks`` blocks, as `SpiceEstimator` reads."""
    n_participants, _, n_trials = cohort.choices.shape
    choices, rewards = (part[:, :n_blocks].reshape(-1, n_trials) for part in (cohort.choices, cohort.rewards))
    chosen = np.eye(2)[choices]
    shown = np.where(chosen > 0, rewards[..., None], np.nan)
    who = np.repeat(np.arange(float(n_participants)), n_blocks)
    ids = np.broadcast_to(who[:, None, None], (*choices.shape, 1))
    return np.concatenate([chosen, shown, ids], axis=-1)[:, :-1], chosen[:, 1:]
