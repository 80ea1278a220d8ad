"""The weak prior is Student's t, with the right gradient and a normal that touches it from below."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from scipy.stats import t as student

from spicestat.equations.estimate.prior import CoefficientPrior, NormalPrior, weak_prior

RATE, NOT_CHOSEN, BETA = "x_learning_rate_reward", "x_value_reward_not_chosen", ("beta", "x_value_reward")
POINTS = np.linspace(-6, 6, 41)


@given(center=st.floats(-3, 3), scale=st.floats(0.01, 100))
@settings(max_examples=30)
def test_it_is_students_t_with_4_degrees_of_freedom(center, scale):
    prior = CoefficientPrior(np.array([center]), np.array([scale]))
    found = prior.log_density(POINTS[:, None])[:, 0]
    np.testing.assert_allclose(found, student(4, loc=center, scale=scale).logpdf(POINTS), rtol=1e-10)


@given(center=st.floats(-3, 3), scale=st.floats(0.1, 10))
@settings(max_examples=30)
def test_the_gradient_is_the_slope(center, scale):
    prior = CoefficientPrior(np.array([center]), np.array([scale]))
    step = 1e-5 * scale
    slope = (prior.log_density(POINTS[:, None] + step) - prior.log_density(POINTS[:, None] - step)) / (2 * step)
    np.testing.assert_allclose(prior.gradient(POINTS[:, None]), slope, rtol=1e-5, atol=1e-7 / scale)


@given(center=st.floats(-3, 3), scale=st.floats(0.1, 10), at=st.floats(-6, 6))
@settings(max_examples=50)
def test_the_normal_touches_from_below(center, scale, at):
    """With the density's value and slope at the point, and nowhere above it."""
    prior = CoefficientPrior(np.array([center]), np.array([scale]))
    here = np.array([[at]])
    density, slope, precision = prior.log_density(here), prior.gradient(here), prior.precision(here)
    assert precision > 0
    off = POINTS[:, None] - at
    touching = density + slope * off - precision * off**2 / 2
    assert (touching <= prior.log_density(POINTS[:, None]) + 1e-10).all()


def test_coefficients_have_their_own_priors():
    prior = CoefficientPrior(np.array([0.0, 0.5, 2.0]), np.array([1.0, 0.2, 3.0]))
    values = np.random.default_rng(0).normal(size=(4, 3))
    expected = student(4, loc=prior.center, scale=prior.scale).logpdf(values)
    np.testing.assert_allclose(prior.log_density(values), expected)
    some = prior.select(np.array([2, 0]))
    np.testing.assert_allclose(some.log_density(values[:, [2, 0]]), expected[:, [2, 0]])


@pytest.fixture(scope="module")
def equations(equations_of):
    return equations_of("learning_rate", 1, {})


def test_an_own_state_lies_between_forgotten_and_kept(equations):
    center = weak_prior(equations, 1.0).center
    np.testing.assert_array_equal(center, np.where(equations.own_state, 0.5, 0.0))


def test_scales_follow_the_unit_of_rewards(equations):
    """Rewards in cents: constants may be a hundred times as large, inverse temperatures are a hundredth."""
    euro, cent = weak_prior(equations, 1.0).scale, weak_prior(equations, 100.0).scale
    ratio = dict(zip(equations.terms, cent / euro, strict=True))
    assert ratio.pop(BETA) == pytest.approx(0.01)
    assert [ratio.pop((module, "1")) for module in (RATE, NOT_CHOSEN)] == pytest.approx([100, 100])
    assert set(ratio.values()) == {1.0}
    assert (euro > 0).all()


def test_small_rewards_do_not_narrow_the_constants(equations):
    """A learning rate is in no unit of reward."""
    usual, small = weak_prior(equations, 1.0).scale, weak_prior(equations, 0.1).scale
    np.testing.assert_allclose(small[:-1], usual[:-1])
    assert small[-1] == pytest.approx(10 * usual[-1])


def test_without_a_reward_there_is_a_prior_all_the_same(equations):
    np.testing.assert_array_equal(weak_prior(equations, 0.0).scale, weak_prior(equations, 1.0).scale)


def test_a_constant_of_the_model_may_have_a_scale_of_its_own(equations):
    usual, own = weak_prior(equations, 10.0), weak_prior(equations, 10.0, {"x_value_reward": 0.7, "elsewhere": 3.0})
    assert own.scale[-1] == 0.7
    np.testing.assert_array_equal(own.scale[:-1], usual.scale[:-1])


def test_a_population_is_normal_in_what_is_free():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    prior = NormalPrior(rng.normal(size=3), root @ root.T + 0.1 * np.eye(3))
    values, free = rng.normal(size=(4, 3)), np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    density, gradient, precision = prior.parts(values, free)
    for row, own in enumerate(free):
        part = prior.select(np.flatnonzero(own))
        here = values[row, own]
        expected = multivariate_normal(part.mean, part.covariance).logpdf(here) if own.any() else 0.0
        assert density[row] == pytest.approx(expected)
        inverse = np.linalg.inv(part.covariance)
        np.testing.assert_allclose(precision[row][np.ix_(own, own)], inverse, rtol=1e-8)
        np.testing.assert_allclose(gradient[row, own], -inverse @ (here - part.mean), rtol=1e-8)


def test_both_priors_leave_out_what_is_not_free():
    free = np.array([[True, False]])
    weak = CoefficientPrior(np.zeros(2), np.ones(2)).parts(np.array([[1.0, 9.0]]), free)
    assert weak.log_density[0] == pytest.approx(student(4).logpdf(1.0))
    np.testing.assert_allclose(np.diag(weak.precision[0])[0], 5 / 5)
