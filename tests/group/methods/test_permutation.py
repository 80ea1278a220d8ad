import math
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, CovariateError, DataError, ShapeError
from spicestat.group.formula.design import build_design
from spicestat.group.inference.max_t import permutation_p_values
from spicestat.group.inputs.contract import GroupInputs
from spicestat.group.inputs.usable import select_equations
from spicestat.group.methods.meta import meta_regression
from spicestat.group.methods.ols import least_squares_hc3
from spicestat.group.methods.permutation import Settings, estimate, freedman_lane
from spicestat.group.numerics.rearrangements import permutation_rows, restrict_permutations, sign_flips


def p_value(statistics):
    return float(permutation_p_values(np.abs(statistics)[:, None])[0])


def inputs_of(frame, people, formula):
    table, design = CoefficientTable.from_frame(frame), build_design(formula, people)
    return GroupInputs(table, design, select_equations(table, design)[0])


def test_all_permutations_are_used_where_they_are_few():
    everything = permutation_rows(4, 24)
    assert everything.exact
    assert sorted(map(tuple, everything.rows.tolist())) == sorted(permutations(range(4)))
    assert everything.rows[0].tolist() == [0, 1, 2, 3]
    drawn = permutation_rows(4, 23, seed=5)
    assert not drawn.exact and drawn.rows.shape == (24, 4)
    np.testing.assert_array_equal(drawn.rows, permutation_rows(4, 23, seed=5).rows)
    np.testing.assert_array_equal(np.sort(drawn.rows, axis=1), np.tile(np.arange(4), (24, 1)))


def test_strata_stay_apart():
    labels = ["a", "b", "a", "b", "c"]
    few = permutation_rows(5, 100, strata=labels)
    assert few.exact and len(few.rows) == 4
    many = permutation_rows(30, 50, strata=[row % 3 for row in range(30)])
    assert (many.rows % 3 == np.arange(30) % 3).all()
    with pytest.raises(DataError, match="nothing to permute"):
        permutation_rows(3, strata=["a", "b", "c"])
    with pytest.raises(DataError, match="1 participants"):
        permutation_rows(1)
    with pytest.raises(ShapeError, match="strata"):
        permutation_rows(3, strata=["a"])


