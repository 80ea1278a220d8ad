"""Draw a study: drifting two-armed bandit, learning rate, forgetting of what was not chosen, inverse temperature."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit

from benchmarks.calibration.cells import Cell
from spicestat.trials.sequences import SequenceDataset

_DRIFT = 0.2
_SPREAD = np.array([0.7, 0.7, 0.4])
_CORRELATION = np.array([[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0]])


@dataclass(frozen=True)
class Study:
    """A covariate (N,), true coefficients (N, 3) on the links' scales, and choices and rewards (N, T)."""

    covariate: np.ndarray
    truth: np.ndarray
    choices: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray

    def dataset(self) -> SequenceDataset:
        """Bring the trials into the engine's form."""
        n, n_trials = self.choices.shape
        step = np.arange(n_trials - 1)
        xs = np.zeros((n, n_trials - 1, 2 * 2 + 3), dtype="float32")
        chosen = self.choices[:, :-1, None] == np.arange(2)
        xs[..., :2] = chosen
        xs[..., 2:4] = np.where(chosen, self.rewards[:, :-1, None], np.nan)
        xs[..., -1] = np.arange(n)[:, None]
        ys = (self.choices[:, 1:, None] == np.arange(2)).astype("float32")
        beyond = step >= self.lengths[:, None] - 1
        ys[beyond] = np.nan
        xs[beyond, :-3] = np.nan
        return SequenceDataset.from_arrays(torch.from_numpy(xs), torch.from_numpy(ys))


def draw(cell: Cell, seed: int) -> Study:
    """Draw a study of a cell."""
    rng = np.random.default_rng(seed)
    n, n_trials = cell.n_participants, cell.n_trials
    z = rng.permutation(np.arange(n) % 2).astype(float) if cell.binary else rng.standard_normal(n)
    noise = rng.standard_normal((n, 3))
    if cell.correlated:
        noise = noise @ np.linalg.cholesky(_CORRELATION).T
    # a share is kept of what is not chosen: logit(1 - f) = -logit(f)
    truth = np.array([-0.6, 1.0, cell.log_beta]) + noise * _SPREAD
    truth[:, 0] += cell.effect * z
    truth[:, 2] += cell.beta_effect * z
    choices, rewards = play(truth, n_trials, 0.5 if cell.forget_to_start else 0.0, rng)
    lengths = np.full(n, n_trials)
    if cell.unequal:
        lengths = rng.integers(n_trials // 5, n_trials + 1, n)
    # values that are forgotten towards their start of .5 are values less .5 that are forgotten towards 0
    return Study(z, truth, choices, rewards - 0.5 * cell.forget_to_start, lengths)


def play(truth: np.ndarray, n_trials: int, start: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return choices and rewards (N, T) of people with coefficients ``truth`` (N, 3) on the links' scales."""
    rate, kept, beta = expit(truth[:, 0]), expit(truth[:, 1]), np.exp(truth[:, 2])
    n, everybody = len(truth), np.arange(len(truth))
    chance = rng.uniform(0.0, 1.0, (n, 2))
    value = np.full((n, 2), 0.5)
    choices, rewards = np.empty((n, n_trials), dtype=int), np.empty((n, n_trials))
    for trial in range(n_trials):
        choice = (rng.random(n) < expit(beta * (value[:, 1] - value[:, 0]))).astype(int)
        reward = (rng.random(n) < chance[everybody, choice]).astype(float)
        choices[:, trial], rewards[:, trial] = choice, reward
        learned = value[everybody, choice] + rate * (reward - value[everybody, choice])
        value = start + kept[:, None] * (value - start)
        value[everybody, choice] = learned
        chance = np.abs(chance + _DRIFT * rng.standard_normal(chance.shape))
        chance = 1.0 - np.abs(1.0 - chance)
    return choices, rewards
