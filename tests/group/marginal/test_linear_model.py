"""The linear mixed model of sites is what dense matrices say, slopes included, however its effects are laid out."""

import numpy as np
import pytest

from spicestat.group.marginal import linear_model
from spicestat.group.marginal.linear_model import LinearModel, Part, Sites

N, K, M = 24, 2, 4
PERSON = np.repeat(np.arange(12), 2)
X = np.column_stack([np.ones(N), np.tile([0.0, 1.0], 12)])


def study(with_rest, weights=None):
    rng = np.random.default_rng(0)
    F = np.zeros((N, K, M))
    F[:, 0, :2], F[:, 1, 2:] = X, X
    parts = [Part(X, PERSON, np.tri(4, dtype=bool)), Part(np.ones((N, 1)), PERSON % 3, np.eye(2, dtype=bool))]
    roots = [np.tril(rng.normal(size=(4, 4))), np.diag([0.5, 0.3])]
    if with_rest:
        roots.append(np.tril(rng.normal(size=(2, 2))))
    half = rng.normal(size=(N, K, K))
    weights = np.ones(N) if weights is None else weights
    return F, parts, roots, Sites(half @ half.transpose(0, 2, 1) + 0.1 * np.eye(K), rng.normal(size=(N, K)), weights)


def blocks(values):
    found = np.zeros((N * K, N * K))
    for row in range(N):
        found[row * K : (row + 1) * K, row * K : (row + 1) * K] = values[row]
    return found


def dense(F, parts, roots, sites, with_rest, restricted):
    """Log integral of the sites, fixed effects with covariance, and posteriors, from y = h / precision."""
    V = blocks(np.tile(roots[-1] @ roots[-1].T, (N, 1, 1))) if with_rest else np.zeros((N * K, N * K))
    for part, root in zip(parts, roots, strict=False):
        Z = np.zeros((N * K, part.n_levels * part.size))
        for row, columns in enumerate(part.columns()):
            at = part.codes[row] * part.size
            Z[row * K : (row + 1) * K, at : at + part.size] = columns
        V += Z @ np.kron(np.eye(part.n_levels), root @ root.T) @ Z.T
    R = np.linalg.inv(blocks(sites.precision))
    y, X_ = R @ sites.linear.ravel(), F.reshape(-1, M)
    weight = np.linalg.inv(V + R)
    S = X_.T @ weight @ X_
    gamma = np.linalg.solve(S, X_.T @ weight @ y)
    away = y - X_ @ gamma
    value = 0.5 * (sites.linear.ravel() @ y + np.linalg.slogdet(R)[1] - np.linalg.slogdet(V + R)[1])
    value -= 0.5 * (away @ weight @ away + restricted * np.linalg.slogdet(S)[1])
    spread = V - V @ weight @ V
    if restricted:
        left = X_ - V @ weight @ X_
        spread = spread + left @ np.linalg.inv(S) @ left.T
    own = np.stack([spread[row * K : (row + 1) * K, row * K : (row + 1) * K] for row in range(N)])
    return value, gamma, np.linalg.inv(S), (X_ @ gamma + V @ weight @ away).reshape(N, K), own


@pytest.mark.parametrize("largest", [120, 5, 0])
@pytest.mark.parametrize("with_rest", [True, False])
@pytest.mark.parametrize("restricted", [True, False])
def test_everything_is_what_dense_matrices_say(largest, with_rest, restricted, monkeypatch):
    """Parts are integrated block by block (120), or those of few levels with the fixed effects (5), or all (0)."""
    monkeypatch.setattr(linear_model, "_LARGEST_BLOCK", largest)
    F, parts, roots, sites = study(with_rest)
    model = LinearModel(F, parts, with_rest, restricted)
    at = model.at(roots, sites)
    value, gamma, covariance, mean, spread = dense(F, parts, roots, sites, with_rest, restricted)
    assert at.log_evidence == pytest.approx(value, abs=1e-9)
    for ours, theirs in ((at.gamma, gamma), (at.covariance, covariance), (at.mean, mean), (at.spread, spread)):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    # a row's cavity times its site is its posterior
    again = np.linalg.inv(np.linalg.inv(at.cavity_spread) + sites.precision) if with_rest or restricted else at.spread
    np.testing.assert_allclose(again, spread, atol=1e-8)


@pytest.mark.parametrize("largest", [120, 0])
def test_slopes_are_those_of_the_log_integral_whatever_rows_count(largest, monkeypatch):
    monkeypatch.setattr(linear_model, "_LARGEST_BLOCK", largest)
    F, parts, roots, sites = study(True, np.random.default_rng(1).uniform(0, 1, N))
    model = LinearModel(F, parts, True, True)
    at = model.at(roots, sites)
    for k, free in enumerate(model.free):
        for i, j in zip(*np.nonzero(free), strict=True):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [root.copy() for root in roots]
                moved[k][i, j] += step
                ends.append(model.at(moved, sites).log_evidence)
            assert at.slopes[k][i, j] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def test_a_row_that_does_not_count_is_as_if_it_were_not_there():
    F, parts, roots, sites = study(True, np.r_[np.ones(N - 2), 0.0, 0.0])
    whole = LinearModel(F, parts, True, True).at(roots, sites)
    fewer = [Part(part.matrix[:-2], part.codes[:-2], part.free) for part in parts]
    some = LinearModel(F[:-2], fewer, True, True).at(roots, Sites(*(values[:-2] for values in sites)))
    assert whole.log_evidence == pytest.approx(some.log_evidence)
    np.testing.assert_allclose(whole.gamma, some.gamma)
    np.testing.assert_allclose(whole.spread[:-2], some.spread)


def test_fixed_effects_that_are_given_are_taken():
    F, parts, roots, sites = study(True)
    model = LinearModel(F, parts, True, False)
    best = model.at(roots, sites)
    again, other = model.at(roots, sites, best.gamma), model.at(roots, sites, best.gamma + 0.1)
    assert again.log_evidence == pytest.approx(best.log_evidence)
    np.testing.assert_allclose(again.mean, best.mean)
    away = np.full(M, 0.1)
    lost = 0.5 * away @ np.linalg.inv(best.covariance) @ away
    assert other.log_evidence == pytest.approx(best.log_evidence - lost)
