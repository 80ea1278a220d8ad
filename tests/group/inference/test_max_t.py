import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_t, norm
from scipy.stats import t as student

from spicestat.errors import DataError, ShapeError
from spicestat.group.inference.max_t import max_t_adjust, max_t_p_values, permutation_p_values


def equicorrelated(m, rho):
    return np.full((m, m), rho) + (1 - rho) * np.eye(m)


def exact_normal(bound, m, rho):
    """P(max |Z_k| >= bound) of equally correlated normals, as an integral over what they share."""
    spread = np.sqrt(1 - rho)

    def some(z):
        high, low = (bound - np.sqrt(rho) * z) / spread, (-bound - np.sqrt(rho) * z) / spread
        outside = norm.sf(high) + norm.cdf(low)
        return norm.pdf(z) * -np.expm1(m * np.log1p(-min(outside, 1 - 1e-15)))

    return quad(some, -12, 12, epsabs=1e-16, epsrel=1e-10, limit=500, points=[-bound, 0, bound])[0]


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(2, 40), st.integers(0, 10_000))
def test_adjusted_p_values_are_ordered(m, n_rows, seed):
    statistics = np.abs(np.random.default_rng(seed).normal(size=(n_rows, m)).round(1))
    raw = permutation_p_values(statistics)
    down, single = max_t_p_values(statistics), max_t_p_values(statistics, step_down=False)
    assert (raw <= down).all() and (down <= single).all() and (single <= 1).all()
    assert (raw >= 1 / n_rows - 1e-12).all()
    order = np.argsort(-statistics[0], kind="stable")
    assert (np.diff(down[order]) >= 0).all()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_the_order_of_tests_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    statistics, order = np.abs(rng.normal(size=(50, 5))), rng.permutation(5)
    np.testing.assert_array_equal(max_t_p_values(statistics[:, order]), max_t_p_values(statistics)[order])


def test_identical_tests_need_no_adjustment():
    one = np.abs(np.random.default_rng(2).normal(size=(200, 1)))
    np.testing.assert_array_equal(max_t_p_values(np.repeat(one, 4, axis=1)), np.repeat(permutation_p_values(one), 4))


def test_a_test_without_statistic_is_left_out():
    statistics = np.array([[2.0, np.nan, 1.0], [1.0, np.nan, 3.0], [0.5, 7.0, 0.2]])
    assert max_t_p_values(statistics).tolist()[1] != max_t_p_values(statistics).tolist()[1]
    np.testing.assert_array_equal(max_t_p_values(statistics)[[0, 2]], max_t_p_values(statistics[:, [0, 2]]))
    assert np.isnan(max_t_p_values(np.full((3, 2), np.nan))).all()


def test_infinite_statistics_count_as_larger():
    assert permutation_p_values(np.array([[1.0, np.inf], [np.inf, 1.0]])).tolist() == [1.0, 0.5]


def test_type_one_error_of_the_family():
    """Error rate: family-wise 5 %, 1000 families of 6 correlated true hypotheses; 99.9 % of counts lie in 29..74."""
    rng = np.random.default_rng(20261128)
    root = np.linalg.cholesky(equicorrelated(6, 0.6))
    rejected = sum((max_t_p_values(np.abs(rng.normal(size=(200, 6)) @ root.T)) <= 0.05).any() for _ in range(1000))
    assert 29 <= rejected <= 74


@pytest.mark.parametrize("m", [1, 2, 5, 20])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_joint_normal_p_values_equal_the_exact_integral(m, rho):
    bounds = np.array([0.3, 1.0, 2.0, 3.0, 4.5, 6.0])
    for start in range(0, len(bounds), m):
        part = bounds[start : start + m]
        statistics = np.append(part, np.zeros(m - len(part)))
        ours = max_t_adjust(statistics, equicorrelated(m, rho))[: len(part)]
        np.testing.assert_allclose(ours, [exact_normal(bound, m, rho) for bound in part], rtol=2e-3)


def test_joint_t_p_values_equal_scipy():
    R = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1]])
    statistics = np.array([2.6, -1.4, 0.4])
    inside = [
        multivariate_t.cdf(
            np.full(3, bound), shape=R, df=9, lower_limit=np.full(3, -bound), maxpts=200_000, random_state=1
        )
        for bound in np.abs(statistics)
    ]
    np.testing.assert_allclose(max_t_adjust(statistics, R, 9), 1 - np.array(inside), atol=3e-4)


def test_one_test_or_identical_tests_keep_their_p_value():
    p = 2 * student.sf(2.3, 11)
    assert max_t_adjust(np.array([2.3]), np.eye(1), 11)[0] == pytest.approx(p, rel=1e-12)
    same = max_t_adjust(np.array([2.3, -2.3, 2.3]), np.sign(np.outer([1, -1, 1], [1, -1, 1])), 11)
    np.testing.assert_allclose(same, p, rtol=1e-9)


def test_the_same_call_gives_the_same_numbers_and_signs_do_not_matter():
    R, t = equicorrelated(4, 0.3), np.array([2.0, 1.0, -3.0, 0.5])
    np.testing.assert_array_equal(max_t_adjust(t, R, 12), max_t_adjust(t, R, 12))
    flip = np.array([1, -1, 1, -1])
    np.testing.assert_allclose(max_t_adjust(flip * t, R * np.outer(flip, flip), 12), max_t_adjust(t, R, 12), rtol=2e-3)


def test_different_degrees_of_freedom_compare_p_values():
    """Independent tests: the adjusted p-value is 1 - (1 - p)^m, whatever each test's df."""
    df, t = np.array([5.0, 20.0, 80.0]), np.array([3.0, 1.5, 0.8])
    p = 2 * student.sf(t, df)
    np.testing.assert_allclose(max_t_adjust(t, np.eye(3), df), 1 - (1 - p) ** 3, rtol=2e-3)


def test_a_test_without_statistic_is_not_counted():
    R = equicorrelated(3, 0.5)
    R[1, :] = R[:, 1] = np.nan
    ours = max_t_adjust(np.array([2.5, np.nan, 1.0]), R)
    assert np.isnan(ours[1])
    np.testing.assert_allclose(ours[[0, 2]], max_t_adjust(np.array([2.5, 1.0]), equicorrelated(2, 0.5)), rtol=1e-12)


def test_what_cannot_be_adjusted_is_named():
    with pytest.raises(ShapeError, match="do not match"):
        max_t_adjust(np.ones(2), np.eye(3))
    with pytest.raises(DataError, match="not a correlation matrix"):
        max_t_adjust(np.ones(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(DataError, match="positive"):
        max_t_adjust(np.ones(2), np.eye(2), 0)
    with pytest.raises(ShapeError, match="matrix"):
        max_t_p_values(np.ones(3))
    with pytest.raises(DataError, match="no statistic where"):
        max_t_p_values(np.array([[1.0], [np.nan]]))
