"""The marginal likelihood from nodes: Louis' information against finite differences, and posterior moments."""

import sys
from pathlib import Path

import numpy as np
import pytest

from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.marginal import (
    Group,
    gamma_information,
    information,
    log_likelihood,
    posterior,
    stacked_design,
)
from spicestat.group.marginal.quadrature import Place, make_nodes, quadrature_rule

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_choices import Coins, gaussian_study, labels  # noqa: E402


def coins_on_nodes(d, n=9, seed=0):
    """Skewed likelihoods on given nodes; what is tested holds for any nodes."""
    rng = np.random.default_rng(seed)
    thrown = rng.integers(2, 12, (n, d)).astype(float)
    likelihood = Coins(rng.binomial(thrown.astype(int), 0.7).astype(float), labels(n), thrown)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    designs = [X, np.ones((n, 1)), X][:d]
    place = Place(np.full((n, d), 0.5), np.tile(0.6 * np.eye(d), (n, 1, 1)), np.zeros((n, d)), np.eye(d))
    nodes = make_nodes(likelihood, [find_link("logit")] * d, place, quadrature_rule(d))
    Z = stacked_design(designs)
    factor = rng.normal(size=(d, d + 3))
    return nodes, Z, Group(rng.normal(0.5, 0.3, Z.shape[2]), factor @ factor.T / (d + 3))


def vech_hessian(nodes, Z, group, h=1e-4):
    """Minus the Hessian of the log-likelihood in (gamma, lower triangle of Sigma), by central differences."""
    m, d = len(group.gamma), len(group.sigma)
    rows, columns = np.tril_indices(d)
    point = np.concatenate([group.gamma, group.sigma[rows, columns]])

    def value(at):
        sigma = np.zeros((d, d))
        sigma[rows, columns] = sigma[columns, rows] = at[m:]
        return log_likelihood(nodes, Z, Group(at[:m], sigma))

    step = h * np.eye(len(point))
    return -np.array(
        [
            [
                (value(point + a + b) - value(point + a - b) - value(point - a + b) + value(point - a - b)) / (4 * h**2)
                for b in step
            ]
            for a in step
        ]
    )


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_louis_information_is_the_hessian(d, seed):
    nodes, Z, group = coins_on_nodes(d, seed=seed)
    found = information(nodes, Z, group, posterior(nodes, Z, group))
    expected = vech_hessian(nodes, Z, group)
    size = np.sqrt(np.abs(np.diag(expected)))
    np.testing.assert_allclose(found.joint / np.outer(size, size), expected / np.outer(size, size), atol=1e-4)
    m = len(group.gamma)
    np.testing.assert_allclose(found.joint[:m, :m], found.gamma, rtol=1e-9)
    np.testing.assert_allclose(found.joint, found.joint.T, rtol=1e-9)


def test_posterior_moments_are_weighted_moments_of_the_nodes():
    nodes, Z, group = coins_on_nodes(2)
    at = posterior(nodes, Z, group)
    np.testing.assert_allclose(at.weights.sum(axis=1), 1.0)
    for row in range(len(Z)):
        expected = np.cov(nodes.theta[row].T, aweights=at.weights[row], ddof=0)
        np.testing.assert_allclose(at.mean[row], at.weights[row] @ nodes.theta[row])
        np.testing.assert_allclose(at.covariance[row], expected, rtol=1e-9)


def test_log_weights_of_any_size_do_not_overflow():
    nodes, Z, group = coins_on_nodes(2)
    shifted = type(nodes)(nodes.theta, nodes.log_weight - 5000.0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        at, other = posterior(nodes, Z, group), posterior(shifted, Z, group)
    np.testing.assert_allclose(other.log_likelihood, at.log_likelihood - 5000.0)
    np.testing.assert_allclose(other.mean, at.mean, rtol=1e-9)
    assert log_likelihood(shifted, Z, group) == pytest.approx(log_likelihood(nodes, Z, group) - 9 * 5000.0)


def test_information_of_the_fixed_effects_of_a_normal_toy_is_that_of_generalised_least_squares():
    sigma = np.array([[0.5, 0.2], [0.2, 0.3]])
    likelihood, X = gaussian_study(12, sigma)
    Z = stacked_design([X, X])
    precision = np.linalg.inv(sigma)
    found = gamma_information(Z, precision, np.linalg.inv(likelihood.precision + precision))
    expected = np.einsum("pkm,pkl,pln->mn", Z, np.linalg.inv(likelihood.V + sigma), Z)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_stacked_design_is_block_diagonal():
    X, one = np.arange(6.0).reshape(3, 2), np.ones((3, 1))
    Z = stacked_design([X, one])
    assert Z.shape == (3, 2, 3)
    np.testing.assert_array_equal(Z[1], [[2, 3, 0], [0, 0, 1]])
