"""The standard scale of Bayesian group models leaves means where they are, and does not depend on units."""

import numpy as np
import pytest

from spicestat.errors import NumericalError
from spicestat.group.posterior.scaling import make_scaling


@pytest.mark.parametrize("constant", [1.0, 2.0, None])
def test_means_are_the_same_on_both_scales(constant):
    rng = np.random.default_rng(1)
    X = rng.normal(5.0, 2.0, (20, 3))
    if constant is not None:
        X[:, 1] = constant
    scaling = make_scaling(X, np.array([1.0, -3.0]), np.array([0.5, 2.0]))
    standard = rng.normal(size=(4, 3, 2))
    means = (X @ scaling.design) @ standard * scaling.spread + scaling.centre
    np.testing.assert_allclose(X @ scaling.fixed_effects(standard), means, atol=1e-12)


def test_units_of_covariates_and_terms_do_not_matter():
    rng = np.random.default_rng(2)
    X = np.column_stack([np.ones(20), rng.normal(40, 10, 20)])
    one = make_scaling(X, np.array([0.3]), np.array([0.1]))
    other = make_scaling(X * [1.0, 12.0], np.array([300.0]), np.array([100.0]))
    np.testing.assert_allclose(X @ one.design, X * [1.0, 12.0] @ other.design, atol=1e-12)
    standard = np.array([[0.4], [-1.0]])
    np.testing.assert_allclose(1000 * one.fixed_effects(standard) / [[1], [12]], other.fixed_effects(standard))


def test_without_intercept_the_prior_covers_the_level():
    groups = np.repeat(np.eye(2), 5, axis=0)
    scaling = make_scaling(groups, np.array([30.0]), np.array([1.0]))
    assert scaling.centre == 0
    assert scaling.location == pytest.approx(30.0, rel=0.01)


@pytest.mark.parametrize("spread", [0.0, np.nan])
def test_terms_without_spread_are_refused(spread):
    with pytest.raises(NumericalError, match="no spread"):
        make_scaling(np.ones((5, 1)), np.zeros(1), np.array([spread]))
