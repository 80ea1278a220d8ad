"""The one-stage model with random parts is glmer's and, where likelihoods are normal, rma.mv's and lmer's.

The values come from one_stage.R and random_parts.R, the versions they were made with are in one_stage_versions.json and
random_parts_versions.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.fit.history_likelihood import HistoryLikelihood
from spicestat.group.formula.design import build_design
from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical, stacked_design
from spicestat.group.marginal.linear_model import Part
from spicestat.pooled.contrasts import make_design
from spicestat.pooled.shared import SharedWeights
from spicestat.pooled.states import StateRows

sys.path.insert(0, str(Path(__file__).parents[1] / "group"))

from toy_choices import GaussianChoices, labels  # noqa: E402

CHOICES = json.loads((Path(__file__).parent / "one_stage.json").read_text(encoding="utf-8"))
NORMAL = json.loads((Path(__file__).parent / "random_parts.json").read_text(encoding="utf-8"))


def likelihood_of(case):
    """Choices between two actions, of which the first has states of 0."""
    states, row = np.array(case["states"]), np.array(case["row"]) - 1
    names = tuple(f"d{k + 1}" for k in range(states.shape[1]))
    values = np.stack([np.zeros_like(states), states], axis=1)
    place = np.arange(len(row))
    rows = StateRows(values, np.array(case["y"]), row, row, place, (*names, "shared"))
    values = np.concatenate([values, np.zeros((len(row), 2, 1))], axis=2)
    rows = StateRows(values, rows.choice, row, row, place, rows.names)
    scale = np.ones(len(names) + 1)
    terms = tuple(("beta", name) for name in names)
    design = make_design(rows, row.max() + 1, scale)
    nothing = SharedWeights(np.zeros(0), np.zeros((0, 0)), np.zeros((len(names), 0)))
    return HistoryLikelihood(rows, scale, tuple(range(row.max() + 1)), terms, design, nothing)


@pytest.fixture(params=CHOICES, ids=[case["name"] for case in CHOICES])
def glmer(request):
    case = request.param
    likelihood = likelihood_of(case)
    first = np.unique(case["row"], return_index=True)[1]
    K, n = len(likelihood.terms), len(first)
    Z = stacked_design([np.column_stack([np.ones(n), np.array(case["x"])[first]])] * K)
    codes = np.array(case["person"])[first] - 1
    parts = [Part(np.ones((n, 1)), codes, np.tri(K, dtype=bool))] if "person" in case["covariances"] else []

    def fit(**options):
        given = {"avoid_boundary": False, "reml": False, "tolerance": 1e-5, "max_rounds": 200} | options
        return fit_hierarchical(likelihood, [find_link("identity")] * K, Z, np.zeros(K), np.ones(K), parts, **given)

    # glmer has the weights first, and then their changes
    return case, fit, np.arange(2 * K).reshape(K, 2).T.ravel()


def test_laplace_is_glmer(glmer):
    case, fit, order = glmer
    found = fit(integration="laplace")
    assert found.converged
    assert found.log_likelihood == pytest.approx(case["log_lik"], abs=1e-3)
    # ours leaves out squares of differences between means and modes
    np.testing.assert_allclose((found.gamma[order] - case["beta"]) / case["se"], 0.0, atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance))[order], case["se"], rtol=0.02)
    ours = dict(zip(["row", "person"], [found.sigma, *found.random], strict=False))
    for name, theirs in case["covariances"].items():
        np.testing.assert_allclose(np.sqrt(np.diag(ours[name])), np.sqrt(np.diag(theirs)), rtol=0.03)


def test_moments_are_near_laplace(glmer):
    case, fit, order = glmer
    found = fit(tolerance=0.01)
    assert found.converged
    np.testing.assert_allclose((found.gamma[order] - case["beta"]) / case["se"], 0.0, atol=0.25)


@pytest.mark.parametrize("case", NORMAL["metafor"], ids=[case["name"] for case in NORMAL["metafor"]])
@pytest.mark.parametrize("integration", ["moments", "laplace"])
def test_normal_likelihoods_with_random_parts_are_rma_mv(case, integration):
    found = normal_fit(case, np.array(case["data"]["v"]), case["tau2"] is not None, integration)
    assert found.converged
    np.testing.assert_allclose(found.gamma, case["beta"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.given_sigma)), case["se"], rtol=1e-4)
    for ours, theirs in zip(by_size(found.random), by_size(case["random"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    if case["tau2"] is not None:
        assert found.sigma.item() == pytest.approx(case["tau2"], rel=1e-3)


@pytest.mark.parametrize("case", NORMAL["lmer"], ids=[case["name"] for case in NORMAL["lmer"]])
def test_with_small_known_errors_it_is_lmer(case):
    # a known error and the rest between rows are one variance; far smaller errors would drown heights in rounding
    error = 1e-4
    found = normal_fit(case, np.full(len(case["data"]["y"]), error), True, "moments")
    np.testing.assert_allclose(found.gamma, case["beta"], rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.given_sigma)), case["se"], rtol=1e-5)
    for ours, theirs in zip(by_size(found.random), by_size(case["random"]), strict=True):
        np.testing.assert_allclose(np.sqrt(np.diag(ours)), np.sqrt(np.diag(theirs)), rtol=1e-4)
    assert found.sigma.item() + error == pytest.approx(case["tau2"], rel=1e-4)


def normal_fit(case, v, with_rest, integration):
    y = np.array(case["data"]["y"])[:, None]
    data = pd.DataFrame(case["data"])
    design = build_design(case["formula"], data.assign(participant=range(len(data))))
    parts = []
    for part in design.random:
        size = part.matrix.shape[1]
        free = np.tri(size, dtype=bool) if part.correlated else np.eye(size, dtype=bool)
        parts.append(Part(part.matrix, part.codes, free))
    return fit_hierarchical(
        GaussianChoices(y, labels(len(y)), 1.0 / v[:, None, None]),
        [find_link("identity")],
        stacked_design([design.matrix]),
        y.mean(axis=0),
        y.std(axis=0),
        parts,
        with_rest=with_rest,
        avoid_boundary=False,
        integration=integration,
        tolerance=1e-7,
        max_rounds=30,
    )


def by_size(matrices):
    """Covariance matrices in an order that does not depend on that of the formula's parts."""
    return sorted((np.atleast_2d(matrix) for matrix in matrices), key=lambda matrix: (len(matrix), matrix[0, 0]))
