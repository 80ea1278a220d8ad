"""What tests/reference/test_emmeans.py does not compare with R."""

from dataclasses import replace

import numpy as np
import pytest

from spicestat.errors import ConfigError, DataError, ExclusionWarning, IdentifiabilityWarning
from spicestat.group import spice_group
from spicestat.group.after.fitted import fitted_equations
from spicestat.group.after.marginal_means import marginal_means, reference_grid

KEYS = [("x_value", "reward"), ("x_value", "1")]


@pytest.fixture
def group(cohort):
    table, people = cohort(terms=("reward", "1"))
    return spice_group(table, "~ diagnosis * smokes + age", data=people)


def test_every_equation_has_its_own_means(group):
    frame = marginal_means(group, "diagnosis", by="smokes").frame
    assert list(zip(frame["module"], frame["sparse_term"], strict=True)) == [key for key in KEYS for _ in range(6)]
    assert frame["diagnosis"].tolist() == ["bipolar", "depression", "healthy"] * 4
    assert frame["smokes"].tolist() == (["FALSE"] * 3 + ["TRUE"] * 3) * 2
    only = marginal_means(group, "diagnosis", by="smokes", equations=[KEYS[1]]).frame
    np.testing.assert_array_equal(only["estimate"], frame["estimate"].iloc[6:])


def test_without_variables_there_is_one_mean_over_all(group):
    overall = marginal_means(group, equations=[KEYS[0]]).frame
    each = marginal_means(group, ["diagnosis", "smokes"], equations=[KEYS[0]]).frame
    assert overall["estimate"].item() == pytest.approx(each["estimate"].mean(), rel=1e-12)
    assert overall["std_error"].item() < each["std_error"].min()


def test_booleans_select_levels_and_single_values_need_no_list(group):
    smokers = marginal_means(group, "diagnosis", at={"smokes": True, "age": 30}).frame
    both = marginal_means(group, "diagnosis", by="smokes", at={"age": [30]}).frame.query("smokes == 'TRUE'")
    np.testing.assert_array_equal(smokers["estimate"], both["estimate"])
    assert marginal_means(group, "smokes", at={"smokes": [True]}).frame["smokes"].tolist() == ["TRUE", "TRUE"]


def test_a_number_of_few_values_is_a_factor_unless_told_otherwise(cohort):
    table, people = cohort()
    people["dose"] = [0.0, 1.0, 1.0] * 8
    design = spice_group(table, "~ dose", data=people).design
    assert reference_grid(design)["dose"].tolist() == [0, 1]
    assert reference_grid(design, cov_keep=0)["dose"].tolist() == [pytest.approx(2 / 3)]


def test_withheld_inference_gives_no_intervals(cohort):
    table, people = cohort()
    table["at_bound"] = np.arange(24) < 8
    with pytest.warns(IdentifiabilityWarning), pytest.warns(ExclusionWarning):
        group = spice_group(table, "~ diagnosis", data=people)
    frame = marginal_means(group, "diagnosis").frame
    assert np.isfinite(frame["std_error"]).all()
    assert frame[["conf_low", "conf_high"]].isna().all(axis=None)


def test_degrees_of_freedom_are_the_smallest_of_the_effects_involved(group):
    table = group.coefficients.copy()
    df = {"(Intercept)": 30.0, "diagnosisdepression": 9.0, "smokesTRUE": 12.0, "age": 20.0}
    table["df"] = table["term"].map(df).fillna(15.0)
    means = marginal_means(replace(group, coefficients=table), "diagnosis", by="smokes", equations=[KEYS[0]])
    assert means.frame["df"].tolist() == [20, 9, 15, 12, 9, 12]
    # infinite: the normal quantile
    table["df"] = np.inf
    frame = marginal_means(replace(group, coefficients=table), "diagnosis").frame
    np.testing.assert_allclose(frame["conf_high"] - frame["estimate"], 1.959963984540054 * frame["std_error"])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"variables": "sex"}, "need covariates of the formula"),
        ({"variables": ["smokes", "smokes"]}, "each once"),
        ({"variables": "smokes", "by": "smokes"}, "each once"),
        ({"at": {"sex": 1}}, "unknown covariate 'sex'"),
        ({"at": {"diagnosis": ["mania"]}}, "a level of 'diagnosis'"),
        ({"at": {"age": ["old"]}}, "not a number"),
        ({"at": {"age": []}}, "no value of 'age'"),
        ({"weights": "cells"}, "`weights` is unknown"),
        ({"type": "natural"}, "`type` is unknown"),
        ({"equations": [("x_value", "2")]}, "no such equation"),
    ],
)
def test_what_the_model_does_not_know_is_an_error(group, settings, match):
    with pytest.raises(ConfigError, match=match):
        marginal_means(group, **settings)


def test_a_covariate_named_like_a_column_of_the_result_is_refused(cohort):
    table, people = cohort()
    people["df"] = people["diagnosis"]
    group = spice_group(table, "~ df", data=people)
    with pytest.raises(ConfigError, match="rename"):
        marginal_means(group, "df")


def test_a_result_put_together_by_hand_says_what_it_lacks(group):
    with pytest.raises(DataError, match="spice_group"):
        fitted_equations(replace(group, design=None))
    with pytest.raises(ConfigError, match="no covariance"):
        fitted_equations(replace(group, covariance={}))
