"""Simulated people of five mechanisms: 400 x six blocks of 15 trials, three arms, true probabilities."""

import numpy as np
import pandas as pd

MECHANISMS = ("two learning rates", "forgetting", "slow perseveration", "win-stay/lose-shift", "alternation")
N_ARMS, N_BLOCKS, N_TRIALS = 3, 6, 15
CHANCES = np.array([0.8, 0.5, 0.2])


def _parameters(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """One of each per person; those that a mechanism lacks are not used by it."""
    return {
        "beta": np.clip(rng.normal(4.0, 1.2, n), 0.5, None),
        "up": rng.beta(6, 6, n),
        "down": rng.beta(3, 9, n),
        "keep": rng.beta(8, 3, n),
        "repeat": rng.normal(2.5, 1.0, n),
        "win": rng.normal(2.5, 0.8, n),
        "lose": rng.normal(-1.0, 0.8, n),
        "alternate": rng.normal(-1.5, 0.6, n),
        "back": rng.normal(1.0, 0.5, n),
    }


class _Person:
    """State of all people of one mechanism while they play a block."""

    def __init__(self, mechanism: str, p: dict[str, np.ndarray]):
        self.mechanism, self.p, n = mechanism, p, len(p["beta"])
        self.value, self.trace = np.zeros((n, N_ARMS)), np.zeros((n, N_ARMS))
        self.last, self.before, self.won = np.zeros((n, N_ARMS)), np.zeros((n, N_ARMS)), np.zeros(n)

    def logits(self) -> np.ndarray:
        p, value = self.p, self.p["beta"][:, None] * self.value
        if self.mechanism == "slow perseveration":
            return 0.6 * value + 2.0 * p["repeat"][:, None] * self.trace
        if self.mechanism == "win-stay/lose-shift":
            return self.last * np.where(self.won > 0, p["win"], p["lose"])[:, None]
        if self.mechanism == "alternation":
            return 0.5 * value + p["alternate"][:, None] * self.last + p["back"][:, None] * self.before
        return value

    def update(self, choice: np.ndarray, reward: np.ndarray) -> None:
        p, hot = self.p, np.eye(N_ARMS)[choice]
        error = reward[:, None] - self.value
        rate = p["up"][:, None]
        if self.mechanism == "two learning rates":
            rate = np.where(error > 0, rate, p["down"][:, None])
        fade = np.where(hot > 0, 1.0, p["keep"][:, None]) if self.mechanism == "forgetting" else 1.0
        self.value = fade * self.value + hot * rate * error
        self.trace = 0.9 * self.trace + 0.1 * hot
        changed = (hot * self.last).sum(axis=1, keepdims=True) == 0
        self.before = np.where(changed, self.last, self.before)
        self.last, self.won = hot, reward


def simulate(seed: int = 20261128, per_mechanism: int = 80) -> pd.DataFrame:
    """Trials (participant, block, trial, choice, reward, mechanism) and the true ``probability`` of each choice."""
    rng = np.random.default_rng(seed)
    blocks = []
    for m, mechanism in enumerate(MECHANISMS):
        p = _parameters(rng, per_mechanism)
        for block in range(1, N_BLOCKS + 1):
            chance = np.stack([rng.permutation(CHANCES) for _ in range(per_mechanism)])
            choice, reward, truth = _play(mechanism, p, chance, rng)
            who = np.repeat(m * per_mechanism + np.arange(per_mechanism), N_TRIALS)
            columns = {"choice": choice.ravel(), "reward": reward.ravel(), "probability": truth.ravel()}
            trial = np.tile(np.arange(N_TRIALS), per_mechanism)
            frame = pd.DataFrame({"participant": who, "block": block, "trial": trial, **columns})
            blocks.append(frame.assign(mechanism=mechanism))
    return pd.concat(blocks, ignore_index=True)


def _play(
    mechanism: str, p: dict[str, np.ndarray], chance: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    person, n = _Person(mechanism, p), len(chance)
    choice, reward, truth = np.zeros((n, N_TRIALS), int), np.zeros((n, N_TRIALS)), np.zeros((n, N_TRIALS))
    for t in range(N_TRIALS):
        odds = np.exp(person.logits())
        share = odds / odds.sum(axis=1, keepdims=True)
        choice[:, t] = (rng.random((n, 1)) > share.cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward[:, t] = rng.random(n) < chance[np.arange(n), choice[:, t]]
        truth[:, t] = share[np.arange(n), choice[:, t]]
        person.update(choice[:, t], reward[:, t])
    return choice, reward, truth
