import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.group.formula.design import build_design
from spicestat.group.inputs.contract import GroupInputs
from spicestat.group.inputs.usable import select_equations
from spicestat.group.methods import meta
from spicestat.group.methods.meta import Settings, meta_regression, reml_log_likelihood
from spicestat.group.methods.ols import least_squares_hc3

SEEDS = st.integers(0, 10**6)


def simulate(seed, n=20, p=3, tau=0.4, spread=1.0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    v = 0.1 * 10 ** rng.uniform(-spread, spread, n)
    return X @ rng.normal(size=p) + rng.normal(0, tau, n) + rng.normal(0, np.sqrt(v)), v, X


@given(SEEDS)
@settings(max_examples=30)
def test_order_of_participants_does_not_matter(seed):
    y, v, X = simulate(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    one, other = meta_regression(y, v, X), meta_regression(y[order], v[order], X[order])
    np.testing.assert_allclose(other.beta, one.beta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-8, atol=1e-14)


@given(SEEDS, st.floats(-5, 5))
@settings(max_examples=30)
def test_adding_a_constant_moves_only_the_intercept(seed, constant):
    y, v, X = simulate(seed)
    one, other = meta_regression(y, v, X), meta_regression(y + constant, v, X)
    np.testing.assert_allclose(other.beta - one.beta, [constant, 0, 0], atol=1e-8)
    np.testing.assert_allclose(other.tau2, one.tau2, rtol=1e-7, atol=1e-12)


@given(SEEDS, st.floats(-6, 6))
@settings(max_examples=30)
def test_units_of_the_outcome_scale_the_results(seed, power):
    y, v, X = simulate(seed)
    c = 10.0**power
    one, other = meta_regression(y, v, X), meta_regression(c * y, c * c * v, X)
    np.testing.assert_allclose(other.beta / c, one.beta, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(other.covariance / c**2, one.covariance, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose([other.tau2 / c**2, other.qe, other.p_qm], [one.tau2, one.qe, one.p_qm], rtol=1e-6)


@given(SEEDS, st.floats(-4, 4))
@settings(max_examples=30)
def test_units_of_a_covariate_scale_only_its_coefficient(seed, power):
    y, v, X = simulate(seed)
    units = np.array([1.0, 10.0**power, 1.0])
    one, other = meta_regression(y, v, X), meta_regression(y, v, X * units)
    np.testing.assert_allclose(other.beta * units, one.beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.log_likelihood, one.log_likelihood, rtol=1e-8)


@given(SEEDS, st.floats(0.001, 10))
@settings(max_examples=30)
def test_equal_variances_give_ordinary_least_squares(seed, variance):
    y, _, X = simulate(seed)
    fit, plain = meta_regression(y, np.full(len(y), variance), X), least_squares_hc3(y, X)
    np.testing.assert_allclose(fit.beta, plain.beta, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fit.covariance, plain.sigma**2 * np.linalg.inv(X.T @ X), rtol=1e-8, atol=1e-12)


@given(SEEDS, st.floats(0, 3))
@settings(max_examples=40)
def test_tau2_is_the_global_maximum(seed, spread):
    y, v, X = simulate(seed, n=8, p=2, tau=0.2, spread=spread)
    fit = meta_regression(y, v, X)
    trials = np.append(0.0, np.geomspace(1e-7, 1e2, 150))
    best = max(reml_log_likelihood(y, v, X, float(tau2)) for tau2 in trials)
    assert fit.log_likelihood >= best - 1e-8
    assert fit.tau2 >= 0


def test_two_maxima_are_told_apart():
    # four precise estimates that agree and six noisy ones that do not: the likelihood has a maximum for either story
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(0, 1e-3, 4), rng.normal(0, 5, 6)])
    v = np.concatenate([np.full(4, 1e-6), np.full(6, 0.1)])
    fit = meta_regression(y, v, np.ones((10, 1)))
    trials = np.geomspace(1e-9, 1e3, 2000)
    likelihood = np.array([reml_log_likelihood(y, v, np.ones((10, 1)), t) for t in trials])
    assert np.sum((np.diff(likelihood)[:-1] > 0) & (np.diff(likelihood)[1:] < 0)) + (likelihood[1] < likelihood[0]) == 2
    assert fit.log_likelihood >= likelihood.max() - 1e-9


def test_perfect_fit_has_no_heterogeneity():
    X = np.column_stack([np.ones(5), np.arange(5.0)])
    fit = meta_regression(X @ [1.0, 2.0], np.full(5, 0.1), X)
    assert fit.tau2 == 0
    np.testing.assert_allclose(fit.beta, [1, 2])


@pytest.mark.parametrize(
    ("y", "v", "X", "error"),
    [
        (np.zeros(3), np.ones(4), np.ones((4, 1)), ShapeError),
        (np.zeros(3), np.ones(3), np.ones(3), ShapeError),
        (np.array([0, np.nan, 1]), np.ones(3), np.ones((3, 1)), DataError),
        (np.zeros(3), np.array([1, 0, 1]), np.ones((3, 1)), DataError),
        (np.zeros(1), np.ones(1), np.ones((1, 1)), DataError),
    ],
)
def test_bad_arrays_are_refused(y, v, X, error):
    with pytest.raises(error):
        meta_regression(y, v, X)


def fixed_effect_p(y, v, X):
    """P-value of the slope when heterogeneity is ignored."""
    covariance = np.linalg.inv(X.T @ (X / v[:, None]))
    return chi2.sf((covariance @ X.T @ (y / v))[1] ** 2 / covariance[1, 1], 1)


def test_null_rejection_rate_is_nominal_and_fixed_effect_would_fail():
    # 500 studies of 30 people without an effect, level .05: the count of rejections is Binomial(500, .05),
    # outside its central 99.9 % with probability .001 for a valid test. Seed fixed.
    rng = np.random.default_rng(20261122)
    n, studies = 30, 500
    rejected = {"random": 0, "fixed": 0}
    for _ in range(studies):
        X = np.column_stack([np.ones(n), rng.normal(size=n)])
        v = rng.uniform(0.05, 0.6, n)
        y = rng.normal(0, 0.5, n) + rng.normal(0, np.sqrt(v))
        rejected["random"] += meta_regression(y, v, X).p_qm < 0.05
        rejected["fixed"] += fixed_effect_p(y, v, X) < 0.05
    low, high = binom.interval(0.999, studies, 0.05)
    assert low <= rejected["random"] <= high
    assert rejected["fixed"] > high


@given(SEEDS, st.floats(0, 3))
@settings(max_examples=30)
def test_full_maximum_likelihood_is_a_global_maximum(seed, spread):
    y, v, X = simulate(seed, n=8, p=2, tau=0.2, spread=spread)
    fit = meta_regression(y, v, X, estimator="ML")

    def value(tau2):
        w = 1.0 / (v + tau2)
        beta = np.linalg.solve(X.T @ (w[:, None] * X), X.T @ (w * y))
        return 0.5 * np.sum(np.log(w / (2 * np.pi)) - w * (y - X @ beta) ** 2)

    np.testing.assert_allclose(fit.log_likelihood, value(fit.tau2), rtol=1e-9, atol=1e-9)
    assert fit.log_likelihood >= max(value(tau2) for tau2 in np.append(0.0, np.geomspace(1e-7, 1e2, 150))) - 1e-8


@given(SEEDS, st.floats(0.001, 10))
@settings(max_examples=20)
def test_with_equal_variances_ml_divides_by_n_and_reml_by_n_minus_p(seed, variance):
    y, _, X = simulate(seed, tau=4.0)
    v = np.full(len(y), variance)
    rss = np.sum((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2)
    for estimator, divisor in (("ML", 20), ("REML", 17)):
        expected = max(rss / divisor - variance, 0.0)
        np.testing.assert_allclose(
            meta_regression(y, v, X, estimator=estimator).tau2, expected, rtol=1e-8, atol=1e-9 * variance
        )


def test_without_knapp_hartung_tests_are_normal_and_the_variance_is_not_scaled():
    y, v, X = simulate(1)
    scaled, plain = meta_regression(y, v, X), meta_regression(y, v, X, knapp_hartung=False)
    np.testing.assert_allclose(plain.covariance, np.linalg.inv(X.T @ (X / (v + plain.tau2)[:, None])), rtol=1e-10)
    ratio = scaled.covariance / plain.covariance
    np.testing.assert_allclose(ratio, np.full((3, 3), ratio[0, 0]))
    assert (scaled.df, plain.df) == (17.0, np.inf)
    # the omnibus statistic is chi-squared instead of F
    np.testing.assert_allclose(plain.p_qm, chi2.sf(plain.qm, 2), rtol=1e-12)
    np.testing.assert_allclose(plain.qm, 2 * scaled.qm * ratio[0, 0], rtol=1e-9)


@pytest.mark.parametrize("options", [{"estimator": "DL"}, {"estimator": "reml"}, {"knapp_hartung": "yes"}])
def test_unknown_settings_are_refused(options):
    with pytest.raises(ConfigError):
        Settings(**options)


def test_estimate_passes_the_settings_on(cohort):
    frame, people = cohort(seed=3)
    table = CoefficientTable.from_frame(frame)
    design = build_design("~ age", people)
    equations, _ = select_equations(table, design)
    inputs = GroupInputs(table, design, equations)
    y, v = equations[0].estimate, equations[0].variance
    for chosen in (Settings("ML", False), Settings("ML"), Settings("REML", False), Settings()):
        estimates = meta.estimate(inputs, chosen)
        fit = meta_regression(y, v, design.matrix, estimator=chosen.estimator, knapp_hartung=chosen.knapp_hartung)
        np.testing.assert_allclose(estimates.fixed["std_error"], np.sqrt(np.diag(fit.covariance)))
        assert estimates.fixed["df"].tolist() == [fit.df] * 2
        assert estimates.glance["log_lik"].iloc[0] == fit.log_likelihood
