"""Drawn decision times have the distribution of the diffusion, and cohorts the parameters they are given."""

import time

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest

from spicestat.errors import ConfigError
from spicestat.models.wiener import wiener_log_density
from spicestat.simulate import Parameter
from spicestat.simulate.diffusion import DIFFUSION_PARAMETERS, draw_decision_times, simulate_diffusion_cohort

CASES = [(0.0, 1.0), (0.5, 1.0), (-2.0, 1.5), (3.1, 1.0), (3.2, 1.0), (5.0, 2.5)]


def distribution(drift, boundary):
    """Cumulative distribution of the time, whichever boundary is reached, from the density on a fine grid."""
    grid = torch.linspace(0, 30 * boundary**2 / 4, 20_001, dtype=torch.float64)
    numbers = (torch.tensor(number, dtype=torch.float64) for number in (drift, boundary))
    drift, boundary = numbers
    both = sum(wiener_log_density(grid, sign * drift, boundary).exp() for sign in (1, -1)).numpy()
    below = np.concatenate([[0.0], np.cumsum((both[1:] + both[:-1]) / 2 * np.diff(grid.numpy()))])
    return lambda at: np.interp(at, grid.numpy(), below)


@pytest.mark.parametrize(("drift", "boundary"), CASES)
def test_times_have_the_distribution_of_the_density(drift, boundary):
    """The seed is fixed; over seeds a right sampler fails in 1 in 1000 for each case."""
    drawn = draw_decision_times(np.random.default_rng(1), drift, np.full(20_000, boundary))
    assert kstest(drawn, distribution(drift, boundary)).pvalue > 0.001


@pytest.mark.parametrize(("drift", "boundary"), [*CASES, (800.0, 2.0)])
def test_mean_times_are_the_closed_form(drift, boundary):
    """Within 4 standard errors; the last case would overflow if anything were not on the log scale."""
    drawn = draw_decision_times(np.random.default_rng(2), drift, np.full(100_000, boundary))
    mean = boundary / (2 * drift) * np.tanh(drift * boundary / 2) if drift else boundary**2 / 4
    assert abs(drawn.mean() - mean) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_times_are_those_of_small_steps():
    """An independent Euler simulation; 1/1000 s steps overshoot the boundary, which the tolerance allows for."""
    rng, step, drift, boundary = np.random.default_rng(3), 1e-3, 1.2, 1.5
    position, taken = np.full(4000, boundary / 2), np.zeros(4000)
    moving = np.ones(4000, dtype=bool)
    while moving.any():
        position[moving] += drift * step + np.sqrt(step) * rng.normal(size=moving.sum())
        taken[moving] += step
        moving &= (position > 0) & (position < boundary)
    drawn = draw_decision_times(rng, drift, np.full(100_000, boundary))
    quantiles = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(taken, quantiles), np.quantile(drawn, quantiles), rtol=0.1)
    assert (position > boundary).mean() == pytest.approx(1 / (1 + np.exp(-drift * boundary)), abs=0.03)


def test_shapes_broadcast():
    assert draw_decision_times(np.random.default_rng(0), np.zeros((3, 4)), np.ones((3, 1))).shape == (3, 4)


def test_cohorts_are_reproducible_and_as_told():
    first, again, other = (simulate_diffusion_cohort(4, 40, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first.trials, again.trials)
    assert not first.trials.equals(other.trials)
    assert first.trials.groupby(["participant", "block"]).size().tolist() == [10] * 16
    fastest = first.trials.groupby("participant")["rt"].min().to_numpy()
    assert (fastest > first.truth["non_decision_time"]).all()
    assert set(first.truth) == {"participant", *DIFFUSION_PARAMETERS}


def test_choices_follow_the_drift():
    """10,000 x 100 choices: the share of choice 2 in bins of the drift, within 4 standard errors."""
    parameters = dict(DIFFUSION_PARAMETERS) | {"boundary": Parameter(1.5, high=5.0)}
    began = time.perf_counter()
    cohort = simulate_diffusion_cohort(10_000, 100, parameters=parameters, seed=4)
    assert time.perf_counter() - began < 30  # takes about one second
    assert np.array_equal(cohort.trials["trial"].unique(), np.arange(1, 26))
    expected = 1 / (1 + np.exp(-cohort.drift * 1.5))
    bins = np.digitize(cohort.drift, np.linspace(-2, 2, 9))
    for number in np.unique(bins):
        rows = bins == number
        share, variance = (cohort.trials["choice"] == 2)[rows].mean(), (expected * (1 - expected))[rows].mean()
        assert abs(share - expected[rows].mean()) < 4 * np.sqrt(variance / rows.sum())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_participants": 0}, "n_participants"),
        ({"n_trials": 41}, "multiple"),
        ({"n_trials": 4}, "2 or more per block"),
        ({"sigma": -1.0}, "sigma"),
        ({"parameters": {"alpha": Parameter(0.5)}}, "drift_scale"),
        ({"parameters": DIFFUSION_PARAMETERS | {"alpha": Parameter(0.5, 0.1, {"age": 1.0})}}, "without effects"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        simulate_diffusion_cohort(**({"n_participants": 3, "n_trials": 40} | settings))
