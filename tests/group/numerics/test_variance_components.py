import numpy as np
import pytest
from scipy.stats import binom, t

from spicestat.errors import DataError
from spicestat.group.methods.meta import meta_regression
from spicestat.group.numerics import variance_components as module
from spicestat.group.numerics.variance_components import RandomPart, variance_components


def study(seed, n_people=20, sd_people=0.4, sd_slope=0.0, sd_rows=0.2, n_sites=4, sd_site=0.0, occasions=3):
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(n_people), occasions)
    n = len(person)
    drug = np.tile(np.arange(occasions) > 0, n_people).astype(float)
    age = rng.normal(size=n_people)[person]
    v = rng.uniform(0.01, 0.1, n)
    y = 0.3 + rng.normal(0, sd_people, n_people)[person] + rng.normal(0, sd_slope, n_people)[person] * drug
    y = y + rng.normal(0, sd_site, n_sites)[person % n_sites] + rng.normal(0, sd_rows, n) + rng.normal(0, np.sqrt(v))
    return y, v, np.column_stack([np.ones(n), drug, age]), person, person % n_sites


def ones(codes):
    return RandomPart(np.ones((len(codes), 1)), codes)


def dense_reml(y, v, X, parts, covariances, tau2):
    """The restricted likelihood as it stands in textbooks."""
    V = np.diag(v + tau2)
    for part, G in zip(parts, covariances, strict=True):
        V += (part.codes[:, None] == part.codes) * (part.matrix @ G @ part.matrix.T)
    inverse = np.linalg.inv(V)
    information = X.T @ inverse @ X
    error = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
    logs = [np.linalg.slogdet(matrix)[1] for matrix in (V, information, X.T @ X)]
    n, p = X.shape
    return -0.5 * ((n - p) * np.log(2 * np.pi) + logs[0] + logs[1] - logs[2] + error @ inverse @ error)


@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_is_the_textbooks_and_no_neighbour_is_higher(seed):
    y, v, X, person, site = study(seed, sd_slope=0.4, sd_site=0.3)
    parts = [RandomPart(X[:, :2], person), ones(site)]
    fit = variance_components(y, v, X, parts)
    assert fit.converged
    at = dense_reml(y, v, X, parts, fit.random, fit.tau2)
    assert fit.log_likelihood == pytest.approx(at, abs=1e-8)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        roots = [np.linalg.cholesky(G + 1e-12 * np.eye(len(G))) for G in fit.random]
        other = [(L + 0.05 * np.tril(rng.normal(size=L.shape))) for L in roots]
        tau2 = fit.tau2 * np.exp(rng.normal(0, 0.3))
        assert dense_reml(y, v, X, parts, [L @ L.T for L in other], tau2) <= at + 1e-9


def test_blocks_and_low_rank_give_the_same(monkeypatch):
    y, v, X, person, site = study(1, sd_slope=0.4, sd_site=0.3)
    parts = [RandomPart(X[:, :2], person), ones(site)]
    whole = variance_components(y, v, X, parts)
    monkeypatch.setattr(module, "_LARGEST_BLOCK", 5)
    split = variance_components(y, v, X, parts)
    np.testing.assert_allclose(split.beta, whole.beta, rtol=1e-7)
    np.testing.assert_allclose(split.df, whole.df, rtol=1e-4)
    assert split.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-9)


def test_a_random_intercept_of_the_rows_is_meta_regression():
    y, v, X, *_ = study(2)
    fit, plain = variance_components(y, v, X, [ones(np.arange(len(y)))]), meta_regression(y, v, X)
    assert fit.tau2 is None
    assert fit.random[0][0, 0] == pytest.approx(plain.tau2, rel=1e-6)
    np.testing.assert_allclose(fit.beta, plain.beta, rtol=1e-7)
    assert fit.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-9)


@pytest.mark.parametrize("restricted", [True, False])
def test_variances_of_zero_are_no_failure(restricted):
    y, v, X, person, site = study(3, sd_people=0.0, sd_rows=0.0)
    fit = variance_components(y, v, X, [RandomPart(X[:, :2], person), ones(site)], restricted=restricted)
    assert fit.converged and fit.singular
    assert all(np.linalg.eigvalsh(G)[0] >= -1e-12 for G in fit.random)
    assert np.isfinite(fit.df).all() and (fit.df <= len(y) - 3).all()


def test_units_scale_all_results():
    y, v, X, person, _ = study(4, sd_slope=0.3)
    fit = variance_components(y, v, X, [RandomPart(X[:, :2], person)])
    other = X * [1.0, 100.0, 1.0]
    scaled = variance_components(1e3 * y, 1e6 * v, other, [RandomPart(other[:, :2], person)])
    np.testing.assert_allclose(scaled.beta, 1e3 * fit.beta / [1.0, 100.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(scaled.random[0], 1e6 * fit.random[0] / np.outer([1, 100], [1, 100]), rtol=1e-5)
    np.testing.assert_allclose(scaled.df, fit.df, rtol=1e-4)


def test_degrees_of_freedom_follow_the_level_of_the_covariate():
    # what varies between 20 people has about 18, what varies within them many more
    y, v, X, person, _ = study(5, sd_people=1.0, sd_rows=0.3)
    fit = variance_components(y, v, X, [ones(person)])
    assert 15 < fit.df[2] < 21 < 34 < fit.df[1] <= len(y) - 3


def test_what_cannot_be_told_apart_is_refused():
    y, v, X, person, site = study(6)
    with pytest.raises(DataError, match="cannot be told apart"):
        variance_components(y, v, X, [ones(person), ones(person)])
    sites = (site[:, None] == np.arange(4)).astype(float)
    with pytest.raises(DataError, match="fixed effects take all"):
        variance_components(y, v, np.column_stack([sites, X[:, 1]]), [ones(site)])


def test_tests_are_calibrated_where_people_taken_for_independent_are_not():
    # 100 studies without effects: more than 12 rejections at .05 have probability .0015
    effects, naive = np.zeros(2), 0
    for seed in range(100):
        y, v, X, person, _ = study(100 + seed, sd_people=0.6, sd_slope=0.3)
        fit = variance_components(y, v, X, [RandomPart(X[:, :2], person)])
        statistic = np.abs(fit.beta) / np.sqrt(np.diag(fit.covariance))
        critical = t.ppf(0.975, fit.df)
        effects += (statistic > critical)[1:]
        plain = meta_regression(y, v, X)
        naive += abs(plain.beta[2]) / np.sqrt(plain.covariance[2, 2]) > t.ppf(0.975, plain.df)
    assert binom.sf(12, 100, 0.05) < 0.002
    assert (effects <= 12).all()
    assert naive > 15
