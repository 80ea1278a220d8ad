"""Choices and response times of a diffusion between two boundaries, and cohorts who learn with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_ndtr

from spicestat._checks import real_number, seed_number, whole_number
from spicestat.errors import ConfigError
from spicestat.simulate.cohort import Parameter
from spicestat.simulate.drift import drifting_probabilities

__all__ = ["DIFFUSION_PARAMETERS", "DiffusionCohort", "draw_decision_times", "simulate_diffusion_cohort"]

_INITIAL_VALUE = 0.5
_SWITCH = 0.64

DIFFUSION_PARAMETERS: Mapping[str, Parameter] = {
    "alpha": Parameter(0.4, 0.1, {}, 0.05, 0.95),
    "forget": Parameter(0.0, 0.0, {}, 0.0, 1.0),
    "drift_scale": Parameter(3.0, 0.6, {}, 0.2, 20.0),
    "boundary": Parameter(1.6, 0.25, {}, 0.5, 5.0),
    "non_decision_time": Parameter(0.3, 0.05, {}, 0.1, 1.0),
}
"""Learning rate, forgetting rate, drift per unit of value difference, boundary separation, non-decision time (s)."""


@dataclass(frozen=True, eq=False)
class DiffusionCohort:
    """Simulated trials with response times, and the truth behind them.

    Attributes
    ----------
    trials : DataFrame
        ``participant, block, trial, choice, reward, rt``; choices are 1 and 2, rewards 0 or 1, times seconds.
    truth : DataFrame
        ``participant, alpha, forget, drift_scale, boundary, non_decision_time``.
    drift : ndarray of shape (rows of `trials`,)
        Drift towards choice 2 on each trial.
    """

    trials: pd.DataFrame
    truth: pd.DataFrame
    drift: np.ndarray

    def __repr__(self) -> str:
        return f"<DiffusionCohort: {len(self.truth)} participants, {len(self.trials)} trials with response times>"


def draw_decision_times(rng: np.random.Generator, drift: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    r"""Draw exact decision times of diffusions that start half-way between two boundaries.

    From the middle, the time does not depend on which boundary is reached, and it has the
    distribution :math:`a^2\, \mathrm{PG}(1, va)`, with PG the Polya-Gamma distribution: both have the
    Laplace transform :math:`\cosh(va/2) / \cosh\sqrt{(va/2)^2 + a^2 s / 2}`. The draw is by rejection
    (Devroye 2009, doi:10.1016/j.spl.2009.07.028; Polson, Scott & Windle 2013,
    doi:10.1080/01621459.2013.829001) and has no numerical error beyond rounding.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    drift, boundary : arrays of any shape, broadcast
        Drift v per second; boundary separation a, above 0. The standard deviation is 1 per square
        root of a second.

    Returns
    -------
    ndarray
        Seconds.

    Examples
    --------
    >>> times = draw_decision_times(np.random.default_rng(1), 2.0, np.full(100_000, 1.5))
    >>> round(float(times.mean()), 2), round(1.5 / 4 * float(np.tanh(1.5)), 2)
    (0.34, 0.34)
    """
    drift, boundary = np.broadcast_arrays(np.asarray(drift, dtype="float64"), np.asarray(boundary, dtype="float64"))
    standard = _draw_jacobi(rng, np.abs(drift * boundary).ravel() / 2).reshape(drift.shape)
    times: np.ndarray = boundary**2 * standard / 4
    return times


def _draw_jacobi(rng: np.random.Generator, tilt: np.ndarray) -> np.ndarray:
    """Draw from the Jacobi distribution J*(1, tilt), with tilt (N,) of 0 or more, by Devroye's rejection."""
    drawn = np.empty(len(tilt))
    open_rows = np.arange(len(tilt))
    while len(open_rows):
        z = tilt[open_rows]
        proposal = _propose(rng, z)
        accepted = _accept(rng, proposal)
        drawn[open_rows[accepted]] = proposal[accepted]
        open_rows = open_rows[~accepted]
    return drawn


