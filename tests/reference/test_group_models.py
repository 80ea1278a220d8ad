"""Agreement with R to 1e-6 relative: metafor, lm + HC3, lme4/lmerTest, p.adjust and model.matrix.

The values come from group_models.R, the versions they were made with are in group_models_versions.json.
"""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from spicestat.errors import ExclusionWarning
from spicestat.group import spice_group
from spicestat.group.formula.design import build_design
from spicestat.group.inference.multiplicity import adjust_p_values
from spicestat.group.methods.meta import meta_regression
from spicestat.group.methods.ols import least_squares_hc3
from spicestat.group.numerics.random_intercept import random_intercept

RTOL = 1e-6
REFERENCE = json.loads((Path(__file__).parent / "group_models.json").read_text(encoding="utf-8"))


def names(cases):
    return [case["name"] for case in cases]


def people_of(case):
    frame = pd.DataFrame({"age": case["age"], "diagnosis": case["diagnosis"]})
    return frame.assign(participant=[f"s{row}" for row in range(len(frame))])


def close(ours, theirs, rtol=RTOL, atol=0.0):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", REFERENCE["meta"], ids=names(REFERENCE["meta"]))
def test_meta_regression_equals_metafor(case):
    design = build_design(case["formula"], people_of(case))
    assert list(design.names) == case["terms"]
    y, v = np.array(case["y"]), np.array(case["v"])
    fit = meta_regression(y, v, design.matrix)
    # Fisher scoring halves its steps towards a zero tau2 and so stops at about 1e-13 instead of 0
    close(fit.tau2, case["tau2"], atol=1e-9 * v.mean())
    close(fit.i2, case["i2"], atol=1e-6)
    close(fit.beta, case["beta"])
    close(np.sqrt(np.diag(fit.covariance)), case["se"])
    scale = np.abs(fit.covariance).max()
    close(fit.covariance.ravel(), case["vb"], atol=1e-6 * scale * 1e-3)
    assert fit.df == case["df"]
    for ours, theirs in {
        "se_tau2": "se_tau2",
        "h2": "h2",
        "qe": "qe",
        "p_qe": "qep",
        "qm": "qm",
        "p_qm": "qmp",
        "log_likelihood": "log_lik",
        "aic": "aic",
        "bic": "bic",
        "aicc": "aicc",
    }.items():
        close(getattr(fit, ours), case[theirs])


@pytest.mark.parametrize("case", REFERENCE["meta"], ids=names(REFERENCE["meta"]))
def test_spice_group_meta_rows_equal_metafor(case):
    people = people_of(case)
    table = pd.DataFrame({"participant": people["participant"], "module": "x", "term": "t", "estimate": case["y"]})
    result = spice_group(table.assign(std_error=np.sqrt(case["v"])), case["formula"], data=people)
    tidy = result.tidy()
    assert tidy["term"].tolist() == case["terms"]
    for ours, theirs in {
        "estimate": "beta",
        "std_error": "se",
        "statistic": "zval",
        "p_value": "pval",
        "conf_low": "ci_lb",
        "conf_high": "ci_ub",
    }.items():
        close(tidy[ours], case[theirs])
    glance = result.glance().iloc[0]
    close(glance["aic"], case["aic"])
    close(result.tidy("ran_pars")["estimate"].iloc[0] ** 2, case["tau2"], atol=1e-9 * np.mean(case["v"]))


@pytest.mark.parametrize("case", REFERENCE["ols"], ids=names(REFERENCE["ols"]))
def test_least_squares_equals_lm_with_hc3(case):
    design = build_design(case["formula"], people_of(case))
    assert list(design.names) == case["terms"]
    fit = least_squares_hc3(np.array(case["y"]), design.matrix)
    close(fit.beta, case["beta"])
    close(fit.covariance.ravel(), case["hc3"])
    for ours in ("sigma", "aic", "bic", "df"):
        close(getattr(fit, ours), case[ours])
    close(fit.log_likelihood, case["log_lik"])


def mixed_inputs(case):
    people = people_of(case)
    design = build_design(case["formula"], people)
    rows, terms = np.array(case["participant"]) - 1, np.array(case["sparse_term"])
    blocks = [design.matrix[rows] * (terms == term)[:, None] for term in sorted(set(case["sparse_term"]))]
    return people, rows, np.array(case["estimate"]) / np.array(case["scale"]), np.hstack(blocks)


