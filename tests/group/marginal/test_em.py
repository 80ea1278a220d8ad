"""EM on given nodes: where it ends, that it does not fall on the way, and where it stops because nodes are too far."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.em import climb
from spicestat.group.marginal.marginal import Group, log_likelihood, posterior, stacked_design
from spicestat.group.marginal.modes import posterior_modes
from spicestat.group.marginal.quadrature import Place, make_nodes, quadrature_rule

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_choices import Coins, gaussian_study, labels  # noqa: E402

SIGMA = np.array([[0.5, 0.2], [0.2, 0.3]])
EXACT = {"reml": False, "avoid_boundary": False}


def coins(n=40, d=2, seed=0):
    """Nodes at the modes under the true group, which the likelihood is climbed on."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    Z, truth = stacked_design([X] * d), Group(np.tile([0.5, 0.4], d), SIGMA[:d, :d])
    u = Z @ truth.gamma + rng.normal(size=(n, d)) @ np.linalg.cholesky(truth.sigma).T
    thrown = np.full((n, d), 12)
    heads = rng.binomial(thrown, 1 / (1 + np.exp(-u)))
    likelihood, links = Coins(heads, labels(n), thrown), [find_link("logit")] * d
    modes = posterior_modes(likelihood, links, Z @ truth.gamma, truth.sigma)
    place = Place(modes.mode, modes.covariance, Z @ truth.gamma, truth.sigma)
    return make_nodes(likelihood, links, place, quadrature_rule(d)), Z, truth


def from_vector(point, d):
    root = np.zeros((d, d))
    root[np.tril_indices(d)] = point[-d * (d + 1) // 2 :]
    return Group(point[: -d * (d + 1) // 2], root @ root.T)


@pytest.mark.parametrize("d", [1, 2])
def test_the_end_is_the_maximum_of_the_likelihood(d):
    nodes, Z, truth = coins(d=d)
    found = climb(nodes, Z, truth, tolerance=1e-9, max_iter=3000, **EXACT)
    start = np.concatenate([truth.gamma, np.linalg.cholesky(truth.sigma)[np.tril_indices(d)]])
    best = minimize(lambda point: -log_likelihood(nodes, Z, from_vector(point, d)), start, options={"gtol": 1e-7})
    expected = from_vector(best.x, d)
    assert found.converged
    assert log_likelihood(nodes, Z, found.group) == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(found.group.gamma, expected.gamma, atol=1e-4)
    np.testing.assert_allclose(found.group.sigma, expected.sigma, atol=1e-4)
    np.testing.assert_allclose(found.posterior.mean, posterior(nodes, Z, found.group).mean)


@pytest.mark.parametrize("seed", range(6))
def test_the_likelihood_does_not_fall(seed):
    """From a start within the trust region; an extrapolation may lose 1 nat for a moment, but no more."""
    nodes, Z, truth = coins(seed=seed)
    rng = np.random.default_rng(seed)
    start = Group(truth.gamma + rng.normal(0, 0.3, len(truth.gamma)), truth.sigma * rng.uniform(0.7, 1.6))
    path = [climb(nodes, Z, start, tolerance=1e-12, max_iter=steps, **EXACT) for steps in (2, 4, 8, 16, 64, 400)]
    values = [log_likelihood(nodes, Z, start)] + [log_likelihood(nodes, Z, found.group) for found in path]
    assert (np.diff(values) > -1.0).all()
    assert values[1] > values[0]
    assert values[-1] >= max(values) - 1e-6


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("avoid_boundary", [True, False])
def test_sigma_of_known_coefficients_has_the_right_divisor(reml, avoid_boundary):
    """With coefficients that are nearly known, Sigma is the residual cross product over N, less p, less 1."""
    likelihood, X = gaussian_study(20, SIGMA, error=1e-3)
    Z = stacked_design([X, X])
    beta = np.linalg.lstsq(X, likelihood.y)[0]
    cross = (likelihood.y - X @ beta).T @ (likelihood.y - X @ beta)
    sigma = cross / (20 - 2 * reml - avoid_boundary)
    place = Place(likelihood.y, likelihood.V, Z @ beta.T.ravel(), sigma)
    nodes = make_nodes(likelihood, [find_link("identity")] * 2, place, quadrature_rule(2))
    start = Group(beta.T.ravel() + 0.05, 1.2 * sigma)
    found = climb(nodes, Z, start, reml=reml, avoid_boundary=avoid_boundary, tolerance=1e-8)
    assert found.converged
    np.testing.assert_allclose(found.group.gamma, beta.T.ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.group.sigma, sigma, rtol=1e-4)


@pytest.mark.parametrize("factor", [40.0, 1 / 40])
def test_nodes_are_left_before_they_no_longer_resolve_sigma(factor):
    """A start far from the truth: EM stops near the border of its trust region, and says that it has not converged."""
    nodes, Z, truth = coins()
    start = Group(truth.gamma, truth.sigma * factor)
    found = climb(nodes, Z, start)
    assert not found.converged
    ratio = np.linalg.eigvalsh(np.linalg.solve(start.sigma, found.group.sigma)).real
    # an EM step may cross the border, but not go on from there
    assert ratio.min() > 0.01
    assert ratio.max() < 50


def test_without_enough_steps_it_says_so():
    nodes, Z, truth = coins()
    found = climb(nodes, Z, truth, tolerance=1e-12, max_iter=2)
    assert not found.converged
    assert found.change > 1e-12


def test_a_nearly_singular_sigma_stays_positive_definite():
    sigma = np.array([[0.5, 0.99 * np.sqrt(0.15)], [0.99 * np.sqrt(0.15), 0.3]])
    likelihood, X = gaussian_study(40, sigma, error=0.3)
    Z = stacked_design([X, X])
    start = Group(np.zeros(4), sigma)
    place = Place(likelihood.y, np.linalg.inv(likelihood.precision + np.linalg.inv(sigma)), Z @ start.gamma, sigma)
    nodes = make_nodes(likelihood, [find_link("identity")] * 2, place, quadrature_rule(2))
    for options in (EXACT, {}):
        found = climb(nodes, Z, start, **options)
        assert np.linalg.eigvalsh(found.group.sigma)[0] > 0
        assert np.isfinite(found.group.gamma).all()


def test_no_step_overflows():
    """Group models run with overflow as an error; a covariate in tiny or huge units must not cause one."""
    nodes, Z, truth = coins()
    for unit in (1e-6, 1e6):
        scaled = Z.copy()
        scaled[:, :, 1::2] *= unit
        gamma = truth.gamma / np.where(np.arange(4) % 2, unit, 1.0)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            found = climb(nodes, scaled, Group(gamma, truth.sigma))
        assert np.isfinite(found.group.gamma).all()


@pytest.mark.parametrize("unit", [1e-2, 1e2, (1e5)])
def test_units_of_a_covariate_do_not_matter(unit):
    nodes, Z, truth = coins()
    plain = climb(nodes, Z, truth, tolerance=1e-7, max_iter=2000)
    scale = np.where(np.arange(4) % 2, unit, 1.0)
    scaled = climb(nodes, Z * scale, Group(truth.gamma / scale, truth.sigma), tolerance=1e-7, max_iter=2000)
    np.testing.assert_allclose(scaled.group.sigma, plain.group.sigma, rtol=1e-4)
    np.testing.assert_allclose(scaled.group.gamma * scale, plain.group.gamma, rtol=1e-4, atol=1e-5)
