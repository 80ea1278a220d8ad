"""The random-intercept model agrees with three R engines to 1e-6 relative: glmmTMB, lme4 and lmerTest.

The values come from mixed_engines.R, the versions they were made with are in mixed_engines_versions.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from spicestat.group.formula.design import build_design
from spicestat.group.numerics.random_intercept import random_intercept

RTOL = 1e-6
CASES = json.loads((Path(__file__).parent / "mixed_engines.json").read_text(encoding="utf-8"))


def fitted(case):
    people = pd.DataFrame({"age": case["age"], "diagnosis": case["diagnosis"]})
    X = build_design(case["formula"], people.assign(participant=range(len(people)))).matrix
    terms = np.array(case["equation"])
    D = np.hstack([X * (terms == term)[:, None] for term in sorted(set(case["equation"]))])
    return random_intercept(np.array(case["z"]), D, np.array(case["participant"]))


@pytest.mark.parametrize("engine", ["glmmTMB", "lme4"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_random_intercept_equals_the_engine(case, engine):
    fit, theirs = fitted(case), case[engine]
    errors = np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose(errors, theirs["se"], rtol=RTOL)
    np.testing.assert_allclose(fit.beta, theirs["beta"], rtol=RTOL)
    np.testing.assert_allclose([fit.sd_group], theirs["sd_group"], rtol=RTOL)
    np.testing.assert_allclose([fit.sd_residual], theirs["sd_residual"], rtol=RTOL)
    np.testing.assert_allclose([fit.log_likelihood], theirs["log_lik"], rtol=RTOL)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_degrees_of_freedom_equal_lmertest(case):
    fit = fitted(case)
    np.testing.assert_allclose(fit.df, case["lmerTest"]["df"], rtol=RTOL)
    statistic = fit.beta / np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose(2 * student.sf(np.abs(statistic), fit.df), case["lmerTest"]["p"], rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_errors_that_glmmtmb_prints_are_wider_by_little(case):
    # with REML it adds the uncertainty of the variances: never less, and here not more than 1 %
    ratio = np.array(case["glmmTMB"]["se_joint"]) / np.sqrt(np.diag(fitted(case).covariance))
    assert (ratio >= 1 - 1e-6).all()
    assert (ratio <= 1.01).all()