@pytest.mark.parametrize("case", REFERENCE["mixed"], ids=names(REFERENCE["mixed"]))
def test_random_intercept_equals_lmer_with_satterthwaite(case):
    _, rows, z, D = mixed_inputs(case)
    fit = random_intercept(z, D, rows)
    close(fit.beta, case["beta"])
    close(np.sqrt(np.diag(fit.covariance)), case["se"])
    close(fit.df, case["df"])
    close(2 * student.sf(np.abs(fit.beta) / np.sqrt(np.diag(fit.covariance)), fit.df), case["p"])
    close(fit.sd_group, case["sd_group"], atol=1e-7)
    close(fit.sd_residual, case["sd_residual"])
    close(fit.log_likelihood, case["log_lik"])
    assert fit.singular == (case["name"] == "singular")


def test_random_intercept_agrees_with_statsmodels_where_that_has_a_solution():
    # looser: statsmodels stops at its gradient tolerance; its standard errors differ (see docs of `random_intercept`)
    mixed_linear_model = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    case = REFERENCE["mixed"][1]
    _, rows, z, D = mixed_inputs(case)
    theirs = mixed_linear_model.MixedLM(z, D, rows).fit(reml=True)
    ours = random_intercept(z, D, rows)
    close(ours.beta, theirs.fe_params, rtol=1e-5)
    close(ours.log_likelihood, theirs.llf)
    assert ours.log_likelihood >= theirs.llf - 1e-9


@pytest.mark.parametrize("case", REFERENCE["mixed"], ids=names(REFERENCE["mixed"]))
def test_spice_group_mixed_is_the_scaled_back_lmer_fit(case):
    people, rows, _, _ = mixed_inputs(case)
    columns = {"participant": rows, "module": "x", "term": case["sparse_term"], "estimate": case["estimate"]}
    table = pd.DataFrame(columns).assign(participant=[f"s{row}" for row in rows], std_error=0.1)
    gaps = len(table) < len(people) * table["term"].nunique()
    with pytest.warns(ExclusionWarning) if gaps else nullcontext():
        result = spice_group(table, case["formula"], data=people, method="mixed")
    scales = pd.DataFrame({"term": case["sparse_term"], "scale": case["scale"]}).drop_duplicates().set_index("term")
    scales = scales["scale"].sort_index()
    tidy = result.tidy().sort_values("sparse_term", kind="stable")
    p = len(case["terms"])
    assert tidy["term"].tolist() == case["terms"] * len(scales)
    scale = tidy["sparse_term"].map(scales)
    close(tidy["estimate"] / scale, case["beta"])
    close(tidy["std_error"] / scale, case["se"])
    own = tidy["sparse_term"].map(table["term"].value_counts()) - p
    close(tidy["df"], np.minimum(case["df"], own))
    spread = result.tidy("ran_pars")
    for group, value in (("participant", case["sd_group"]), ("Residual", case["sd_residual"])):
        members = spread[spread["group"] == group]
        close(members["estimate"] / members["sparse_term"].map(scales), np.full(len(scales), value), atol=1e-7)
    jacobian = np.log(case["scale"]).sum() - p * np.log(scales).sum()
    close(result.glance()["log_lik"].iloc[0], case["log_lik"] - jacobian)


@pytest.mark.parametrize("case", REFERENCE["p_adjust"])
@pytest.mark.parametrize("method", ["BH", "BY", "holm", "bonferroni", "none"])
def test_adjusted_p_values_equal_p_adjust(case, method):
    values = np.array([np.nan if value is None else value for value in case["p"]])
    expected = np.array([np.nan if value is None else value for value in case["adjusted"][method]], dtype=float)
    close(adjust_p_values(values, method), expected, rtol=1e-12)


@pytest.mark.parametrize("model", REFERENCE["design"]["models"], ids=lambda model: model["formula"])
def test_design_matrix_and_names_equal_model_matrix(model):
    people = pd.DataFrame(REFERENCE["design"]["data"])
    design = build_design(model["formula"], people.assign(participant=range(len(people))))
    theirs = dict(zip(model["names"], np.array(model["matrix"]).reshape(len(model["names"]), -1), strict=True))
    assert sorted(design.names) == sorted(theirs)
    for column, name in enumerate(design.names):
        close(design.matrix[:, column], theirs[name], rtol=1e-12)
