"""Quadrature: rules integrate what they promise, and nodes give closed-form marginal likelihoods."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.quadrature import Place, make_nodes, quadrature_rule
from spicestat.group.marginal.sites import Cavities, tilted

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_choices import Coins, gaussian_study, labels  # noqa: E402

# moments of the standard normal distribution
MOMENTS = {0: 1, 1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15}


def spread(d):
    return 0.3 * np.eye(d) + 0.1


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_product_grids_integrate_monomials_exactly(d):
    rule = quadrature_rule(d)
    weights = np.exp(rule.log_weights)
    assert len(weights) <= 256
    for powers in product(range(7), repeat=d):
        if sum(powers) <= 6:
            value = weights @ np.prod(rule.points ** np.array(powers), axis=1)
            assert value == pytest.approx(np.prod([MOMENTS[power] for power in powers]), abs=1e-9)


def test_product_grids_integrate_an_exponential_and_the_number_of_nodes_can_be_chosen():
    rule = quadrature_rule(2, 12)
    assert rule.points.shape == (144, 2)
    value = np.exp(rule.log_weights) @ np.exp(rule.points @ [0.5, -0.8])
    assert value == pytest.approx(np.exp((0.25 + 0.64) / 2), rel=1e-9)
    assert len(quadrature_rule(5, 2).points) == 32


@pytest.mark.parametrize("d", [5, 8])
def test_both_parts_of_a_sobol_rule_have_mean_zero_and_unit_covariance(d):
    rule = quadrature_rule(d)
    own, group = rule.points[: -rule.n_defensive], rule.points[-rule.n_defensive :]
    assert (len(own), len(group)) == (1024, 512)
    np.testing.assert_allclose(np.exp(rule.log_weights).sum(), 1.0)
    for points in (own, group):
        np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(points.T @ points / len(points), np.eye(d), atol=1e-12)
    # of the normal distribution also what was not set
    np.testing.assert_allclose((own**4).mean(), 3.0, atol=0.15)
    np.testing.assert_allclose(np.exp(own[:, 0] / 2).mean(), np.exp(1 / 8), rtol=5e-3)


def test_a_sobol_rule_is_the_same_every_time():
    np.testing.assert_array_equal(quadrature_rule(5).points, quadrature_rule(5).points)


def place_at_posterior(likelihood, sigma, mean):
    precision = np.linalg.inv(sigma)
    covariance = np.linalg.inv(likelihood.precision + precision)
    pull = np.einsum("pkl,pl->pk", likelihood.precision, likelihood.y) + mean @ precision
    return Place(np.einsum("pkl,pl->pk", covariance, pull), covariance, mean, sigma)


def cavity(mean, covariance):
    everybody = np.tile(covariance, (len(mean), 1, 1))
    return Cavities(mean, everybody, np.linalg.inv(everybody))


@pytest.mark.parametrize(
    ("d", "rtol"),
    [
        *((d, 1e-12) for d in (1, 2, 3, 4)),
        (5, 0.02),
        (6, 0.04),
    ],
)
def test_moments_and_marginal_likelihood_of_a_normal_toy_are_the_closed_forms(d, rtol):
    likelihood, _ = gaussian_study(6, spread(d), seed=d)
    mean = np.tile(0.2 * np.arange(d), (6, 1))
    place = place_at_posterior(likelihood, spread(d), mean)
    nodes = make_nodes(likelihood, [find_link("identity")] * d, place, quadrature_rule(d))
    sites, log_evidence = tilted(nodes, cavity(mean, spread(d)))
    expected = [
        multivariate_normal(mean[0], spread(d) + V).logpdf(y) for y, V in zip(likelihood.y, likelihood.V, strict=True)
    ]
    np.testing.assert_allclose(np.exp(log_evidence - expected), 1.0, rtol=rtol)
    found = cavity(mean, spread(d)).posterior(sites)
    scale = np.sqrt(np.diagonal(place.covariance, axis1=1, axis2=2))
    np.testing.assert_allclose((found[0] - place.mean) / scale, 0.0, atol=max(rtol, 1e-10))
    relative = (found[1] - place.covariance) / (scale[:, :, None] * scale[:, None, :])
    np.testing.assert_allclose(relative, 0.0, atol=max(5 * rtol, 1e-10))


def test_a_group_near_the_one_that_nodes_were_placed_for_is_integrated_too():
    likelihood, _ = gaussian_study(8, spread(2), seed=3)
    place = place_at_posterior(likelihood, spread(2), np.zeros((8, 2)))
    nodes = make_nodes(likelihood, [find_link("identity")] * 2, place, quadrature_rule(2))
    mean, covariance = np.array([0.2, -0.1]), 1.3 * spread(2)
    expected = [
        multivariate_normal(mean, covariance + V).logpdf(y) for y, V in zip(likelihood.y, likelihood.V, strict=True)
    ]
    np.testing.assert_allclose(tilted(nodes, cavity(np.tile(mean, (8, 1)), covariance))[1], expected, atol=1e-4)


def test_weights_of_a_defensive_mixture_are_bounded():
    """A proposal far too narrow: each node counts by the mixture of both parts, at most 3 times its share."""
    d = 5
    likelihood, _ = gaussian_study(3, spread(d), seed=2)
    mean = np.zeros((3, d))
    rule = quadrature_rule(d)
    place = Place(mean + 1.0, np.tile(1e-4 * np.eye(d), (3, 1, 1)), mean, spread(d))
    nodes = make_nodes(likelihood, [find_link("identity")] * d, place, rule)
    values = likelihood.log_likelihood(nodes.theta.transpose(1, 0, 2)).T
    group = multivariate_normal(np.zeros(d), spread(d)).logpdf(nodes.theta)
    own = multivariate_normal(np.ones(d), 1.3**2 * 1e-4 * np.eye(d)).logpdf(nodes.theta)
    mixture = np.log(2 / 3 * np.exp(own) + 1 / 3 * np.exp(group))
    np.testing.assert_allclose(nodes.log_weight, values - np.log(1536) - mixture, rtol=1e-9)
    # what a node contributes to the likelihood of the group it was placed for
    importance = nodes.log_weight - values + group
    assert importance.max() <= np.log(3 / 1536) + 1e-9


def test_nodes_where_the_likelihood_is_minus_infinity_count_nothing():
    # coefficient on its natural scale: half the nodes of the second participant are outside [0, 1]
    coins = Coins(np.array([[5.0], [9.0]]), labels(2), np.array([[10.0], [9.0]]))
    place = Place(np.array([[0.5], [1.0]]), np.full((2, 1, 1), 0.01), np.full((2, 1), 0.5), np.eye(1))
    nodes = make_nodes(coins, [find_link("identity")], place, quadrature_rule(1, 61))
    assert np.isneginf(nodes.log_weight[1]).any()
    assert not np.isnan(nodes.log_weight).any()
    log_evidence = tilted(nodes, cavity(np.full((2, 1), 0.5), np.eye(1)))[1]
    grid = np.linspace(0, 1, 200_001)
    density = norm(0.5, 1).pdf(grid)
    expected = [np.trapezoid(density * grid**5 * (1 - grid) ** 5, grid), np.trapezoid(density * grid**9, grid)]
    np.testing.assert_allclose(np.exp(log_evidence[0]), expected[0], rtol=1e-5)
    # the likelihood jumps at 1, where no smooth rule is exact
    np.testing.assert_allclose(np.exp(log_evidence[1]), expected[1], rtol=0.3)
    assert np.isneginf(nodes.log_weight[1][nodes.theta[1, :, 0] > 1]).all()


def test_a_likelihood_that_is_no_number_counts_nothing():
    class Broken(Coins):
        def log_likelihood(self, coefficients):
            return np.where(coefficients[..., 0] > 0.6, np.nan, -1.0)

    broken = Broken(np.ones((1, 1)), labels(1), np.ones((1, 1)))
    place = Place(np.full((1, 1), 0.5), np.full((1, 1, 1), 0.04), np.full((1, 1), 0.5), np.eye(1))
    nodes = make_nodes(broken, [find_link("identity")], place, quadrature_rule(1))
    np.testing.assert_array_equal(np.isneginf(nodes.log_weight), nodes.theta[:, :, 0] > 0.6)
