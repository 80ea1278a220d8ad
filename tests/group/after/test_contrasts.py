"""What tests/reference/test_emmeans.py does not compare with R."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f as fisher

from spicestat.errors import ConfigError, ExclusionWarning, IdentifiabilityWarning
from spicestat.group import spice_group
from spicestat.group.after.contrasts import (
    contrast_weights,
    contrasts,
    joint_contrasts,
    linear_hypotheses,
    term_tests,
    wald_f,
)
from spicestat.group.after.marginal_means import marginal_means
from spicestat.group.inference.multiplicity import adjust_p_values

KEY = ("x_value", "reward")


@pytest.fixture
def group(cohort):
    table, people = cohort(terms=("reward", "1"))
    return spice_group(table, "~ diagnosis * smokes + age", data=people)


@pytest.fixture
def least_squares(cohort):
    """Give a group model with the covariance of ordinary least squares, and its data."""
    table, people = cohort()
    group = spice_group(table, "~ diagnosis + age", data=people, method="ols")
    X, y = group.design.matrix, table["estimate"].to_numpy()
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    covariance = residual @ residual / (len(y) - 4) * np.linalg.inv(X.T @ X)
    labelled = pd.DataFrame(covariance, index=group.design.names, columns=group.design.names)
    return replace(group, covariance={KEY: labelled}), y


def test_weights_can_be_given_as_a_mapping_or_a_table(group):
    means = marginal_means(group, "diagnosis")
    own = contrasts(means, {"ill - healthy": [0.5, 0.5, -1], "sum": [1, 1, 1]})
    estimates = means.frame["estimate"].to_numpy().reshape(2, 3)
    expected = np.column_stack([estimates[:, :2].mean(axis=1) - estimates[:, 2], estimates.sum(axis=1)])
    np.testing.assert_allclose(own["estimate"], expected.ravel(), rtol=1e-12)
    table = pd.DataFrame([[0.5, 0.5, -1], [1, 1, 1]], index=["ill - healthy", "sum"])
    pd.testing.assert_frame_equal(contrasts(means, table), own)


def test_families_are_all_tests_or_those_of_an_equation(group):
    means = marginal_means(group, "diagnosis", by="smokes")
    everything = contrasts(means, adjust="holm")
    p_values = everything["p_value"].to_numpy()
    np.testing.assert_allclose(everything["p_adjusted"], adjust_p_values(p_values, "holm"))
    apart = contrasts(means, adjust="holm", family="equation")["p_adjusted"].to_numpy()
    expected = [adjust_p_values(p_values[start : start + 3], "holm") for start in range(0, 12, 3)]
    np.testing.assert_allclose(apart, np.concatenate(expected))
    assert (apart <= everything["p_adjusted"]).all()
    assert (apart < everything["p_adjusted"]).any()


def test_a_control_is_named_by_label_or_position(group):
    means = marginal_means(group, ["diagnosis", "smokes"])
    by_name = contrasts(means, "trt.vs.ctrl", reference="(healthy, TRUE)")
    assert by_name["contrast"].iloc[0] == "(bipolar, FALSE) - (healthy, TRUE)"
    pd.testing.assert_frame_equal(contrasts(means, "trt.vs.ctrl", reference=5), by_name)
    pd.testing.assert_frame_equal(contrasts(means, "trt.vs.ctrl", reference=-1), by_name)


def test_term_tests_equal_the_comparison_of_nested_models(least_squares):
    group, y = least_squares
    table = term_tests(group).set_index("term")

    def rss(columns):
        X = group.design.matrix[:, columns]
        return np.sum((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2)

    full = rss([0, 1, 2, 3])
    for term, without, q in (("diagnosis", [0, 3], 2), ("age", [0, 1, 2], 1), ("(Intercept)", [1, 2, 3], 1)):
        statistic = (rss(without) - full) / q / (full / (len(y) - 4))
        assert table.loc[term, "statistic"] == pytest.approx(statistic, rel=1e-9)
        assert table.loc[term, "df_num"] == q
        assert table.loc[term, "p_value"] == pytest.approx(fisher.sf(statistic, q, len(y) - 4), rel=1e-9)
    # without interactions that is the joint test of the means' contrasts
    joint = joint_contrasts(marginal_means(group, "diagnosis"))
    assert joint["statistic"].item() == pytest.approx(table.loc["diagnosis", "statistic"], rel=1e-9)


def test_linear_hypotheses_within_equations(least_squares):
    group, _ = least_squares
    apart = {"depression - healthy": {"diagnosisdepression": 1, "diagnosishealthy": -1}, "age": {"age": 10}}
    table = linear_hypotheses(group, apart, value={"age": 0.5})
    means = contrasts(marginal_means(group, "diagnosis"), adjust="none").set_index("contrast")
    for name in ("estimate", "std_error", "p_value", "conf_low"):
        assert table[name].iloc[0] == pytest.approx(means.loc["depression - healthy", name], rel=1e-9)
    age = group.tidy().set_index("term").loc["age"]
    error = 10 * np.sqrt(group.covariance[KEY].loc["age", "age"])
    assert table["statistic"].iloc[1] == pytest.approx((10 * age["estimate"] - 0.5) / error, rel=1e-9)
    assert table["value"].tolist() == [0, 0.5]
    joint = linear_hypotheses(group, {"a": {"diagnosisdepression": 1}, "b": {"diagnosishealthy": 1}}, joint=True)
    expected = term_tests(group).set_index("term").loc["diagnosis"]
    assert joint["statistic"].item() == pytest.approx(expected["statistic"], rel=1e-9)
    assert joint["df_num"].item() == 2


def test_linear_hypotheses_across_equations_use_the_joint_covariance(group):
    labels = [(*key, name) for key in group.covariance for name in group.design.names]
    index = pd.MultiIndex.from_tuples(labels)
    rng = np.random.default_rng(2)
    root = rng.normal(size=(len(labels), 20))
    whole = pd.DataFrame(root @ root.T / 400, index=index, columns=index)
    joint = replace(group, joint_covariance=whole)
    first, second = ("x_value", "reward", "age"), ("x_value", "1", "age")
    table = linear_hypotheses(joint, {"same": {first: 1, second: -1}})
    tidy = group.tidy().set_index(["module", "sparse_term", "term"])
    assert table["estimate"].item() == pytest.approx(tidy.loc[first, "estimate"] - tidy.loc[second, "estimate"])
    variance = whole.loc[first, first] + whole.loc[second, second] - 2 * whole.loc[first, second]
    assert table["std_error"].item() == pytest.approx(np.sqrt(variance), rel=1e-12)
    assert table["module"].isna().all()
    with pytest.raises(ConfigError, match="between equations"):
        linear_hypotheses(group, {"same": {first: 1, second: -1}})
    with pytest.raises(ConfigError, match="mixed"):
        linear_hypotheses(joint, {"a": {first: 1}, "b": {"age": 1}})


def test_the_f_test_keeps_its_level():
    # 4000 tests at .05: the standard error of the rate is .0034, so .036 to .064 is four of them
    rng = np.random.default_rng(11)
    n, X = 12, np.column_stack([np.ones(12), np.repeat([0, 1, 0], 4), np.repeat([0, 0, 1], 4)])
    inverse = np.linalg.inv(X.T @ X)
    C = np.array([[0, 1, 0], [0, 0, 1], [0, 1, -1]])
    rejected = 0
    for y in rng.normal(size=(4000, n)):
        beta = inverse @ X.T @ y
        residual = y - X @ beta
        rejected += wald_f(C @ beta, residual @ residual / 9 * C @ inverse @ C.T, 9.0)[2] < 0.05
    assert 0.036 < rejected / 4000 < 0.064


def test_withheld_inference_gives_no_p_values(cohort):
    table, people = cohort()
    table["at_bound"] = np.arange(24) < 8
    with pytest.warns(IdentifiabilityWarning), pytest.warns(ExclusionWarning):
        group = spice_group(table, "~ diagnosis", data=people)
    means = marginal_means(group, "diagnosis")
    for frame in (
        contrasts(means),
        contrasts(means, adjust="tukey"),
        joint_contrasts(means),
        term_tests(group),
        linear_hypotheses(group, {"a": {"diagnosishealthy": 1}}),
    ):
        assert frame[["p_value", "p_adjusted"]].isna().all(axis=None)
        assert np.isfinite(frame["statistic"]).all()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"method": "poly"}, "unknown contrasts"),
        ({"method": {"a": [1, -1]}}, "one weight per mean.*bipolar, depression, healthy"),
        ({"method": {}}, "one weight per mean"),
        ({"method": "trt.vs.ctrl", "reference": "mania"}, "not among the levels"),
        ({"method": "trt.vs.ctrl", "reference": 3}, "not among the levels"),
        ({"method": "consec", "adjust": "tukey"}, "for all pairs"),
        ({"scale": "natural"}, "`scale` is unknown"),
        ({"scale": "ratio"}, "knows no ratios"),
        ({"family": "both"}, "`family` is unknown"),
        ({"adjust": "fdr"}, "unknown adjustment"),
    ],
)
def test_unknown_settings_are_errors(group, settings, match):
    with pytest.raises(ConfigError, match=match):
        contrasts(marginal_means(group, "diagnosis"), **settings)


def test_one_mean_has_no_contrasts(group):
    with pytest.raises(ConfigError, match="at least two means"):
        contrasts(marginal_means(group))
    with pytest.raises(ConfigError, match="at least one weight"):
        linear_hypotheses(group, {"a": {}})
    with pytest.raises(ConfigError, match="unknown term"):
        linear_hypotheses(group, {"a": {"sex": 1}})


def test_pairs_are_in_the_order_of_r():
    assert contrast_weights(["a", "b", "c"], "revpairwise")[1] == ["b - a", "c - a", "c - b"]
    assert contrast_weights(["a", "b", "c"], "consec")[1] == ["b - a", "c - b"]
