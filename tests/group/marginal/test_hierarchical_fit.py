"""The one-stage model in numbers: a normal toy must give the multivariate meta-regression, whatever the units."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from spicestat.errors import NumericalError
from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical, stacked_design
from spicestat.group.methods.multivariate_meta import multivariate_meta_regression

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_choices import Coins, GaussianChoices, gaussian_study, labels  # noqa: E402

SIGMA = {
    1: np.array([[0.4]]),
    2: np.array([[0.5, 0.2], [0.2, 0.3]]),
    3: np.array([[0.5, 0.2, 0.1], [0.2, 0.3, -0.1], [0.1, -0.1, 0.4]]),
    5: 0.3 * np.eye(5) + 0.1,
}
TIGHT = {"tolerance": 1e-6, "max_rounds": 200}


def fitted(likelihood, X, *, avoid_boundary=False, **options):
    d = likelihood.y.shape[1]
    links = [find_link(name) for name in likelihood.links or ["identity"] * d]
    center, scale = np.median(likelihood.y, axis=0), 1.5 * likelihood.y.std(axis=0)
    Z = stacked_design([X] * d)
    return fit_hierarchical(likelihood, links, Z, center, scale, avoid_boundary=avoid_boundary, **options)


def assert_equal_fits(fit, meta, atol):
    """Fixed effects in standard errors, the rest relative to its size."""
    assert fit.converged
    errors = meta.std_errors.ravel()
    np.testing.assert_allclose((fit.gamma - meta.beta.ravel()) / errors, 0.0, atol=atol)
    size = np.sqrt(np.diag(meta.sigma))
    np.testing.assert_allclose((fit.sigma - meta.sigma) / np.outer(size, size), 0.0, atol=atol)
    np.testing.assert_allclose((fit.given_sigma - meta.covariance) / np.outer(errors, errors), 0.0, atol=atol)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("estimator", ["REML", "ML"])
@pytest.mark.parametrize("integration", ["moments", "laplace"])
def test_a_normal_toy_gives_the_multivariate_meta_regression(d, estimator, integration):
    likelihood, X = gaussian_study(40, SIGMA[d], seed=d)
    meta = multivariate_meta_regression(likelihood.y, likelihood.V, X, estimator=estimator)
    options = {"reml": estimator == "REML", "integration": integration}
    tight = fitted(likelihood, X, **options, **TIGHT)
    assert_equal_fits(tight, meta, 1e-4)
    assert_equal_fits(fitted(likelihood, X, **options), meta, 1e-3)
    if estimator == "ML":
        assert tight.log_likelihood == pytest.approx(meta.log_likelihood, abs=1e-4)
    away = tight.mean - (stacked_design([X] * d) @ tight.gamma)
    np.testing.assert_allclose(away, meta.deviations, atol=1e-4)


def test_five_coefficients_by_importance_sampling():
    """1536 points a participant, of which a standard error carries a few percent of noise."""
    likelihood, X = gaussian_study(40, SIGMA[5], seed=5)
    fit = fitted(likelihood, X, reml=False)
    meta = multivariate_meta_regression(likelihood.y, likelihood.V, X, estimator="ML")
    assert_equal_fits(fit, meta, 0.06)
    assert fit.log_likelihood == pytest.approx(meta.log_likelihood, abs=0.5)


def penalised_sigma(likelihood, X):
    """Sigma that maximises the restricted log-likelihood plus half its log determinant."""
    d = likelihood.y.shape[1]
    rows, columns = np.tril_indices(d)

    def sigma(point):
        root = np.zeros((d, d))
        root[rows, columns] = point
        root[np.diag_indices(d)] = np.exp(np.diag(root))
        return root @ root.T

    def loss(point):
        weight = np.linalg.inv(likelihood.V + sigma(point))
        A = np.einsum("nkl,ni,nj->kilj", weight, X, X).reshape(d * X.shape[1], -1)
        b = np.einsum("nkl,nl,ni->ki", weight, likelihood.y, X).ravel()
        away = likelihood.y - X @ np.linalg.solve(A, b).reshape(d, -1).T
        value = 0.5 * np.linalg.slogdet(weight)[1].sum() - 0.5 * np.einsum("nk,nkl,nl", away, weight, away)
        return -value + 0.5 * np.linalg.slogdet(A)[1] - 0.5 * np.linalg.slogdet(sigma(point))[1]

    start = np.diag(np.log(0.4 * likelihood.y.std(axis=0)))[rows, columns]
    return sigma(minimize(loss, start).x)


@pytest.mark.parametrize(
    ("d", "variance", "n", "seed"),
    [
        (1, 0.3, 40, 0),
        (2, 0.2, 40, 1),
        (2, 1e-8, 40, 2),
        (2, 0.3, 6, 3),
        (3, 0.2, 40, 4),
        (3, 0.01, 100, 1000),
    ],
)
def test_the_default_is_the_penalised_restricted_maximum_however_small_the_variances(d, variance, n, seed):
    sigma = np.diag([0.5, *[variance] * (d - 1)])
    likelihood, X = gaussian_study(n, sigma, seed, error=1.0)
    exact = penalised_sigma(likelihood, X)
    meta = multivariate_meta_regression(likelihood.y, likelihood.V, X, sigma=exact)
    fit = fitted(likelihood, X, avoid_boundary=True)
    assert fit.converged
    errors = meta.std_errors.ravel()
    np.testing.assert_allclose((fit.gamma - meta.beta.ravel()) / errors, 0.0, atol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.given_sigma)), errors, rtol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.sigma)), np.sqrt(np.diag(exact)), rtol=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_a_correlation_of_nearly_one_converges_to_a_positive_definite_sigma(seed):
    sigma = np.array([[0.5, 0.99 * np.sqrt(0.15)], [0.99 * np.sqrt(0.15), 0.3]])
    likelihood, X = gaussian_study(40, sigma, seed, error=0.3)
    fit = fitted(likelihood, X, avoid_boundary=True)
    assert fit.converged
    size = np.sqrt(np.diag(fit.sigma))
    correlation = fit.sigma[0, 1] / size.prod()
    assert 0.9 < correlation < 0.9999
    assert (np.diag(fit.covariance) > 0).all()
    # the errors of standard deviations are there, or it says that they are not
    assert (np.isnan(fit.spread_errors[0]) | (fit.spread_errors[0] > 0)).all()


def test_participants_without_information_count_nothing_in_the_likelihood():
    likelihood, X = gaussian_study(40, SIGMA[2], seed=3)
    precision = likelihood.precision.copy()
    precision[:8] = 0.0
    flat = GaussianChoices(likelihood.y, likelihood.labels, precision)
    for reml in (True, False):
        fit = fitted(flat, X, reml=reml, tolerance=1e-5, max_rounds=100)
        kept = likelihood.select(range(8, 40))
        meta = multivariate_meta_regression(kept.y, kept.V, X[8:], estimator="REML" if reml else "ML")
        assert_equal_fits(fit, meta, 1e-3)
        np.testing.assert_allclose(fit.row_log_likelihood[:8], 0.0, atol=1e-6)
        np.testing.assert_allclose(fit.mean[:8], (stacked_design([X] * 2) @ fit.gamma)[:8], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_two_participants_more_than_coefficients_are_enough(seed):
    likelihood, X = gaussian_study(4, SIGMA[1], seed)
    fit = fitted(likelihood, X, avoid_boundary=True)
    assert np.isfinite(fit.gamma).all()
    assert np.isfinite(fit.sigma).all()
    assert fit.sigma[0, 0] < 100


def test_one_participant_more_than_coefficients_is_no_convergence_at_infinity():
    likelihood, X = gaussian_study(3, SIGMA[1], 0)
    fit = fitted(likelihood, X, avoid_boundary=True)
    assert not fit.converged or np.diag(fit.sigma).max() < 100


def heads(n=60, seed=0, thrown=15):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    u = 0.5 * X[:, 1:] + rng.normal(0, [0.8, 0.5], (n, 2))
    y = rng.binomial(thrown, 1 / (1 + np.exp(-u))).astype(float)
    return Coins(y, labels(n), np.full((n, 2), float(thrown))), X


def coin_fit(likelihood, X, **options):
    links = [find_link("logit")] * 2
    return fit_hierarchical(likelihood, links, stacked_design([X, X]), np.zeros(2), np.ones(2), **options)


def test_more_nodes_and_another_start_give_the_same():
    likelihood, X = heads()
    one = coin_fit(likelihood, X)
    more = coin_fit(likelihood, X, per_dimension=15, tolerance=1e-4, max_rounds=100)
    links = [find_link("logit")] * 2
    other = fit_hierarchical(likelihood, links, stacked_design([X, X]), np.full(2, 0.8), np.full(2, 1.4))
    errors = np.sqrt(np.diag(more.covariance))
    for found in (one, other):
        np.testing.assert_allclose((found.gamma - more.gamma) / errors, 0.0, atol=0.01)
        np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), errors, rtol=0.01)
        np.testing.assert_allclose(found.sigma, more.sigma, atol=0.01)


def test_expansions_around_modes_are_close_where_there_are_many_choices():
    likelihood, X = heads(thrown=200)
    exact, normal = coin_fit(likelihood, X), coin_fit(likelihood, X, integration="laplace")
    errors = np.sqrt(np.diag(exact.covariance))
    np.testing.assert_allclose((normal.gamma - exact.gamma) / errors, 0.0, atol=0.1)
    np.testing.assert_allclose(normal.sigma, exact.sigma, rtol=0.1, atol=0.02)


def test_the_order_of_participants_does_not_matter():
    likelihood, X = heads()
    order = np.random.default_rng(1).permutation(60)
    one, other = coin_fit(likelihood, X), coin_fit(likelihood.select(order), X[order])
    np.testing.assert_allclose(other.gamma, one.gamma, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(other.sigma, one.sigma, rtol=1e-8)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(other.mean, one.mean[order], rtol=1e-7, atol=1e-9)


def test_the_order_of_coefficients_does_not_matter():
    likelihood, X = heads()
    turned = Coins(likelihood.y[:, ::-1], likelihood.labels, likelihood.n[:, ::-1])
    one, other = coin_fit(likelihood, X), coin_fit(turned, X)
    errors = np.sqrt(np.diag(one.covariance))
    order = [2, 3, 0, 1]
    np.testing.assert_allclose((other.gamma[order] - one.gamma) / errors, 0.0, atol=1e-3)
    np.testing.assert_allclose(other.sigma[::-1, ::-1], one.sigma, atol=1e-3)


@pytest.mark.parametrize(
    ("shift", "unit"),
    [
        (3.0, 1.0),
        (0.0, 0.01),
        (40.0, 10.0),
        (1985.0, 10.0),
        (0.0, 1e4),
        (0.0, 1e-4),
    ],
)
def test_zero_and_unit_of_a_covariate_do_not_matter(shift, unit):
    """Age in years, year of birth, income."""
    likelihood, X = gaussian_study(40, SIGMA[2], seed=1)
    other = np.column_stack([X[:, 0], shift + unit * X[:, 1]])
    one, two = fitted(likelihood, X), fitted(likelihood, other)
    back = np.kron(np.eye(2), [[1.0, shift], [0.0, unit]])
    errors = np.sqrt(np.diag(one.covariance))
    np.testing.assert_allclose((back @ two.gamma - one.gamma) / errors, 0.0, atol=1e-3)
    np.testing.assert_allclose(two.sigma, one.sigma, rtol=2e-3)
    np.testing.assert_allclose((back @ two.covariance @ back.T)[1, 1], one.covariance[1, 1], rtol=2e-3)


@pytest.mark.parametrize("unit", [1e-2, 1e2, (1e5)])
def test_the_unit_of_a_coefficient_does_not_matter(unit):
    likelihood, X = gaussian_study(40, SIGMA[2], seed=1)
    units = np.array([1.0, unit])
    scaled = GaussianChoices(likelihood.y * units, likelihood.labels, likelihood.precision / np.outer(units, units))
    one, two = fitted(likelihood, X), fitted(scaled, X)
    errors = np.sqrt(np.diag(one.covariance))
    np.testing.assert_allclose((two.gamma / units.repeat(2) - one.gamma) / errors, 0.0, atol=1e-3)
    np.testing.assert_allclose(two.sigma / np.outer(units, units), one.sigma, rtol=2e-3)


def test_a_likelihood_that_is_normal_behind_links_is_fitted_behind_links():
    """Coefficients exp(u) and expit(u) with their links, against u with the identity."""
    likelihood, X = gaussian_study(30, SIGMA[2], seed=6)
    linked = GaussianChoices(likelihood.y, likelihood.labels, likelihood.precision, ("log", "logit"))
    one, two = fitted(likelihood, X, **TIGHT), fitted(linked, X, **TIGHT)
    np.testing.assert_allclose(two.gamma, one.gamma, atol=1e-5)
    np.testing.assert_allclose(two.sigma, one.sigma, atol=1e-5)
    np.testing.assert_allclose(two.covariance, one.covariance, rtol=1e-4, atol=1e-8)


def test_nodes_beyond_a_wall_do_not_stop_the_fit():
    """Probabilities on their natural scale, some of them 0 and 1: many nodes have a likelihood of 0."""
    likelihood, X = heads(thrown=40)
    links = [find_link("identity")] * 2
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        fit = fit_hierarchical(likelihood, links, stacked_design([X, X]), np.full(2, 0.5), np.full(2, 0.3))
    shares = likelihood.y / likelihood.n
    expected = np.linalg.lstsq(X, shares)[0].T.ravel()
    np.testing.assert_allclose(fit.gamma, expected, atol=0.03)
    assert np.isfinite(fit.covariance).all()


@pytest.mark.parametrize("seed", [5000, 5001, 5002, 5003])
def test_what_is_unknown_of_sigma_widens_errors(seed):
    likelihood, X = gaussian_study(40, np.diag([0.5, 0.3]), seed, error=0.8)
    fit = fitted(likelihood, X, avoid_boundary=True)
    ratio = np.sqrt(np.diag(fit.covariance) / np.diag(fit.given_sigma))
    assert (ratio >= 1 - 1e-9).all()
    assert (ratio < 1.3).all()


@pytest.mark.parametrize("seed", [5057, 5067, 5073])
def test_errors_do_not_explode_where_a_variance_is_small(seed):
    """The worst three of 80 data sets; in a normal model fixed effects and variances share little information."""
    likelihood, X = gaussian_study(40, np.diag([0.5, 0.05]), seed, error=0.8)
    fit = fitted(likelihood, X, avoid_boundary=True)
    assert np.sqrt(np.diag(fit.covariance) / np.diag(fit.given_sigma)).max() < 1.3


def test_a_coefficient_that_choices_say_nothing_of_is_an_error_in_words():
    likelihood, X = gaussian_study(40, SIGMA[2], seed=2)
    flat = likelihood.precision.copy()
    flat[:, 1] = flat[:, :, 1] = 0.0
    with pytest.raises(NumericalError, match="say nothing of some coefficient"):
        fitted(replace(likelihood, precision=flat), X)


class LostSkewness(GaussianChoices):
    """Third derivatives that lead to where the integral does not exist."""

    def skewness(self, coefficients, covariance):
        raise np.linalg.LinAlgError


def test_third_derivatives_that_lead_nowhere_are_left_out_and_it_is_said():
    likelihood, X = gaussian_study(40, SIGMA[2], seed=2)
    lost = LostSkewness(**{name: getattr(likelihood, name) for name in likelihood.__dataclass_fields__})
    found, plain = (fitted(one, X, integration="laplace") for one in (lost, likelihood))
    assert found.fell_back and not plain.fell_back
    np.testing.assert_allclose(found.gamma, plain.gamma, rtol=1e-6)
