"""Posterior modes: derivatives by the chain rule, against finite differences, and modes against scipy."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.modes import posterior_modes, to_natural, unconstrained_derivatives
from spicestat.group.marginal.sites import Cavities, expanded

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_choices import Coins, GaussianChoices, gaussian_study, labels  # noqa: E402

SIGMA = np.array([[0.5, 0.2], [0.2, 0.3]])
IDENTITY = (find_link("identity"),) * 2


def coins(n=12, seed=0):
    rng = np.random.default_rng(seed)
    thrown = rng.integers(1, 9, (n, 2))
    heads = rng.binomial(thrown, rng.beta(1, 1, (n, 2)))
    heads[0], heads[1] = 0, thrown[1]
    return Coins(heads, labels(n), thrown)


def test_derivatives_on_the_unconstrained_scale_are_those_of_the_likelihood():
    likelihood, links = coins(), (find_link("logit"), find_link("logit"))
    at, h = np.random.default_rng(1).normal(size=(12, 2)), 1e-5
    found = unconstrained_derivatives(likelihood, links, at)
    for k in range(2):
        step = h * np.eye(2)[k]
        up, down = (unconstrained_derivatives(likelihood, links, at + sign * step) for sign in (1, -1))
        np.testing.assert_allclose(found.gradient[:, k], (up.value - down.value) / (2 * h), atol=1e-7)
        np.testing.assert_allclose(found.information[:, k], -(up.gradient - down.gradient) / (2 * h), atol=1e-7)


@pytest.mark.parametrize("start", [None, -3.0, 4.0])
def test_modes_equal_those_of_scipy(start):
    likelihood, links, mean = coins(), (find_link("logit"),) * 2, np.tile([0.3, -0.5], (12, 1))
    first = None if start is None else np.full((12, 2), start)
    found = posterior_modes(likelihood, links, mean, SIGMA, first, tolerance=1e-12)
    precision = np.linalg.inv(SIGMA)
    for row in range(12):
        one = likelihood.select([row])

        def loss(u, one=one):
            away = u - mean[0]
            return 0.5 * away @ precision @ away - one.log_likelihood(to_natural(links, u[None]))[0]

        best = minimize(loss, mean[0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000})
        np.testing.assert_allclose(found.mode[row], best.x, atol=1e-5)
    assert found.converged.all()


def test_modes_and_covariances_of_a_normal_likelihood_are_the_posterior():
    likelihood, X = gaussian_study(10, SIGMA)
    mean = 0.3 * X[:, [1, 1]]
    found = posterior_modes(likelihood, IDENTITY, mean, SIGMA, tolerance=1e-14)
    precision = np.linalg.inv(SIGMA)
    covariance = np.linalg.inv(likelihood.precision + precision)
    expected = np.einsum("pkl,plm,pm->pk", covariance, likelihood.precision, likelihood.y)
    expected += np.einsum("pkl,pl->pk", covariance @ precision, mean)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-10)
    np.testing.assert_allclose(found.mode, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.likelihood.information, likelihood.precision, rtol=1e-10)


def test_without_information_the_mode_is_the_prior():
    flat = GaussianChoices(np.ones((3, 2)), labels(3), np.zeros((3, 2, 2)))
    found = posterior_modes(flat, IDENTITY, np.full((3, 2), 0.7), SIGMA)
    np.testing.assert_allclose(found.mode, 0.7)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(SIGMA, (3, 2, 2)))


class Hill(Coins):
    """Two humps on one coefficient: between them the information is negative."""

    def log_likelihood(self, coefficients):
        return np.log(np.exp(-8 * (coefficients - 1) ** 2) + np.exp(-8 * (coefficients + 1) ** 2))[..., 0]

    def derivatives(self, coefficients):
        x, h = coefficients, 1e-4
        up, at, down = (self.log_likelihood(x + step) for step in (h, 0, -h))
        return at, ((up - down) / (2 * h))[:, None], (-(up - 2 * at + down) / h**2)[:, None, None]


def test_steps_go_uphill_from_where_the_information_is_negative():
    hill = Hill(np.zeros((3, 1)), labels(3), np.ones((3, 1)))
    start = np.array([[-0.05], [0.02], [0.3]])
    found = posterior_modes(hill, IDENTITY[:1], np.zeros((3, 1)), np.eye(1), start)
    assert found.converged.all()
    np.testing.assert_allclose(np.abs(found.mode[:, 0]), 0.94, atol=0.01)
    assert np.sign(found.mode[:, 0]).tolist() == [-1, 1, 1]
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


def test_a_likelihood_of_minus_infinity_beyond_a_wall_is_no_trap():
    # identity link: steps that leave (0, 1) are refused, and shorter ones follow
    heads = np.array([[1.0], [9.0], [5.0]])
    walls = Coins(heads, labels(3), np.full((3, 1), 10.0))
    found = posterior_modes(walls, IDENTITY[:1], np.full((3, 1), 0.5), 100 * np.eye(1), tolerance=1e-12)
    np.testing.assert_allclose(found.mode, heads / 10, atol=1e-4)
    assert found.converged.all()


class Sloped(Coins):
    """Coins that count how often they are asked for slopes, and for curvature."""

    asked: dict[str, int] = {}

    def slopes(self, coefficients):
        self.asked["slopes"] += 1
        return super().derivatives(coefficients)[:2]

    def derivatives(self, coefficients):
        self.asked["derivatives"] += 1
        return super().derivatives(coefficients)


@pytest.mark.parametrize("start", [0.2, -3.0, 4.0])
def test_slopes_spare_curvature_and_lead_to_the_same_modes(start):
    links, mean, plain = (find_link("logit"),) * 2, np.tile([0.3, -0.5], (12, 1)), coins()
    sloped = Sloped(plain.y, plain.labels, plain.n)
    sloped.asked.update(slopes=0, derivatives=0)
    first = np.full((12, 2), start)
    expected = posterior_modes(plain, links, mean, SIGMA, first, tolerance=1e-12)
    found = posterior_modes(sloped, links, mean, SIGMA, first, tolerance=1e-12)
    assert found.converged.all()
    np.testing.assert_allclose(found.mode, expected.mode, atol=1e-6)
    # of the modes themselves, not of points before them
    np.testing.assert_allclose(found.likelihood.information, expected.likelihood.information, atol=1e-6)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-6)
    assert sloped.asked["slopes"] >= 2
    assert sloped.asked["derivatives"] < 5


def test_expansions_follow_moves_too_small_to_gain_anything():
    """By which standard errors learn how modes follow the covariances."""
    links, mean, likelihood = (find_link("logit"),) * 2, np.tile([0.3, -0.5], (12, 1)), coins()
    exact = posterior_modes(likelihood, links, mean, SIGMA, tolerance=1e-14).mode
    wide = np.tile(SIGMA, (12, 1, 1))
    # so little away from the modes that steps promise less than a millionth of a nat
    modes, _ = expanded(likelihood, links, Cavities(mean, wide, np.linalg.inv(wide)), exact + 3e-4)
    np.testing.assert_allclose(modes.mode, exact, atol=1e-4)
