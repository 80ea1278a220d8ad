"""Tests of terms and of linear hypotheses, beside nested least squares and the MANOVA of statsmodels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f as fisher
from statsmodels.multivariate.manova import MANOVA

from spicestat.errors import ConfigError
from spicestat.group import spice_group
from spicestat.group.after.contrasts import contrasts, joint_contrasts
from spicestat.group.after.hypotheses import hotelling_f, linear_hypotheses, term_tests, wald_f
from spicestat.group.after.marginal_means import marginal_means

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


def test_a_hypothesis_has_weights_of_known_terms(group):
    with pytest.raises(ConfigError, match="at least one weight"):
        linear_hypotheses(group, {"a": {}})
    with pytest.raises(ConfigError, match="unknown term"):
        linear_hypotheses(group, {"a": {"sex": 1}})


@pytest.fixture
def two_outcomes(cohort):
    """Give a group model of two coefficients with the covariance of multivariate least squares, and its MANOVA."""
    table, people = cohort(terms=("reward", "1"))
    group = spice_group(table, "~ diagnosis + age", data=people, method="ols")
    outcomes = table.pivot_table(index="participant", columns="term", values="estimate").loc[people["participant"]]
    X = group.design.matrix
    residual = outcomes.to_numpy() - X @ np.linalg.lstsq(X, outcomes.to_numpy(), rcond=None)[0]
    keys = [("x_value", term) for term in outcomes.columns]
    index = pd.MultiIndex.from_tuples([(*key, name) for key in keys for name in group.design.names])
    covariance = np.kron(residual.T @ residual / (len(X) - X.shape[1]), np.linalg.inv(X.T @ X))
    return replace(group, joint_covariance=pd.DataFrame(covariance, index=index, columns=index)), MANOVA(outcomes, X)


def test_terms_across_equations_are_those_of_a_manova(two_outcomes):
    group, manova = two_outcomes
    table = term_tests(group, across=True).set_index("term")
    identity = np.eye(len(group.design.names))
    for term, columns in group.design.terms.items():
        theirs = manova.mv_test([(term, identity[list(columns)])]).results[term]["stat"].loc["Hotelling-Lawley trace"]
        found = table.loc[term]
        assert found["statistic"] == pytest.approx(theirs["F Value"], rel=1e-8)
        assert (found["df_num"], found["df"]) == pytest.approx((theirs["Num DF"], theirs["Den DF"]))
        assert found["p_value"] == pytest.approx(theirs["Pr > F"], rel=1e-8)
    assert table[["module", "sparse_term"]].isna().all(axis=None)
    assert (table["p_adjusted"] == table["p_value"]).all()


def test_one_equation_has_the_same_test_together_and_alone(two_outcomes):
    group, _ = two_outcomes
    alone = replace(group, covariance={KEY: group.joint_covariance.loc[KEY, KEY]})
    together = term_tests(alone, across=True, equations=[KEY])
    columns = ["df_num", "df", "statistic", "p_value"]
    pd.testing.assert_frame_equal(together[columns], term_tests(alone, equations=[KEY])[columns], check_dtype=False)


def test_too_few_people_or_no_covariance_between_equations_give_no_test_across(group):
    assert np.isnan(hotelling_f(9.0, 3, 1, 6.0)).all()
    assert np.isfinite(hotelling_f(9.0, 3, 1, 6.1)).all()
    assert hotelling_f(9.0, 3, 1, np.inf)[2] == pytest.approx(fisher.sf(3.0, 3, 1e12))
    with pytest.raises(ConfigError, match="between equations"):
        term_tests(group, across=True)