def _propose(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    """Draw from the envelope: an inverse Gaussian below the switch, an exponential above it."""
    rate = np.pi**2 / 8 + z**2 / 2
    log_above = np.log(np.pi / 2 / rate) - rate * _SWITCH
    # log of 2 exp(-z) times the distribution function of the inverse Gaussian with mean 1 / z
    root = np.sqrt(1 / _SWITCH)
    log_below = np.log(2.0) + np.logaddexp(
        log_ndtr(root * (_SWITCH * z - 1)) - z, log_ndtr(-root * (_SWITCH * z + 1)) + z
    )
    above = rng.uniform(size=len(z)) < np.exp(log_above - np.logaddexp(log_above, log_below))
    proposal = _SWITCH + rng.exponential(size=len(z)) / rate
    proposal[~above] = _draw_short(rng, z[~above])
    return proposal


def _draw_short(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    """Draw from inverse Gaussians with mean 1 / z (N,) and shape 1, given that they are below the switch."""
    drawn = np.empty(len(z))
    open_rows = np.arange(len(z))
    while len(open_rows):
        rest = z[open_rows]
        # without drift it is 1 / normal squared, with the normal beyond 1 / sqrt(switch); a drift thins it out
        slow = rest * _SWITCH < 1
        normal = _draw_tail(rng, 1 / np.sqrt(_SWITCH), len(rest))
        proposal = 1 / normal**2
        keep = rng.uniform(size=len(rest)) < np.exp(-(rest**2) * proposal / 2)
        fast = rng.wald(1 / np.maximum(rest, 1 / _SWITCH), 1.0)
        proposal, keep = np.where(slow, proposal, fast), np.where(slow, keep, fast < _SWITCH)
        drawn[open_rows[keep]] = proposal[keep]
        open_rows = open_rows[~keep]
    return drawn


def _draw_tail(rng: np.random.Generator, start: float, size: int) -> np.ndarray:
    """Draw standard normal values above ``start`` (Marsaglia 1964)."""
    drawn = np.empty(size)
    open_rows = np.arange(size)
    while len(open_rows):
        proposal = np.sqrt(start**2 + 2 * rng.exponential(size=len(open_rows)))
        keep = rng.uniform(size=len(open_rows)) * proposal < start
        drawn[open_rows[keep]] = proposal[keep]
        open_rows = open_rows[~keep]
    return drawn


def _accept(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Accept proposals by the alternating series of the density, which is bracketed by its partial sums."""
    total = _coefficient(0, x)
    level = rng.uniform(size=len(x)) * total
    accepted, open_rows, n = np.zeros(len(x), dtype=bool), np.arange(len(x)), 0
    while len(open_rows):
        n += 1
        term = _coefficient(n, x[open_rows])
        odd = n % 2 == 1
        total[open_rows] += -term if odd else term
        settled = level[open_rows] <= total[open_rows] if odd else level[open_rows] > total[open_rows]
        accepted[open_rows[settled]] = odd
        open_rows = open_rows[~settled]
    return accepted


def _coefficient(n: int, x: np.ndarray) -> np.ndarray:
    middle = np.pi * (n + 0.5)
    short = np.minimum(x, _SWITCH)
    below = middle * (2 / (np.pi * short)) ** 1.5 * np.exp(-2 * (n + 0.5) ** 2 / short)
    above = middle * np.exp(-(middle**2) * x / 2)
    coefficient: np.ndarray = np.where(x <= _SWITCH, below, above)
    return coefficient


def simulate_diffusion_cohort(
    n_participants: int = 30,
    n_trials: int = 240,
    *,
    n_blocks: int = 4,
    sigma: float = 0.2,
    parameters: Mapping[str, Parameter] = DIFFUSION_PARAMETERS,
    seed: int = 0,
) -> DiffusionCohort:
    r"""Simulate Q-learners on drifting two-armed bandits whose values drive a diffusion process.

    Chosen action: :math:`V \leftarrow V + \alpha (r - V)`; the other one:
    :math:`V \leftarrow V + f (.5 - V)`; values start at .5 in each block; the drift towards choice 2 is
    :math:`\beta (V_2 - V_1)`. Pedersen, Frank & Biele (2017), doi:10.3758/s13423-016-1199-y.

    Parameters
    ----------
    n_participants : int
        At least 1.
    n_trials : int
        Trials per participant, over all blocks; a multiple of ``n_blocks``.
    n_blocks : int
        Blocks per participant.
    sigma : float
        Step of the drift of reward probabilities.
    parameters : mapping of str to Parameter
        Distributions of ``alpha``, ``forget``, ``drift_scale``, ``boundary`` and ``non_decision_time``,
        without effects of covariates.
    seed : int
        The same seed gives the same cohort.

    Raises
    ------
    ConfigError
        A size is too small, or a parameter is unknown.

    Examples
    --------
    >>> cohort = simulate_diffusion_cohort(5, 40, seed=1)
    >>> cohort.trials.shape, list(cohort.trials)
    ((200, 6), ['participant', 'block', 'trial', 'choice', 'reward', 'rt'])
    """
    n_participants = whole_number("n_participants", n_participants, 1)
    n_blocks = whole_number("n_blocks", n_blocks, 1)
    if whole_number("n_trials", n_trials, 2) < 2 * n_blocks or n_trials % n_blocks:
        raise ConfigError(
            "n_trials does not fit n_blocks", got=(n_trials, n_blocks), allowed="a multiple of it, 2 or more per block"
        )
    if set(parameters) != set(DIFFUSION_PARAMETERS) or any(part.effects for part in parameters.values()):
        raise ConfigError(
            "parameters must be these, without effects", got=sorted(parameters), allowed=sorted(DIFFUSION_PARAMETERS)
        )
    rng = np.random.default_rng(seed_number(seed))
    width = len(str(n_participants))
    truth = {
        name: np.clip(part.mean + part.sd * rng.normal(size=n_participants), part.low, part.high)
        for name, part in parameters.items()
    }
    names = [f"p{number:0{width}d}" for number in range(1, n_participants + 1)]
    reward_probability = drifting_probabilities(
        rng, n_participants * n_blocks, n_trials // n_blocks, 2, real_number("sigma", sigma, 0.0)
    )
    own = {name: np.repeat(values, n_blocks) for name, values in truth.items()}
    choice, reward, drift = _play(rng, reward_probability, own)
    decision = draw_decision_times(rng, drift, own["boundary"][:, None])
    steps = np.arange(1, choice.shape[1] + 1)
    trials = pd.DataFrame(
        {
            "participant": np.repeat(names, n_trials),
            "block": np.repeat(np.tile(np.arange(1, n_blocks + 1), n_participants), len(steps)),
            "trial": np.tile(steps, len(choice)),
            "choice": choice.ravel() + 1,
            "reward": reward.ravel(),
            "rt": (own["non_decision_time"][:, None] + decision).ravel(),
        }
    )
    return DiffusionCohort(trials, pd.DataFrame({"participant": names, **truth}), drift.ravel())


def _play(
    rng: np.random.Generator, reward_probability: np.ndarray, own: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return choices (S, T) from 0, rewards (S, T) and drifts (S, T); times do not matter for what is learned."""
    n_sequences, n_trials, _ = reward_probability.shape
    rows = np.arange(n_sequences)
    value = np.full((n_sequences, 2), _INITIAL_VALUE)
    choice, reward = np.empty((2, n_sequences, n_trials), dtype="int64")
    drift = np.empty((n_sequences, n_trials))
    uniform = rng.uniform(size=(n_trials, 2, n_sequences))
    for trial in range(n_trials):
        drift[:, trial] = own["drift_scale"] * (value[:, 1] - value[:, 0])
        chosen = (uniform[trial, 0] * (1 + np.exp(-drift[:, trial] * own["boundary"])) < 1).astype("int64")
        paid = uniform[trial, 1] < reward_probability[rows, trial, chosen]
        updated = value[rows, chosen] + own["alpha"] * (paid - value[rows, chosen])
        value += own["forget"][:, None] * (_INITIAL_VALUE - value)
        value[rows, chosen] = updated
        choice[:, trial], reward[:, trial] = chosen, paid
    return choice, reward, drift
