import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import DataError, ShapeError
from spicestat.group.numerics.firth import (
    firth_logistic,
    penalised_log_likelihood,
    penalised_ratio_test,
    profile_intervals,
)


def cohort(n, seed, slope=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(0.5 - slope * x))).astype(float)
    return y, np.column_stack([np.ones(n), x, np.arange(n) % 2])


def modified_score(y, X, beta):
    pi = 1 / (1 + np.exp(-X @ beta))
    root = X * np.sqrt(pi * (1 - pi))[:, None]
    leverage = np.diag(root @ np.linalg.inv(root.T @ root) @ root.T)
    return X.T @ (y - pi + leverage * (0.5 - pi))


@settings(max_examples=25)
@given(st.integers(12, 60), st.integers(0, 10_000), st.floats(-6, 6))
def test_the_modified_score_is_zero_also_under_separation(n, seed, slope):
    y, X = cohort(n, seed, slope)
    if np.ptp(y) == 0:
        y[0] = 1 - y[0]
    fit = firth_logistic(y, X)
    assert fit.converged
    assert np.isfinite(fit.beta).all()
    np.testing.assert_allclose(modified_score(y, X, fit.beta), 0, atol=1e-8 * n)


def test_a_two_by_two_table_has_the_closed_form_of_half_a_count_added():
    """With a saturated model Firth's estimate is the log odds ratio with 1/2 added to each cell, here with a zero."""
    x = np.repeat([0.0, 1.0], [9, 6])
    y = np.array([1.0] * 4 + [0.0] * 5 + [1.0] * 6)
    fit = firth_logistic(y, np.column_stack([np.ones(15), x]))
    np.testing.assert_allclose(fit.beta, [np.log(4.5 / 5.5), np.log(6.5 / 0.5) - np.log(4.5 / 5.5)], rtol=1e-10)


def test_intervals_exclude_zero_exactly_when_the_test_is_significant():
    y, X = cohort(40, 3, 1.0)
    fit = firth_logistic(y, X)
    for column, p in enumerate(fit.p_value):
        below, above = (profile_intervals(y, X, 1 - p * factor) for factor in (1.0001, 0.9999))
        assert not below[0][column] <= 0 <= below[1][column]
        assert above[0][column] <= 0 <= above[1][column]


def test_limits_lie_where_the_profile_has_fallen_by_the_quantile():
    """Check against a profile over a grid, made without the code under test but for its likelihood."""
    y, X = cohort(20, 5)
    X = X[:, :2]
    low, high = profile_intervals(y, X)
    fit = firth_logistic(y, X)
    grid = fit.beta[0] + np.linspace(-3, 3, 1501)
    for limit in (low[1], high[1]):
        profile = max(penalised_log_likelihood(y, X, np.array([value, limit])) for value in grid)
        assert 2 * (fit.log_likelihood - profile) == pytest.approx(3.841459, abs=1e-4)


def test_order_coding_and_units_do_not_matter():
    y, X = cohort(30, 7, 1.0)
    fit = firth_logistic(y, X)
    order = np.random.default_rng(1).permutation(30)
    np.testing.assert_allclose(firth_logistic(y[order], X[order]).beta, fit.beta, rtol=1e-9)
    np.testing.assert_allclose(firth_logistic(1 - y, X).beta, -fit.beta, rtol=1e-9)
    scaled = firth_logistic(y, X * [1.0, 1e6, 1e-6])
    np.testing.assert_allclose(scaled.beta * [1.0, 1e6, 1e-6], fit.beta, rtol=1e-8)
    np.testing.assert_allclose(scaled.p_value, fit.p_value, rtol=1e-8)
    low, high = profile_intervals(y, X * [1.0, 1e6, 1e-6])
    expected = profile_intervals(y, X)
    np.testing.assert_allclose([low[1] * 1e6, high[1] * 1e6], [expected[0][1], expected[1][1]], rtol=1e-7)


def test_a_joint_test_of_one_column_is_the_test_of_the_coefficient():
    y, X = cohort(30, 9, 0.5)
    fit = firth_logistic(y, X)
    assert penalised_ratio_test(y, X, [1]).p_value == pytest.approx(fit.p_value[1], rel=1e-9)
    both = penalised_ratio_test(y, X, [1, 2])
    assert both.df == 2
    assert both.statistic == pytest.approx(2 * (fit.log_likelihood - fit.null_log_likelihood), rel=1e-9)


def test_type_one_error_with_rare_presence():
    """Error rate: at 5 %, 500 cohorts of 40 with 20 % presence; 99.9 % of binomial counts lie in 11..42."""
    rng = np.random.default_rng(20261127)
    rejected = 0
    for _ in range(500):
        X = np.column_stack([np.ones(40), rng.normal(size=40)])
        y = (rng.random(40) < 0.2).astype(float)
        if np.ptp(y) == 0:
            continue
        rejected += penalised_ratio_test(y, X, [1]).p_value < 0.05
    assert 11 <= rejected <= 42


@pytest.mark.parametrize(
    ("y", "X", "error", "match"),
    [
        ([1.0, 1, 1], np.ones((3, 1)), DataError, "the same for all"),
        ([0.0, 1, np.nan], np.ones((3, 1)), DataError, "finite"),
        ([0.0, 1, 2], np.ones((3, 1)), DataError, "0 or 1"),
        ([1.0], np.ones((1, 1)), DataError, "more outcomes"),
        ([0.0, 1, 1], np.ones((3, 2)), DataError, "linearly dependent"),
        ([0.0, 1], np.ones((3, 1)), ShapeError, "do not match"),
    ],
)
def test_what_cannot_be_fitted_is_named(y, X, error, match):
    with pytest.raises(error, match=match):
        firth_logistic(np.array(y), X)


def test_a_joint_test_needs_columns():
    y, X = cohort(20, 1)
    with pytest.raises(DataError, match="no column to test"):
        penalised_ratio_test(y, X, [])
    with pytest.raises(ShapeError, match="does not have"):
        penalised_ratio_test(y, X, [5])
