"""Sparse regression with an optimizer of one's choice."""

import copy

import numpy as np
import pysindy
import pytest

from spicestat.equations.discover import SparseSettings
from spicestat.equations.sparse import (
    OPTIMIZERS,
    check_optimizer,
    fit_with_pysindy,
    group_threshold,
    polynomial_library,
    sparse_regression,
    sr3,
    stlsq,
)
from spicestat.equations.trajectories import Trajectory
from spicestat.errors import ConfigError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.models.precoded import RESCORLA_WAGNER_CONFIG, RescorlaWagnerRNN

LIBRARY = polynomial_library("x_value", ["c_reward"], 2)
"""Terms 1, V, r, V^2, V r, r^2."""


def trajectory_of(weights, n_rows=150, noise=0.02, seed=0):
    """Rows in mixed order of participants with weights (P, 6)."""
    rng = np.random.default_rng(seed)
    weights = np.array(weights, dtype=float)
    who = rng.permutation(np.repeat(np.arange(len(weights)), n_rows))
    variables = rng.normal(size=(len(who), 2))
    target = (LIBRARY.evaluate(variables) * weights[who]).sum(axis=1) + noise * rng.normal(size=len(who))
    return Trajectory(variables, target, who)


@pytest.fixture(scope="module")
def trajectory():
    return trajectory_of([[0.1, 0.7, 0.4, 0, 0.2, 0], [0, 0.9, 0.3, 0.15, 0, 0], [0.3, 0.05, 0, 0, 0, 0.3]])


def by_hand(trajectory, optimizer, terms=None):
    """Support by pysindy's own optimizer, coefficients by least squares, participant by participant."""
    terms = np.ones(6, dtype=bool) if terms is None else terms
    coefficients = np.zeros((trajectory.participant.max() + 1, 6))
    for who in range(len(coefficients)):
        rows = trajectory.participant == who
        design, target = LIBRARY.evaluate(trajectory.variables[rows]), trajectory.target[rows]
        found = copy.deepcopy(optimizer).fit(design[:, terms], target[:, None])
        support = np.flatnonzero(terms)[np.asarray(found.coef_).ravel() != 0]
        coefficients[who, support] = np.linalg.lstsq(design[:, support], target, rcond=None)[0]
    return coefficients


def pysindy_sr3(threshold, nu, weights=None):
    lam = threshold / nu
    if weights is None:
        return pysindy.SR3(reg_weight_lam=lam, regularizer="L1", relax_coeff_nu=nu, max_iter=1000)
    weights = lam * np.array([weights], dtype=float)
    return pysindy.SR3(reg_weight_lam=weights, regularizer="weighted_L1", relax_coeff_nu=nu, max_iter=1000)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "nu"), [(0.02, 0.1), (0.1, 1.0), (0.25, 0.5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_sr3_by_name_has_pysindys_support_and_least_squares_coefficients(threshold, nu, weighted, trajectory):
    optimizer = pysindy_sr3(threshold, nu, [0, 1, 1, 2, 2, 2] if weighted else None)
    expected = by_hand(trajectory, optimizer)
    name = "SR3_weighted_l1" if weighted else "SR3_L1"
    found = sparse_regression(trajectory, LIBRARY, 3, name, threshold, nu)
    np.testing.assert_array_equal(found.selected, expected != 0)
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-8)
    assert 0 < found.selected.sum() < found.selected.size


def test_what_the_names_of_sr3_do(trajectory):
    """A term of .15 survives a threshold of .1 in L1, and not in the weighted L1, where it has degree 2."""
    plain, weighted = (
        sparse_regression(trajectory_of([[0.05, 0.7, 0, 0, 0.15, 0]]), LIBRARY, 1, name, 0.1, 1.0).selected[0]
        for name in ("SR3_L1", "SR3_weighted_l1")
    )
    assert plain.tolist() == [False, True, False, False, True, False]
    assert weighted.tolist() == [True, True, False, False, False, False]


def test_stlsq_by_name_is_the_batched_one(trajectory):
    for shared, search in ((False, stlsq), (True, group_threshold)):
        found = sparse_regression(trajectory, LIBRARY, 3, "STLSQ", 0.12, 0.05, shared=shared)
        expected = search(trajectory, LIBRARY, 3, 0.12, 0.05)
        np.testing.assert_array_equal(found.coefficients, expected.coefficients)
        np.testing.assert_array_equal(found.selected, expected.selected)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, pysindy.STLSQ(threshold=0.1)], ids=str)
@pytest.mark.parametrize("shared", [False, True])
def test_candidates_and_participants_without_rows_are_respected(optimizer, shared, trajectory):
    candidates = np.array([True, True, False, True, True, False])
    found = sparse_regression(trajectory, LIBRARY, 4, optimizer, 0.1, 0.5, candidates, shared=shared)
    assert not found.selected[:, ~candidates].any()
    assert found.selected[:3, 1].any()
    assert np.isfinite(found.coefficients[:3]).all()
    assert np.isnan(found.coefficients[3]).all()
    assert not found.selected[3].any()
    assert candidates.sum() == 4


@pytest.mark.parametrize("name", ["SR3_L1", "SR3_weighted_l1"])
def test_sr3_sees_only_the_candidates(name, trajectory):
    terms = np.array([True, True, False, True, False, True])
    optimizer = pysindy_sr3(0.05, 0.5, [0, 1, 2, 2] if name == "SR3_weighted_l1" else None)
    found = sparse_regression(trajectory, LIBRARY, 3, name, 0.05, 0.5, terms)
    np.testing.assert_allclose(found.coefficients, by_hand(trajectory, optimizer, terms), atol=1e-8)


