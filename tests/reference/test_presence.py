"""Agreement of the presence model with R's brglm2, and with tests and intervals as logistf defines them.

The values come from presence.R, the versions they were made with are in presence_versions.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.group import spice_group
from spicestat.group.numerics.firth import firth_logistic, penalised_ratio_test, profile_intervals

CASES = json.loads((Path(__file__).parent / "presence.json").read_text(encoding="utf-8"))


def arrays(case):
    return np.array(case["y"], float), np.array(case["matrix"], float).reshape(len(case["terms"]), -1).T


def close(ours, theirs, rtol=1e-6, atol=0.0):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_firth_logistic_equals_brglm2(case):
    y, X = arrays(case)
    fit = firth_logistic(y, X)
    assert fit.converged
    close(fit.beta, case["beta"])
    close(np.sqrt(np.diag(fit.covariance)), case["se"])
    spread = np.outer(case["se"], case["se"]).ravel()
    close(fit.covariance.ravel() / spread, np.array(case["covariance"]) / spread, atol=1e-8)
    close(fit.log_likelihood, case["log_lik"])


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_penalised_tests_equal_those_of_logistf(case):
    y, X = arrays(case)
    fit = firth_logistic(y, X)
    # a difference of two maxima: 1e-9 of the log-likelihood itself
    close(fit.statistic, case["statistic"], atol=1e-9 * abs(case["log_lik"]))
    close(fit.p_value, case["p"])
    if case["slopes"]:
        test = penalised_ratio_test(y, X, case["slopes"])
        assert test.df == len(case["slopes"])
        close(test.statistic, case["joint"], atol=1e-9 * abs(case["log_lik"]))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_profile_intervals_equal_those_of_logistf(case):
    y, X = arrays(case)
    low, high = profile_intervals(y, X)
    close(low, case["low"], atol=1e-7 * max(case["se"]))
    close(high, case["high"], atol=1e-7 * max(case["se"]))


@pytest.mark.parametrize("case", CASES[:3], ids=[case["name"] for case in CASES[:3]])
def test_augment_gives_the_diagnostics_of_a_binomial_glm(case):
    """Leverage, standardised Pearson residuals and Cook's distances."""
    y, X = arrays(case)
    slopes = [f"c{column}" for column in range(1, X.shape[1])]
    people = pd.DataFrame(X[:, 1:], columns=slopes).assign(participant=np.arange(len(y)))
    table = people[["participant"]].assign(
        module="x_value",
        term="reward",
        estimate=np.where(y, 0.5, 0.0),
        std_error=np.where(y, 0.1, np.nan),
        selected=y > 0,
    )
    frame = spice_group(table, "~ " + " + ".join(slopes), data=people, method="presence").augment()
    np.testing.assert_array_equal(frame["observed"], y)
    close(frame["hat"], case["hat"])
    close(frame["std_residual"], case["pearson"])
    close(frame["cooks_distance"], case["cooks"])
    close(frame["fitted_natural"], 1 / (1 + np.exp(-X @ case["beta"])))


def test_endometrial_equals_logistf():
    """logistf's own numbers as quoted in the tests of github.com/jzluo/firthlogist; logistf stops at about 1e-5."""
    y, X = arrays(CASES[0])
    low, high = profile_intervals(y, X)
    close(firth_logistic(y, X).beta, [3.77455951, 2.92927330, -0.03475175, -2.60416387], rtol=1e-6)
    close(low, [1.0825371, 0.6097244, -0.1244587, -4.3651832], rtol=1e-5)
    close(high, [7.20928050, 7.85463171, 0.04045547, -1.23272106], rtol=1e-5)
