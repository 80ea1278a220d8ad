"""Agreement of random parts with metafor's rma.mv, and with lme4 and lmerTest where sampling errors are negligible.

The values come from random_parts.R, the versions they were made with are in random_parts_versions.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.group import spice_group
from spicestat.group.formula.design import build_design
from spicestat.group.numerics.variance_components import RandomPart, variance_components

REFERENCE = json.loads((Path(__file__).parent / "random_parts.json").read_text(encoding="utf-8"))
NEGLIGIBLE = 1e-10


def design_of(case):
    data = pd.DataFrame(case["data"])
    return build_design(case["formula"], data.assign(participant=range(len(data))))


def fit(case, v):
    design = design_of(case)
    parts = [RandomPart(part.matrix, part.codes, part.correlated) for part in design.random]
    return variance_components(np.array(case["data"]["y"]), v, design.matrix, parts)


def by_size(matrices):
    """Covariance matrices in an order that does not depend on that of the formula's parts."""
    return sorted((np.atleast_2d(matrix) for matrix in matrices), key=lambda matrix: (len(matrix), matrix[0, 0]))


@pytest.mark.parametrize("case", REFERENCE["metafor"], ids=[case["name"] for case in REFERENCE["metafor"]])
def test_estimates_errors_variances_and_likelihood_equal_rma_mv(case):
    found = fit(case, np.array(case["data"]["v"]))
    assert found.converged
    np.testing.assert_allclose(found.beta, case["beta"], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), case["se"], rtol=1e-6)
    for ours, theirs in zip(by_size(found.random), by_size(case["random"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    assert found.log_likelihood == pytest.approx(case["log_lik"], rel=1e-6)
    if case["tau2"] is None:
        assert found.tau2 is None
    else:
        assert found.tau2 == pytest.approx(case["tau2"], rel=1e-6)


@pytest.mark.parametrize("case", REFERENCE["lmer"], ids=[case["name"] for case in REFERENCE["lmer"]])
def test_without_sampling_errors_it_is_lmer_with_satterthwaite_df(case):
    found = fit(case, np.full(len(case["data"]["y"]), NEGLIGIBLE))
    assert found.converged
    np.testing.assert_allclose(found.beta, case["beta"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), case["se"], rtol=1e-5)
    for ours, theirs in zip(by_size(found.random), by_size(case["random"]), strict=True):
        np.testing.assert_allclose(np.sqrt(np.diag(ours)), np.sqrt(np.diag(theirs)), rtol=1e-5)
    assert found.tau2 == pytest.approx(case["tau2"], rel=1e-5)
    # lme4 leaves out what does not depend on the parameters
    X = design_of(case).matrix
    constant = 0.5 * np.linalg.slogdet(X.T @ X)[1]
    assert found.log_likelihood - constant == pytest.approx(case["log_lik"], abs=1e-5)
    np.testing.assert_allclose(found.df, case["df"], rtol=1e-2)


def test_spice_group_gives_the_rows_of_the_reference():
    case = next(case for case in REFERENCE["metafor"] if case["name"] == "nested")
    data = pd.DataFrame(case["data"])
    table = pd.DataFrame(
        {
            "participant": range(len(data)),
            "module": "x",
            "term": "1",
            "estimate": data["y"],
            "std_error": data["v"] ** 0.5,
        }
    )
    people = data.assign(participant=range(len(data)))
    group = spice_group(table, case["formula"], data=people)
    np.testing.assert_allclose(group.tidy()["estimate"], case["beta"], rtol=1e-6)
    np.testing.assert_allclose(group.tidy()["std_error"], case["se"], rtol=1e-6)
    spread = group.tidy("ran_pars").set_index(["group", "term"])["estimate"]
    assert list(spread.index) == [(name, "sd__(Intercept)") for name in ("site", "site:id", "participant")]
    wanted = [*(np.sqrt(np.atleast_2d(matrix)[0, 0]) for matrix in case["random"]), np.sqrt(case["tau2"])]
    np.testing.assert_allclose(spread, wanted, rtol=1e-6)
    assert group.glance()["log_lik"].item() == pytest.approx(case["log_lik"], rel=1e-6)
    # a test with known variances, as metafor's
    normal = spice_group(table, case["formula"], data=people, knapp_hartung=False).tidy()
    assert np.isinf(normal["df"]).all() and (normal["p_value"] <= group.tidy()["p_value"]).all()