@pytest.mark.parametrize("subset", [[0, 2, 3], [1, 4], [0, 1, 2, 3, 4]])
def test_restricted_permutations_stay_uniform(subset):
    restricted = restrict_permutations(permutation_rows(5, 1000).rows, np.array(subset))
    found, counts = np.unique(restricted, axis=0, return_counts=True)
    assert len(found) == math.factorial(len(subset))
    assert (counts == 120 // len(found)).all()


def test_restricted_permutations_move_few_others():
    rows = permutation_rows(50, 200, seed=3).rows
    subset = np.delete(np.arange(50), [10, 30])
    restricted = subset[restrict_permutations(rows, subset)]
    assert np.mean(restricted == rows[:, subset]) > 0.95


def test_two_groups_give_the_exact_permutation_distribution():
    """The p-value equals the count over all ways to form the groups, which is the classical exact test."""
    y = np.random.default_rng(4).normal(size=7)
    x = np.array([0, 0, 0, 0, 1, 1, 1.0])
    X = np.column_stack([np.ones(7), x])
    ours = p_value(freedman_lane(y, X, [1], permutation_rows(7), variance=np.full(7, 0.1)))
    differences = np.array(
        [abs(y[list(chosen)].mean() - np.delete(y, list(chosen)).mean()) for chosen in combinations(range(7), 3)]
    )
    assert ours == pytest.approx(np.mean(differences >= differences[-1] - 1e-12), abs=1e-12)


def test_exact_tests_hold_their_level_exactly():
    """Over all permutations of one cohort as observed data, P(p <= alpha) is at most alpha, for every alpha."""
    y = np.array([0.1, 0.9, 0.35, 2.0, 0.8])
    X = np.column_stack([np.ones(5), [1.0, 2, 4, 7, 11]])
    every = permutation_rows(5)
    p = np.array([p_value(freedman_lane(y[row], X, [1], every)) for row in every.rows])
    for alpha in np.unique(p):
        assert np.mean(p <= alpha) <= alpha + 1e-12
    np.testing.assert_allclose(np.sort(p), np.arange(1, 121) / 120, atol=1e-12)


def slow_statistic(y, X, column, rows, variance):
    """Refit every permutation from scratch, adding the reduced model's fit back."""
    reduced = np.delete(X, column, axis=1)
    w = np.ones(len(y)) if variance is None else 1 / (variance + meta_regression(y, variance, reduced).tau2)
    yw, Xw, Zw = y * np.sqrt(w), X * np.sqrt(w)[:, None], reduced * np.sqrt(w)[:, None]
    fitted = Zw @ np.linalg.lstsq(Zw, yw, rcond=None)[0]
    found = []
    for row in rows:
        star = fitted + (yw - fitted)[row]
        if variance is None:
            fit = least_squares_hc3(star, Xw)
            found.append(fit.beta[column] / np.sqrt(fit.covariance[column, column]))
        else:
            beta = np.linalg.lstsq(Xw, star, rcond=None)[0]
            s2 = np.sum((star - Xw @ beta) ** 2) / (len(y) - X.shape[1])
            found.append(beta[column] / np.sqrt(s2 * np.linalg.inv(Xw.T @ Xw)[column, column]))
    return np.array(found)


@pytest.mark.parametrize("weighted", [True, False])
def test_statistics_equal_a_refit_of_every_permutation(weighted):
    rng = np.random.default_rng(8)
    X = np.column_stack([np.ones(15), rng.normal(size=15), rng.normal(size=15)])
    y, v = rng.normal(size=15), rng.uniform(0.05, 2, 15)
    drawn = permutation_rows(15, 30)
    variance = v if weighted else None
    ours = freedman_lane(y, X, [2], drawn, variance=variance)
    np.testing.assert_allclose(ours, slow_statistic(y, X, 2, drawn.rows, variance), rtol=1e-8)
    squared = freedman_lane(y, X, [2], drawn, variance=variance) ** 2
    several = freedman_lane(y, X, [1, 2], drawn, variance=variance)
    assert several.shape == squared.shape and (several > 0).all()


def test_f_of_several_columns_equals_the_ratio_of_residual_sums():
    rng = np.random.default_rng(9)
    X = np.column_stack([np.ones(20), rng.normal(size=(20, 2))])
    y = rng.normal(size=20)
    ours = freedman_lane(y, X, [1, 2], permutation_rows(20, 19), variance=np.full(20, 1e-9))[0]
    full = np.sum((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2)
    none = np.sum((y - y.mean()) ** 2)
    assert ours == pytest.approx((none - full) / 2 / (full / 17), rel=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(0.01, 100))
def test_units_of_covariates_and_shifts_along_nuisances_do_not_matter(seed, shift, scale):
    rng = np.random.default_rng(seed)
    nuisance = rng.normal(size=12)
    X = np.column_stack([np.ones(12), rng.normal(size=12), nuisance])
    y, v = rng.normal(size=12), rng.uniform(0.1, 1, 12)
    drawn = permutation_rows(12, 99, seed=seed)
    t = freedman_lane(y, X, [1], drawn, variance=v)
    moved = freedman_lane(y + shift + 2 * shift * nuisance, X * [1, scale, 1], [1], drawn, variance=v)
    np.testing.assert_allclose(moved, t, rtol=1e-6, atol=1e-8)


def test_the_order_of_participants_does_not_matter_under_enumeration():
    rng = np.random.default_rng(11)
    X = np.column_stack([np.ones(6), rng.normal(size=6), rng.normal(size=6)])
    y, v, order = rng.normal(size=6), rng.uniform(0.1, 1, 6), rng.permutation(6)
    every = permutation_rows(6)
    here = p_value(freedman_lane(y, X, [1], every, variance=v))
    assert p_value(freedman_lane(y[order], X[order], [1], every, variance=v[order])) == pytest.approx(here, abs=1e-12)


def simulate(rng, n, nuisance_effect, heavy):
    nuisance = rng.normal(size=n)
    x = 0.7 * nuisance + np.sqrt(1 - 0.49) * rng.normal(size=n)
    v = rng.uniform(0.02, 1.0, n)
    spread = rng.exponential(1.0, n) - 1.0 if heavy else rng.normal(size=n)
    y = nuisance_effect * nuisance + 0.5 * spread + np.sqrt(v) * rng.normal(size=n)
    return y, v, np.column_stack([np.ones(n), x, nuisance])


@pytest.mark.parametrize("statistic", ["meta", "hc3"])
@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "skewed"])
def test_type_one_error_with_a_correlated_nuisance(statistic, heavy):
    """Error rate: at 5 %, cohorts of 25 (300 weighted, 1000 HC3), nuisance correlated 0.7 with the covariate.

    The count of rejections lies within the 0.05 % and 99.95 % quantiles of its binomial distribution.
    """
    rng, n_cohorts = np.random.default_rng(20261129), 300 if statistic == "meta" else 1000
    rejected = 0
    for seed in range(n_cohorts):
        y, v, X = simulate(rng, 25, 1.5, heavy)
        drawn = permutation_rows(25, 99, seed=seed)
        rejected += p_value(freedman_lane(y, X, [1], drawn, variance=v if statistic == "meta" else None)) <= 0.05
    assert binom.ppf(0.0005, n_cohorts, 0.05) <= rejected <= binom.ppf(0.9995, n_cohorts, 0.05)