def test_a_shared_structure_by_name_goes_by_the_root_mean_square():
    """One person with a coefficient of .4 among four: .2 on average."""
    weights = np.tile([0, 0.7, 0.0, 0, 0, 0], (4, 1))
    weights[2, 2] = 0.4
    low, high = (
        sparse_regression(trajectory_of(weights), LIBRARY, 4, "SR3_L1", threshold, 0.5, shared=True)
        for threshold in (0.1, 0.25)
    )
    assert low.selected.tolist() == 4 * [[False, True, True, False, False, False]]
    assert high.selected.tolist() == 4 * [[False, True, False, False, False, False]]
    np.testing.assert_allclose(low.coefficients[:, 2], weights[:, 2], atol=0.02)


def test_a_shared_structure_by_an_object_goes_by_the_majority():
    weights = np.tile([0, 0.7, 0.4, 0.4, 0, 0], (4, 1))
    weights[:2, 2], weights[:3, 3] = 0.0, 0.0
    found = sparse_regression(trajectory_of(weights), LIBRARY, 4, pysindy.STLSQ(threshold=0.1), shared=True)
    assert found.selected.tolist() == 4 * [[False, True, True, False, False, False]]


def test_a_module_that_is_called_for_nobody_has_no_terms():
    nothing = Trajectory(np.zeros((0, 2)), np.zeros(0), np.zeros(0, dtype=int))
    for optimizer in (*OPTIMIZERS, pysindy.STLSQ()):
        for shared in (True, False):
            found = sparse_regression(nothing, LIBRARY, 2, optimizer, 0.1, 0.5, shared=shared)
            assert np.isnan(found.coefficients).all()
            assert not found.selected.any()


# --- objects --------------------------------------------------------------------------------------------------------


def optimizers():
    return [
        pysindy.STLSQ(threshold=0.08),
        pysindy.SR3(reg_weight_lam=0.01),
        pysindy_sr3(0.1, 0.5, [0, 1, 1, 2, 2, 2]),
        pysindy.SSR(),
        pysindy.FROLS(max_iter=3),
    ]


@pytest.mark.parametrize("optimizer", optimizers(), ids=lambda optimizer: type(optimizer).__name__)
def test_an_object_is_used_and_left_as_it_is(optimizer, trajectory):
    """SPICE changed what it was given (fit_sindy.py:54); fitting leaves coef_, history_ and others behind."""
    before = {name: copy.deepcopy(value) for name, value in optimizer.__dict__.items()}
    found = sparse_regression(trajectory, LIBRARY, 3, optimizer)
    np.testing.assert_allclose(found.coefficients, by_hand(trajectory, optimizer), atol=1e-8)
    assert set(optimizer.__dict__) == set(before)
    assert all(str(value) == str(before[name]) for name, value in optimizer.__dict__.items())


def test_participants_do_not_learn_from_each_other(trajectory):
    """Whoever was fitted before."""
    own = trajectory.participant == 2
    alone = Trajectory(trajectory.variables[own], trajectory.target[own], trajectory.participant[own])
    for optimizer in optimizers():
        together = fit_with_pysindy(trajectory, LIBRARY, 3, optimizer)
        np.testing.assert_array_equal(
            together.coefficients[2], fit_with_pysindy(alone, LIBRARY, 3, optimizer).coefficients[2]
        )


def test_the_estimator_takes_any_of_them(small_data):
    for optimizer in (pysindy.SR3(reg_weight_lam=0.001), "SR3_weighted_l1"):
        before = set(getattr(optimizer, "__dict__", ()))
        estimator = SpiceEstimator(
            RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG, n_participants=3, epochs=1, spice_optimizer_type=optimizer
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("spicestat.fit.estimator.warn_user", lambda *_arguments, **_options: None)
            estimator.fit(small_data.xs, small_data.ys)
        assert np.isfinite(estimator.sparse_.coefficients).all()
        assert estimator.spice_optimizer_type is optimizer
        assert set(getattr(optimizer, "__dict__", ())) == before


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["stlsq", "SR3", "lasso", None, 3, pysindy.STLSQ])
def test_unknown_optimizers_are_refused(unknown, trajectory):
    with pytest.raises(ConfigError, match="optimizer"):
        check_optimizer(unknown)
    with pytest.raises(ConfigError, match="optimizer"):
        SparseSettings(optimizer=unknown)
    with pytest.raises(ConfigError, match="optimizer"):
        sparse_regression(trajectory, LIBRARY, 3, unknown)


@pytest.mark.parametrize("name", ["SR3_L1", "SR3_weighted_l1"])
def test_a_relaxation_of_zero_is_refused_before_anything_is_trained(name):
    with pytest.raises(ConfigError, match="alpha"):
        SparseSettings(optimizer=name, alpha=0.0)
    with pytest.raises(ConfigError, match="alpha"):
        sr3(LIBRARY, 0.1, 0.0)
    assert SparseSettings(optimizer="STLSQ", alpha=0.0).alpha == 0.0
    assert SparseSettings(optimizer=pysindy.SR3(), alpha=0.0).alpha == 0.0
