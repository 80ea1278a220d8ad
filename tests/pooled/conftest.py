from collections.abc import Callable

import numpy as np
import pytest

from spicestat.pooled.packed import Sessions, pack_sessions


def people_with_weights(
    n_people: int, n_blocks: int, n_trials: int, mean: list[float], sd: list[float], seed: int, n_actions: int = 2
) -> tuple[Sessions, np.ndarray]:
    """People whose logits are weights of the last choice, a trace (.5) of rewarded choices, and a constant."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(mean, sd, (n_people, 3))
    who = np.repeat(np.arange(n_people), n_blocks)
    n = len(who)
    last, rewarded = np.zeros((n, n_actions)), np.zeros((n, n_actions))
    choice, reward = np.zeros((n, n_trials), int), np.zeros((n, n_trials))
    second = np.eye(n_actions)[1]
    good = rng.integers(0, n_actions, n)
    for t in range(n_trials):
        odds = np.exp(weights[who, :1] * last + weights[who, 1:2] * rewarded + weights[who, 2:] * second)
        share = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
        choice[:, t] = (rng.random((n, 1)) > share[:, :-1]).sum(axis=1)
        reward[:, t] = rng.random(n) < np.where(choice[:, t] == good, 0.8, 0.3)
        last = np.eye(n_actions)[choice[:, t]]
        rewarded = 0.5 * rewarded + 0.5 * last * reward[:, t, None]
    return pack_sessions(choice, reward, who, n_actions), weights


@pytest.fixture(scope="session")
def cohort() -> tuple[Sessions, np.ndarray]:
    return people_with_weights(60, 2, 60, [0.5, 2.0, 0.3], [0.8, 1.0, 0.7], seed=0)


@pytest.fixture(scope="session")
def three_arms() -> tuple[Sessions, np.ndarray]:
    return people_with_weights(40, 2, 40, [0.5, 2.0, 0.3], [0.8, 1.0, 0.7], seed=1, n_actions=3)


@pytest.fixture(scope="session")
def simulate_logit() -> Callable[..., tuple[Sessions, np.ndarray]]:
    return people_with_weights
