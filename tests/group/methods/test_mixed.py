import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConvergenceWarning, DataError, ExclusionWarning, NumericalError, ShapeError
from spicestat.group import spice_group
from spicestat.group.formula.design import Design
from spicestat.group.inputs.contract import Equation, GroupInputs
from spicestat.group.methods.mixed import estimate
from spicestat.group.numerics.random_intercept import random_intercept


def joint(n=20, k=3, seed=0, tau=0.8):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n), k)
    D = np.tile(np.eye(k), (n, 1))
    return D @ np.arange(1.0, k + 1) + rng.normal(0, tau, n)[group] + rng.normal(size=n * k), D, group


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_order_and_labels_do_not_matter(seed):
    z, D, group = joint(seed=seed)
    order = np.random.default_rng(seed).permutation(len(z))
    one = random_intercept(z, D, group)
    other = random_intercept(z[order], D[order], np.array([f"p{code}" for code in group])[order])
    np.testing.assert_allclose(other.beta, one.beta, rtol=1e-8)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(other.df, one.df, rtol=1e-5)


@given(st.integers(0, 10**6), st.floats(-4, 4))
@settings(max_examples=25)
def test_units_scale_the_results(seed, power):
    z, D, group = joint(seed=seed)
    one, other = random_intercept(z, D, group), random_intercept(10.0**power * z, D, group)
    np.testing.assert_allclose(other.beta / 10.0**power, one.beta, rtol=1e-7)
    np.testing.assert_allclose(other.df, one.df, rtol=1e-5)


@pytest.mark.parametrize("power", [-3, 3])
def test_units_of_a_term_change_only_that_terms_rows(cohort, power):
    frame, people = cohort(terms=("1", "reward", "x_value"))
    first = frame["term"] == "1"
    scaled = frame.assign(estimate=frame["estimate"].where(~first, frame["estimate"] * 10.0**power))
    one = spice_group(frame, "~ age", data=people, method="mixed").tidy()
    other = spice_group(scaled, "~ age", data=people, method="mixed").tidy()
    factor = np.where(one["sparse_term"] == "1", 10.0**power, 1.0)
    np.testing.assert_allclose(other["estimate"], one["estimate"] * factor, rtol=1e-8)
    np.testing.assert_allclose(other["std_error"], one["std_error"] * factor, rtol=1e-8)
    np.testing.assert_allclose(other["p_value"], one["p_value"], rtol=1e-6)


def test_balanced_data_give_the_coefficients_of_separate_regressions(cohort):
    frame, people = cohort(terms=("1", "reward"))
    mixed = spice_group(frame, "~ diagnosis + age", data=people, method="mixed").tidy()
    plain = spice_group(frame, "~ diagnosis + age", data=people, method="ols").tidy()
    np.testing.assert_allclose(mixed["estimate"], plain["estimate"], rtol=1e-8)
    assert (mixed["df"] <= plain["df"]).all()


def test_one_row_of_glance_and_standard_deviations_in_the_terms_units(cohort):
    frame, people = cohort(terms=("1", "reward"))
    result = spice_group(frame, "~ age", data=people, method="mixed")
    glance = result.glance()
    assert len(glance) == 1 and glance["module"].isna().all() and glance["nobs"].item() == 48
    assert result.tidy("ran_pars")["term"].tolist() == ["sd__(Intercept)", "sd__Observation"] * 2
    assert any("ignores the estimates' standard errors" in message for message in result.messages)


def test_a_single_term_is_not_identified(cohort):
    frame, people = cohort()
    with pytest.raises(DataError, match=r'single term.*method="meta"'):
        spice_group(frame, "~ age", data=people, method="mixed")


def test_terms_of_different_participants_are_not_identified(cohort):
    frame, people = cohort(terms=("1", "reward"))
    half = frame["participant"] < "s12"
    with pytest.warns(ExclusionWarning), pytest.raises(DataError, match="one row per participant"):
        spice_group(frame[half == (frame["term"] == "1")], "~ age", data=people, method="mixed")


def test_negative_correlation_is_called_singular(cohort):
    frame, people = cohort(terms=("1", "reward"))
    first, second = frame["term"] == "1", frame["term"] == "reward"
    frame.loc[second, "estimate"] = -frame.loc[first, "estimate"].to_numpy() + np.random.default_rng(1).normal(0, 1, 24)
    result = spice_group(frame, "~ age", data=people, method="mixed")
    assert any("singular fit" in message for message in result.messages)
    assert result.tidy("ran_pars").query("term == 'sd__(Intercept)'")["estimate"].tolist() == [0, 0]


def test_perfectly_correlated_terms_do_not_converge_and_say_so(cohort):
    frame, people = cohort(terms=("1", "reward"))
    first, second = frame["term"] == "1", frame["term"] == "reward"
    frame.loc[second, "estimate"] = 2 * frame.loc[first, "estimate"].to_numpy()
    with pytest.warns(ConvergenceWarning, match="did not converge for all terms"):
        result = spice_group(frame, "~ age", data=people, method="mixed")
    assert not result.glance()["converged"].any()
    assert "Not converged" in result.summary()


def test_exact_fit_and_bad_arrays_are_named(cohort):
    frame, people = cohort(terms=("1", "reward"))
    frame["estimate"] = 1.0 + np.tile(people["age"], 2)
    with pytest.raises(DataError, match="reproduce the estimates exactly"):
        spice_group(frame, "~ age", data=people, method="mixed")
    z, D, group = joint()
    with pytest.raises(ShapeError):
        random_intercept(z[:-1], D, group)
    with pytest.raises(NumericalError, match="singular"):
        random_intercept(z, np.column_stack([D, D[:, 0]]), group)
    with pytest.raises(DataError, match="reproduce the estimates exactly"):
        random_intercept(D @ np.ones(3), D, group)


def test_small_cohorts_keep_the_level():
    # 400 null cohorts of 8 people with 4 correlated terms, level .05. The mean share of rejections per cohort must be
    # within 3.3 of its own standard errors (probability .001 for a valid test). Seed fixed. With Satterthwaite's df
    # not capped at n - p the rate was measured as .078 (standard error .007), which fails this bound.
    rng = np.random.default_rng(20261122)
    n, p, k, cohorts = 8, 2, 4, 400
    shares = []
    for _ in range(cohorts):
        X = np.column_stack([np.ones(n), rng.normal(size=n)])
        y = rng.normal(0, 0.3, n) + rng.normal(0, 0.4, (k, n))
        people = np.arange(n)
        equations = tuple(Equation("m", str(i), people, y[i], np.full(n, np.nan), 0, 0.0) for i in range(k))
        table = CoefficientTable.from_frame(
            pd.DataFrame({"participant": people, "module": "m", "term": "t", "estimate": 0.0, "std_error": 1.0})
        )
        fixed = estimate(GroupInputs(table, Design("~ x", ("(Intercept)", "x"), X, people), equations)).fixed
        slopes = fixed[fixed["term"] == "x"]
        assert (slopes["df"] <= n - p).all()
        shares.append(np.mean(2 * student.sf(np.abs(slopes["estimate"] / slopes["std_error"]), slopes["df"]) < 0.05))
    assert abs(np.mean(shares) - 0.05) < 3.3 * np.std(shares) / np.sqrt(cohorts)
