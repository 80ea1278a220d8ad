"""Half-lives and learning rates of kernels against np.interp and np.polyfit, one kernel at a time."""

import numpy as np
import pytest

from spicestat.pooled.kernel_shape import derive


def by_hand(kernel, error):
    """Half-life by np.interp, and learning rate by np.polyfit, of a kernel without lags of the other sign."""
    share = np.concatenate([[0.0], np.cumsum(kernel) / kernel.sum()])
    after = np.flatnonzero(share >= 0.5)[0]
    half_life = np.interp(0.5, share[after - 1 : after + 1], [after - 1, after])
    lag = np.flatnonzero(np.abs(kernel) > 0.02 * np.abs(kernel).max())
    slope = np.polyfit(lag, np.log(np.abs(kernel[lag])), 1, w=np.abs(kernel[lag]) / error[lag])[0]
    return half_life, 1.0 - np.exp(slope)


@pytest.mark.parametrize("lags", [2, 5, 20])
def test_many_kernels_at_once_are_those_one_by_one(lags):
    rng = np.random.default_rng(lags)
    sign = rng.choice([-1.0, 1.0], (30, 4, 1))
    kernels = sign * rng.uniform(0.2, 0.9, (30, 4, 1)) ** np.arange(lags) * rng.uniform(0.8, 1.2, (30, 4, lags))
    errors = rng.uniform(0.01, 0.1, (4, lags))
    found = np.stack(derive(kernels, errors), axis=-1)
    alone = [[by_hand(kernel, error) for kernel, error in zip(draw, errors, strict=True)] for draw in kernels]
    np.testing.assert_allclose(found, alone, rtol=1e-10)


def test_a_kernel_of_both_signs_has_neither_and_one_of_one_lag_no_rate():
    kernels = np.array([[1.0, 0.5, 0.25], [1.0, 0.5, -0.4], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.5, -0.4]])
    errors = np.full((5, 3), 0.01)
    errors[4, 2] = 0.3  # within two standard errors of 0
    half_life, rate = derive(kernels, errors)
    assert np.isnan(half_life).tolist() == [False, True, True, False, False]
    assert np.isnan(rate).tolist() == [False, True, True, True, False]
    assert half_life[3] == 1.5
    assert half_life[4] == pytest.approx(0.55)
    assert rate[[0, 4]] == pytest.approx(0.5)


def test_rounding_makes_no_line_of_one_lag():
    """With one lag that counts, its distance from the weighted mean of lags is 0 but for rounding."""
    kernels = np.arange(1.0, 60.0)[:, None] * np.array([0.0, 0.0, 0.0, 1.0])
    half_life, rate = derive(kernels, np.full(4, 0.7))
    assert np.isnan(rate).all()
    np.testing.assert_allclose(half_life, 3.5)
