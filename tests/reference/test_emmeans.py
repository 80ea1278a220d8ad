"""Agreement with R's emmeans to 1e-6 relative: marginal means, contrasts, joint tests, links.

The values come from emmeans.R, the versions they were made with are in emmeans_versions.json.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from spicestat.group.after.contrasts import contrasts, joint_contrasts
from spicestat.group.after.marginal_means import marginal_means
from spicestat.group.formula.design import build_design
from spicestat.group.methods.meta import meta_regression

RTOL = 1e-6
REFERENCE = json.loads((Path(__file__).parent / "emmeans.json").read_text(encoding="utf-8"))
PEOPLE = pd.DataFrame(REFERENCE["people"])
CASES = REFERENCE["cases"]
KEY = ("x_value", "c_reward")
THEIRS = {"estimate": "estimate", "std_error": "SE", "df": "df", "conf_low": "lower.CL", "conf_high": "upper.CL"}
TESTED = {**THEIRS, "statistic": "t.ratio", "p_value": "p.value"}


def group_model(case, effects=None):
    """Return a group model with the coefficients, covariance and df of a case."""
    people = PEOPLE.assign(participant=[f"s{row}" for row in range(len(PEOPLE))])
    design = build_design(case["formula"], people)
    order = [case["terms"].index(name) for name in design.names]
    p = len(order)
    beta, covariance = effects or (np.array(case["beta"]), np.array(case["covariance"]).reshape(p, p))
    if effects is None:
        beta, covariance = beta[order], covariance[np.ix_(order, order)]
    rows = pd.DataFrame({"effect": "fixed", "term": design.names, "estimate": beta, "df": float(case["df"])})
    rows = rows.assign(module=KEY[0], sparse_term=KEY[1], group=None, p_value=0.5, conf_low=0.0)
    return SimpleNamespace(
        method="meta",
        coefficients=rows,
        glance_frame=pd.DataFrame({"module": [KEY[0]], "sparse_term": [KEY[1]]}),
        covariance={KEY: pd.DataFrame(covariance, index=design.names, columns=design.names)},
        joint_covariance=None,
        design=design,
        links={KEY: case["link"]},
        conf_level=0.95,
    )


def means_of(case, model=None, **settings):
    group = model or group_model(case)
    return marginal_means(group, case["specs"], by=case["by"], at=case["at"], weights=case["weights"], **settings)


def close(ours, theirs, rtol=RTOL):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=rtol)


def compare(frame, case, block, columns):
    assert len(frame) == len(block["df"])
    for name in [*case["specs"], *case["by"]]:
        if name in block:
            assert frame[name].tolist() == block[name]
    for ours, theirs in columns.items():
        close(frame[ours], block[theirs])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_marginal_means_equal_emmeans(case):
    compare(means_of(case, type=case["type"]).frame, case, case["means"], THEIRS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_contrasts_equal_emmeans(case):
    reference = case["reference"] - 1
    scale = "response" if case["regrid"] else "link"
    frame = contrasts(means_of(case), case["method"], reference=reference, scale=scale, adjust="none")
    compare(frame, case, case["contrasts"], TESTED)
    close(frame["p_adjusted"], frame["p_value"])


@pytest.mark.parametrize("case", [case for case in CASES if case["ratios"]], ids=lambda case: case["name"])
def test_ratios_equal_emmeans(case):
    frame = contrasts(means_of(case), case["method"], scale="ratio", adjust="none")
    compare(frame, case, case["ratios"], TESTED)


@pytest.mark.parametrize("case", [case for case in CASES if case["tukey"]], ids=lambda case: case["name"])
def test_tukey_adjustment_equals_emmeans(case):
    scale = "response" if case["regrid"] else "link"
    close(contrasts(means_of(case), scale=scale, adjust="tukey")["p_adjusted"], case["tukey"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_joint_tests_equal_emmeans(case):
    frame = joint_contrasts(means_of(case), case["method"])
    close(frame["p_value"], case["joint"]["p.value"])
    close(frame["df"], case["joint"]["df2"])
    assert frame["df_num"].tolist() == case["joint"]["df1"]
    # emmeans rounds the statistic to three digits
    np.testing.assert_allclose(frame["statistic"], case["joint"]["F.ratio"], atol=6e-4)


def test_marginal_means_of_our_own_meta_regression_equal_emmeans_of_metafor():
    case = next(case for case in CASES if case["meta"])
    design = build_design(case["formula"], PEOPLE.assign(participant=range(len(PEOPLE))))
    fit = meta_regression(PEOPLE["estimate"].to_numpy(), PEOPLE["variance"].to_numpy(), design.matrix)
    model = group_model(case, (fit.beta, fit.covariance))
    compare(means_of(case, model).frame, case, case["means"], THEIRS)
    compare(contrasts(means_of(case, model), adjust="none"), case, case["contrasts"], TESTED)
