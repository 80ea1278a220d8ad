"""Agreement with metafor: rma with ML and normal tests, data on which its Fisher scoring fails, and rma.mv.

The values come from multivariate_meta.R, the versions they were made with are in multivariate_meta_versions.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.group.formula.design import build_design
from spicestat.group.methods.meta import meta_regression
from spicestat.group.methods.multivariate_meta import multivariate_meta_regression

RTOL = 1e-6
REFERENCE = json.loads((Path(__file__).parent / "multivariate_meta.json").read_text(encoding="utf-8"))
REGULAR = [case for case in REFERENCE["joint"] if not case["singular"] and not case["fixed"]]
SINGULAR = [case for case in REFERENCE["joint"] if case["singular"]]
KNOWN = [case for case in REFERENCE["joint"] if case["fixed"]]


def names(cases):
    return [f"{case['name']} {case['method']}" for case in cases]


def close(ours, theirs, rtol=RTOL, atol=0.0):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=rtol, atol=atol)


def matrix_of(case):
    people = pd.DataFrame({"age": case["age"], "diagnosis": case["diagnosis"]})
    return build_design(case["formula"], people.assign(participant=range(len(people))))


@pytest.mark.parametrize("case", REFERENCE["meta"], ids=[case["name"] for case in REFERENCE["meta"]])
def test_meta_regression_equals_rma(case):
    y, v = np.array(case["y"]), np.array(case["v"])
    knapp_hartung = case["test"] == "knha"
    fit = meta_regression(y, v, matrix_of(case).matrix, estimator=case["method"], knapp_hartung=knapp_hartung)
    close(fit.tau2, case["tau2"], atol=1e-9 * v.mean())
    close(fit.i2, case["i2"], atol=1e-6)
    close(np.sqrt(np.diag(fit.covariance)), case["se"])
    close(fit.beta / np.sqrt(np.diag(fit.covariance)), case["zval"], atol=1e-7)
    assert fit.df == (len(y) - len(fit.beta) if knapp_hartung else np.inf)
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


@pytest.mark.parametrize("case", REFERENCE["failing"])
def test_the_maximum_is_found_where_fisher_scoring_fails(case):
    # rma ends with an error, or with a warning and tau2 = 0 although the likelihood is higher by .01 or more elsewhere
    assert "did not converge" in case["message"] or "stuck at a local maximum" in case["message"]
    y, v = np.array(case["y"]), np.array(case["v"])
    fit = meta_regression(y, v, np.ones((len(y), 1)), estimator=case["method"], knapp_hartung=False)
    assert fit.converged
    close(fit.tau2, case["tau2"])
    close(fit.log_likelihood, case["log_lik"])
    close(fit.beta[0], case["beta"])
    close(np.sqrt(fit.covariance[0, 0]), case["se"])


def arrays(case):
    y = np.array([[np.nan if value is None else value for value in row] for row in case["y"]], dtype=float)
    design = matrix_of(case)
    assert list(design.names) == case["terms"]
    return y, np.array(case["V"]), design.matrix


def same_coefficients(fit, case, rtol=RTOL):
    errors = np.array(case["se"])
    close(np.sqrt(np.diag(fit.covariance)), errors, rtol=rtol)
    close((fit.beta.ravel() - case["beta"]) / errors, np.zeros(len(errors)), atol=rtol)
    scaled = np.outer(errors, errors)
    close(fit.covariance / scaled, np.array(case["vb"]).reshape(scaled.shape) / scaled, atol=rtol)


@pytest.mark.parametrize("case", REGULAR, ids=names(REGULAR))
def test_multivariate_meta_regression_equals_rma_mv(case):
    fit = multivariate_meta_regression(*arrays(case), estimator=case["method"])
    assert fit.converged
    same_coefficients(fit, case)
    close(fit.beta.ravel(), case["beta"], rtol=1e-5)
    sigma = np.array(case["sigma"])
    spread = np.sqrt(np.diag(sigma))
    assert fit.singular == (np.linalg.eigvalsh(sigma / np.outer(spread, spread))[0] < 1e-6)
    close(np.diag(fit.sigma), np.diag(sigma))
    close(fit.sigma / np.outer(spread, spread), sigma / np.outer(spread, spread), atol=RTOL)
    close(fit.log_likelihood, case["log_lik"], rtol=1e-9, atol=1e-9)
    # by itself, rma.mv ends at or below our maximum
    assert fit.log_likelihood >= case["raw_log_lik"] - 1e-9
    rows = np.isfinite(arrays(case)[0]).sum() - (len(case["beta"]) if case["method"] == "REML" else 0)
    close(fit.aic, -2 * case["log_lik"] + 2 * case["n_par"])
    close(fit.bic, -2 * case["log_lik"] + np.log(rows) * case["n_par"])
    if case["log_lik"] - case["raw_log_lik"] < 1e-6:
        close([fit.aic, fit.bic], [case["aic"], case["bic"]])


@pytest.mark.parametrize("case", SINGULAR, ids=names(SINGULAR))
def test_singular_covariance_is_at_least_as_likely_as_that_of_rma_mv(case):
    y, V, X = arrays(case)
    fit = multivariate_meta_regression(y, V, X, estimator=case["method"])
    assert fit.converged
    assert fit.singular
    at_theirs = multivariate_meta_regression(y, V, X, estimator=case["method"], sigma=np.array(case["sigma"]))
    close(at_theirs.log_likelihood, case["log_lik"], rtol=1e-8)
    same_coefficients(at_theirs, case)
    # rma.mv stops short of the edge of the parameter space, but near it
    assert case["log_lik"] - 1e-9 <= fit.log_likelihood <= case["log_lik"] + 1e-3
    same_coefficients(fit, case, rtol=0.02)
    # along the way to theirs and to the middle of the parameter space the likelihood only falls
    for target in (np.array(case["sigma"]), np.eye(y.shape[1])):
        path = [fit.sigma + step * (target - fit.sigma) for step in (1e-3, 1e-2, 0.1, 0.5)]
        values = [multivariate_meta_regression(y, V, X, estimator=case["method"], sigma=at) for at in path]
        assert max(value.log_likelihood for value in values) <= fit.log_likelihood + 1e-9


@pytest.mark.parametrize("case", KNOWN, ids=names(KNOWN))
def test_coefficients_at_a_known_covariance_equal_rma_mv(case):
    fit = multivariate_meta_regression(*arrays(case), estimator=case["method"], sigma=np.array(case["sigma"]))
    same_coefficients(fit, case, rtol=1e-8)
    close(fit.log_likelihood, case["log_lik"], rtol=1e-10)