def test_it_finds_an_effect_that_is_there():
    """Power: an effect of 0.6 standard deviations per unit in 40 participants; seeds fixed, p below 0.01."""
    rng = np.random.default_rng(1)
    x, v = rng.normal(size=40), rng.uniform(0.02, 0.3, 40)
    y = 0.6 * x + 0.5 * rng.normal(size=40) + np.sqrt(v) * rng.normal(size=40)
    X = np.column_stack([np.ones(40), x])
    assert p_value(freedman_lane(y, X, [1], permutation_rows(40, 999), variance=v)) < 0.01


def test_sign_flips_test_a_mean_exactly():
    y = np.array([0.3, 0.8, -0.1, 0.5, 0.9])
    flips = sign_flips(5)
    assert flips.exact and len(flips.rows) == 32
    ours = p_value(freedman_lane(y, np.ones((5, 1)), [0], flips, variance=np.full(5, 0.2)))
    sums = np.abs(flips.rows @ y)
    assert ours == pytest.approx(np.mean(sums >= sums[0] - 1e-9))
    drawn = sign_flips(40, 99, seed=2)
    assert not drawn.exact and set(np.unique(drawn.rows)) == {-1.0, 1.0}
    with pytest.raises(DataError, match="nobody"):
        sign_flips(0)


def test_group_method_keeps_the_estimates_and_replaces_the_tests(cohort):
    frame, people = cohort(24, seed=1, slope=0.3, terms=("reward", "choice", "forget"))
    inputs = inputs_of(frame, people, "~ age + smokes")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = estimate(inputs, Settings(n_permutations=499, seed=4))
    first = inputs.equations[0]
    fit = meta_regression(first.estimate, first.variance, inputs.design.matrix[first.rows])
    np.testing.assert_allclose(found.fixed["estimate"][:3], fit.beta)
    p, adjusted = found.fixed["p_value"].to_numpy(), found.max_t
    assert (p >= 1 / 500).all() and (adjusted >= p - 1e-12).all()
    age = (found.fixed["term"] == "age").to_numpy()
    assert p[age].max() < 0.05
    # three equations: less than Bonferroni, as the permutations are shared
    assert (adjusted[age] <= np.minimum(1, 3 * p[age]) + 0.01).all()
    again = estimate(inputs, Settings(n_permutations=499, seed=4))
    pd.testing.assert_frame_equal(found.fixed, again.fixed)
    assert "permute the whole pipeline" in found.messages[0]


def test_equations_with_different_participants_are_permuted_together(cohort):
    frame, people = cohort(20, seed=2, terms=("reward", "choice"))
    frame.loc[(frame["term"] == "choice") & frame["participant"].isin(["s03", "s11"]), "std_error"] = np.nan
    with pytest.warns(match="2 coefficients"):
        inputs = inputs_of(frame, people, "~ age")
    found = estimate(inputs, Settings(n_permutations=99, statistic="hc3"))
    assert found.glance["nobs"].tolist() == [20, 18]
    assert np.isfinite(found.fixed["p_value"]).all()


def test_strata_come_from_the_formula(cohort):
    frame, people = cohort(18)
    inputs = inputs_of(frame, people, "~ age + diagnosis")
    within = estimate(inputs, Settings(n_permutations=99, strata="diagnosis"))
    anywhere = estimate(inputs, Settings(n_permutations=99))
    assert within.fixed["p_value"].tolist() != anywhere.fixed["p_value"].tolist()
    assert "within the levels of 'diagnosis'" in within.messages[0]
    with pytest.raises(CovariateError, match="not a factor of the formula"):
        estimate(inputs, Settings(n_permutations=99, strata="smokes"))


def test_what_cannot_be_permuted_is_named():
    X, drawn = np.column_stack([np.ones(6), np.arange(6.0)]), permutation_rows(6)
    with pytest.raises(DataError, match="reproduce the estimates exactly"):
        freedman_lane(np.full(6, 0.4), X, [1], drawn)
    with pytest.raises(DataError, match="finite"):
        freedman_lane(np.array([1, 2, 3, 4, 5, np.nan]), X, [1], drawn)
    with pytest.raises(DataError, match="variances positive"):
        freedman_lane(np.arange(6.0) ** 2, X, [1], drawn, variance=np.zeros(6))
    with pytest.raises(DataError, match="full rank"):
        freedman_lane(np.arange(6.0), np.ones((6, 2)), [1], drawn)
    with pytest.raises(ShapeError, match="do not match"):
        freedman_lane(np.arange(5.0), X, [1], drawn)
    with pytest.raises(ShapeError, match="does not name"):
        freedman_lane(np.arange(6.0), X, [2], drawn)
    alone = np.column_stack([np.ones(6), np.eye(6)[0]])
    with pytest.raises(DataError, match="alone determines"):
        freedman_lane(np.arange(6.0), alone, [1], drawn)


@pytest.mark.parametrize(
    "wrong", [{"n_permutations": 5}, {"statistic": "mean"}, {"seed": -1}, {"strata": 3}, {"n_permutations": 99.5}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        Settings(**wrong)
