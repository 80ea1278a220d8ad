"""The batched sparse regression is pysindy's, for all participants at once."""

import numpy as np
import pysindy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.sparse import (
    fit_with_pysindy,
    group_threshold,
    independent_terms,
    polynomial_library,
    stlsq,
)
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.equations.trajectories import Trajectory
from spicestat.errors import ConfigError

MODULE = "x_value"


def random_trajectory(seed, n_participants, n_signals=2, n_rows=60, scale=1.0, noise=0.01):
    """Rows of participants whose equations have different supports, in mixed order."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(n_participants), n_rows))
    variables = scale * rng.normal(size=(len(who), 1 + n_signals))
    weights = rng.normal(size=(n_participants, 2 + n_signals)) * (rng.random((n_participants, 2 + n_signals)) < 0.6)
    target = weights[who, 0] + (weights[who, 1:] * variables).sum(axis=1) + noise * rng.normal(size=len(who))
    return Trajectory(variables, target, who)


# --- library --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("signals", [[], ["c_reward"], ["c_reward", "c_value_reward"]])
def test_terms_have_the_names_of_pysindy(signals, degree):
    library = polynomial_library(MODULE, signals, degree)
    theirs = pysindy.PolynomialLibrary(degree=degree)
    rows = np.random.default_rng(0).normal(size=(7, 1 + len(signals)))
    values = theirs.fit_transform(rows)
    assert list(library.terms) == theirs.get_feature_names([MODULE, *signals])
    np.testing.assert_allclose(library.evaluate(rows), np.asarray(values), rtol=1e-12)


def test_own_state_and_factors():
    library = polynomial_library(MODULE, ["c_reward"], 2)
    assert library.terms[library.own_state] == MODULE
    assert [library.terms[i] for i, factors in enumerate(library.factors) if factors == (0, 1)] == ["x_value c_reward"]
    assert ModuleLibrary(MODULE, (MODULE,), ((0,),)).own_state is None


@pytest.mark.parametrize("degree", [0, -1])
def test_degree_starts_at_one(degree):
    with pytest.raises(ConfigError, match="degree"):
        polynomial_library(MODULE, [], degree)


# --- stlsq ----------------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**20),
    n_participants=st.integers(1, 4),
    degree=st.integers(1, 2),
    threshold=st.floats(0.01, 0.5),
    alpha=st.floats(0.0, 1.0),
    scale=st.floats(0.3, 3.0),
)
@settings(max_examples=60)
def test_batched_stlsq_is_pysindy_for_each_participant(seed, n_participants, degree, threshold, alpha, scale):
    trajectory = random_trajectory(seed, n_participants, scale=scale)
    library = polynomial_library(MODULE, ["c_reward", "c_value"], degree)
    ours = stlsq(trajectory, library, n_participants, threshold, alpha)
    optimizer = pysindy.STLSQ(threshold=threshold, alpha=alpha, max_iter=20)
    theirs = fit_with_pysindy(trajectory, library, n_participants, optimizer)
    np.testing.assert_allclose(ours.coefficients, theirs.coefficients, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ours.selected, theirs.selected)


def test_true_equations_are_found():
    rng = np.random.default_rng(1)
    variables = rng.normal(size=(200, 2))
    target = 0.1 + 0.8 * variables[:, 0]
    library = polynomial_library(MODULE, ["c_reward"], 2)
    fit = stlsq(Trajectory(variables, target, np.zeros(200, dtype=int)), library, 1)
    assert [term for term, kept in zip(library.terms, fit.selected[0], strict=True) if kept] == ["1", MODULE]
    np.testing.assert_allclose(fit.coefficients[0, :2], [0.1, 0.8], atol=1e-10)


def test_participants_without_rows_are_nan_and_not_selected():
    trajectory = random_trajectory(0, 2)
    library = polynomial_library(MODULE, ["c_reward", "c_value"])
    for search in (stlsq, group_threshold):
        fit = search(trajectory, library, 3)
        assert np.isnan(fit.coefficients[2]).all()
        assert not fit.selected[2].any()
        assert np.isfinite(fit.coefficients[:2]).all()


def test_order_of_rows_does_not_matter():
    trajectory = random_trajectory(3, 3)
    shuffled = np.random.default_rng(0).permutation(len(trajectory.target))
    other = Trajectory(trajectory.variables[shuffled], trajectory.target[shuffled], trajectory.participant[shuffled])
    library = polynomial_library(MODULE, ["c_reward", "c_value"])
    np.testing.assert_allclose(
        stlsq(other, library, 3).coefficients, stlsq(trajectory, library, 3).coefficients, atol=1e-12
    )


def test_candidates_limit_the_choice():
    trajectory = random_trajectory(3, 2)
    library = polynomial_library(MODULE, ["c_reward", "c_value"])
    allowed = np.array([True, True, False, False])
    for search in (stlsq, group_threshold):
        fit = search(trajectory, library, 2, 0.0, candidates=allowed)
        assert not fit.selected[:, 2:].any()
        assert allowed.tolist() == [True, True, False, False]


def test_a_threshold_above_everything_leaves_nothing():
    trajectory, library = random_trajectory(0, 2), polynomial_library(MODULE, ["c_reward", "c_value"])
    for search in (stlsq, group_threshold):
        fit = search(trajectory, library, 2, 1e6)
        assert not fit.selected.any()
        assert (fit.coefficients == 0).all()


@pytest.mark.parametrize("search", [stlsq, group_threshold])
@pytest.mark.parametrize("bad", [{"threshold": -0.1}, {"alpha": -1.0}, {"max_iter": 0}])
def test_settings_out_of_range_are_refused(search, bad):
    with pytest.raises(ConfigError, match="threshold and alpha"):
        search(random_trajectory(0, 1), polynomial_library(MODULE, ["a", "b"]), 1, **bad)


# --- one structure for the population -------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**20), threshold=st.floats(0.01, 0.5))
@settings(max_examples=20)
def test_for_one_participant_group_sparsity_is_stlsq(seed, threshold):
    trajectory, library = random_trajectory(seed, 1), polynomial_library(MODULE, ["c_reward", "c_value"], 2)
    alone, group = stlsq(trajectory, library, 1, threshold), group_threshold(trajectory, library, 1, threshold)
    np.testing.assert_allclose(group.coefficients, alone.coefficients, atol=1e-10)
    np.testing.assert_array_equal(group.selected, alone.selected)


def test_the_population_has_one_structure_by_root_mean_square():
    """One person with a coefficient of .2 among four keeps a term at threshold .09, not at .11."""
    rng = np.random.default_rng(0)
    variables, who = rng.normal(size=(800, 2)), np.repeat(np.arange(4), 200)
    target = variables[:, 0] + np.where(who == 0, 0.2, 0.0) * variables[:, 1]
    library = polynomial_library(MODULE, ["c_reward"])
    trajectory = Trajectory(variables, target, who)
    low = group_threshold(trajectory, library, 4, threshold=0.09, alpha=0.0)
    high = group_threshold(trajectory, library, 4, threshold=0.11, alpha=0.0)
    assert low.selected.tolist() == [[False, True, True]] * 4
    assert high.selected.tolist() == [[False, True, False]] * 4
    np.testing.assert_allclose(low.coefficients[:, 2], [0.2, 0, 0, 0], atol=1e-12)


# --- pysindy's optimizers and redundant terms -----------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [pysindy.STLSQ(threshold=0.05), pysindy.SR3(reg_weight_lam=0.001)])
def test_any_pysindy_optimizer_fits_every_participant(optimizer):
    trajectory = random_trajectory(7, 2, noise=0.0)
    library = polynomial_library(MODULE, ["c_reward", "c_value"])
    fit = fit_with_pysindy(trajectory, library, 3, optimizer)
    assert np.isnan(fit.coefficients[2]).all()
    for code in range(2):
        rows = trajectory.participant == code
        alone = optimizer.fit(library.evaluate(trajectory.variables[rows]), trajectory.target[rows].reshape(-1, 1))
        np.testing.assert_array_equal(fit.coefficients[code], np.asarray(alone.coef_).ravel())
    assert not fit.selected[2].any()


def test_square_of_a_binary_reward_is_no_candidate():
    rng = np.random.default_rng(0)
    variables = np.column_stack([rng.normal(size=100), rng.integers(0, 2, 100)])
    library = polynomial_library(MODULE, ["c_reward"], 2)
    kept = independent_terms(Trajectory(variables, variables[:, 0], np.zeros(100, dtype=int)), library)
    assert [term for term, keep in zip(library.terms, kept, strict=True) if not keep] == ["c_reward^2"]


def test_a_constant_signal_is_no_candidate_beside_the_constant():
    rng = np.random.default_rng(0)
    variables = np.column_stack([rng.normal(size=50), np.full(50, 0.7), np.zeros(50)])
    library = polynomial_library(MODULE, ["c_constant", "c_zero"])
    kept = independent_terms(Trajectory(variables, variables[:, 0], np.zeros(50, dtype=int)), library)
    assert kept.tolist() == [True, True, False, False]


@given(seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_terms_of_a_full_rank_design_are_all_candidates(seed):
    trajectory = random_trajectory(seed, 2)
    assert independent_terms(trajectory, polynomial_library(MODULE, ["c_reward", "c_value"], 2)).all()
