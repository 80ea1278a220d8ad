"""The one-stage model equals the exact maximum likelihood for binomial choices, and lme4::glmer with one coefficient.

The values come from hierarchical.R, which integrates on a dense grid and polishes by Newton steps, the versions they
were made with are in hierarchical_versions.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import gammaln

from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical, stacked_design

sys.path.insert(0, str(Path(__file__).parents[1] / "group"))

from toy_choices import Coins, labels  # noqa: E402

CASES = json.loads((Path(__file__).parent / "hierarchical.json").read_text(encoding="utf-8"))
NAMES = [case["name"] for case in CASES]


def fitted(case, **options):
    y, n = np.array(case["y"], dtype="float64"), np.array(case["N"], dtype="float64")
    X = np.column_stack([np.ones(len(y)), case["x"]])
    d = y.shape[1]
    return fit_hierarchical(
        Coins(y, labels(len(y)), n),
        [find_link("logit")] * d,
        stacked_design([X] * d),
        np.zeros(d),
        np.ones(d),
        reml=False,
        avoid_boundary=False,
        **options,
    )


def log_binomials(case):
    """What the toy likelihood leaves out."""
    y, n = np.array(case["y"]), np.array(case["N"])
    return float(np.sum(gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_with_many_nodes_it_is_the_exact_maximum(case):
    per_dimension = 31 if len(case["sd"]) == 1 else 17
    fit = fitted(case, per_dimension=per_dimension, tolerance=1e-6, max_rounds=200)
    assert fit.converged
    np.testing.assert_allclose(fit.gamma, case["beta"], rtol=1e-5)
    np.testing.assert_allclose(fit.sigma, case["sigma"], rtol=2e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), case["se"], rtol=1e-5)
    np.testing.assert_allclose(fit.covariance, case["covariance"], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(fit.spread_errors[0], case["sd_se"], rtol=1e-5)
    assert fit.log_likelihood + log_binomials(case) == pytest.approx(case["log_lik"], abs=1e-6)
    np.testing.assert_allclose(fit.mean, case["mean"], rtol=1e-4, atol=1e-4)
    spread = np.sqrt(np.diagonal(fit.spread, axis1=1, axis2=2))
    np.testing.assert_allclose(spread, case["posterior_sd"], rtol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_default_is_near(case):
    """Within a fiftieth of a standard error: what the default tolerance promises."""
    fit = fitted(case)
    assert fit.converged
    np.testing.assert_allclose((fit.gamma - case["beta"]) / case["se"], 0.0, atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), case["se"], rtol=0.01)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.sigma)), case["sd"], rtol=0.01)


@pytest.mark.parametrize("case", [case for case in CASES if case["raw"]], ids=[c["name"] for c in CASES if c["raw"]])
def test_lme4_found_the_same(case):
    """Where it can: one random effect, adaptive quadrature with 25 nodes."""
    fit, theirs = fitted(case, per_dimension=31, tolerance=1e-6, max_rounds=200), case["raw"]
    np.testing.assert_allclose(fit.gamma, theirs["beta"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.sigma)), np.atleast_1d(theirs["sd"]), rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), theirs["se"], rtol=1e-5)
