import time
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from scipy.stats import t as student

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.group.formula.design import build_design
from spicestat.group.inputs.contract import GroupInputs
from spicestat.group.inputs.usable import select_equations
from spicestat.group.methods import multivariate_meta
from spicestat.group.methods.meta import meta_regression
from spicestat.group.methods.multivariate_meta import Settings, _Observed, multivariate_meta_regression
from spicestat.group.numerics.covariance_search import _Likelihood

SEEDS = st.integers(0, 10**6)


def simulate(seed, n=30, d=3, p=2, rank=None, missing=0.0):
    """Return estimates, sampling covariances and a design; the covariance between people has the given rank."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    root = 0.5 * rng.normal(size=(d, d if rank is None else rank))
    noise = rng.normal(size=(n, d, d + 2)) * np.sqrt(rng.uniform(0.02, 0.6, n) / (d + 2))[:, None, None]
    V = noise @ noise.transpose(0, 2, 1)
    y = X @ rng.normal(size=(p, d)) + rng.normal(size=(n, root.shape[1])) @ root.T
    y += np.einsum("nab,nb->na", np.linalg.cholesky(V), rng.normal(size=(n, d)))
    y[rng.random((n, d)) < missing] = np.nan
    return y, V, X


@given(SEEDS, st.booleans(), st.booleans())
@settings(max_examples=20)
def test_derivatives_agree_with_finite_differences(seed, restricted, gaps):
    y, V, X = simulate(seed, n=15, missing=0.2 if gaps else 0.0)
    likelihood = _Likelihood(_Observed(y, np.where(np.isfinite(V), V, 1.0), np.isfinite(y)), X, restricted)
    rng = np.random.default_rng(seed)
    root = 0.2 * np.eye(3) + 0.5 * rng.normal(size=(3, 3))
    sigma = root @ root.T + 0.1 * np.eye(3)
    tangents = rng.normal(size=(4, 3, 3))
    tangents = tangents + tangents.transpose(0, 2, 1)
    at, step = likelihood.at(sigma), 1e-5
    sides = [(likelihood.at(sigma + step * T), likelihood.at(sigma - step * T)) for T in tangents]
    slopes = [(up.value - down.value) / (2 * step) for up, down in sides]
    expected = np.einsum("kab,ab->k", tangents, at.gradient)
    np.testing.assert_allclose(slopes, expected, atol=1e-4 * (1 + np.abs(expected).max()))
    bends = [-np.einsum("kab,ab->k", tangents, (up.gradient - down.gradient) / (2 * step)) for up, down in sides]
    information = likelihood.information(at, tangents)
    np.testing.assert_allclose(bends, information, atol=1e-5 * np.abs(information).max())


@given(SEEDS, st.sampled_from(["REML", "ML"]))
@settings(max_examples=15)
def test_one_coefficient_is_the_univariate_meta_regression(seed, estimator):
    y, V, X = simulate(seed, d=1)
    fit = multivariate_meta_regression(y, V, X, estimator=estimator)
    single = meta_regression(y[:, 0], V[:, 0, 0], X, estimator=estimator, knapp_hartung=False)
    np.testing.assert_allclose(fit.beta[0], single.beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fit.covariance, single.covariance, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(fit.sigma[0, 0], single.tau2, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(
        [fit.log_likelihood, fit.aic, fit.bic], [single.log_likelihood, single.aic, single.bic], rtol=1e-9
    )


@given(SEEDS, st.sampled_from([None, 0, 1, 2]), st.sampled_from(["REML", "ML"]), st.sampled_from([0.0, 0.2]))
@settings(max_examples=25)
def test_no_covariance_is_more_likely_than_the_estimate(seed, rank, estimator, missing):
    y, V, X = simulate(seed, n=14, rank=rank, missing=missing)
    fit = multivariate_meta_regression(y, V, X, estimator=estimator)
    assert fit.converged
    rng = np.random.default_rng(seed)
    spread = np.sqrt(np.diag(fit.sigma)) + 0.05

    def value(sigma):
        return multivariate_meta_regression(y, V, X, estimator=estimator, sigma=sigma).log_likelihood

    roots = [rng.normal(size=(3, 3)) * spread[:, None] for _ in range(12)]
    far = max(value(root @ root.T) for root in roots)
    near = max(value(fit.sigma + 1e-4 * root @ root.T) for root in roots)
    mixed = max(value(0.99 * fit.sigma + 0.01 * root @ root.T) for root in roots)
    assert fit.log_likelihood >= max(far, near, mixed) - 1e-8


@given(SEEDS)
@settings(max_examples=15)
def test_units_and_order_do_not_matter(seed):
    y, V, X = simulate(seed, missing=0.1)
    rng = np.random.default_rng(seed)
    units, order, people = 10.0 ** rng.uniform(-4, 4, 3), rng.permutation(3), rng.permutation(len(y))
    turn = np.array([[1.0, 3.0], [0.0, 20.0]])
    one = multivariate_meta_regression(y, V, X)
    scaled_V = (V * np.outer(units, units))[people][:, order][:, :, order]
    other = multivariate_meta_regression((y * units)[people][:, order], scaled_V, (X @ turn)[people])
    errors = one.std_errors[order]
    beta = (other.beta @ turn.T) / units[order][:, None]
    np.testing.assert_allclose((beta - one.beta[order]) / errors, np.zeros(beta.shape), atol=1e-5)
    spread = np.sqrt(np.diag(one.sigma)).clip(1e-3)
    sigma = one.sigma / np.outer(spread, spread)
    unscaled = other.sigma / np.outer(units[order] * spread[order], units[order] * spread[order])
    np.testing.assert_allclose(unscaled, sigma[order][:, order], atol=1e-5)
    jacobian = (np.isfinite(y).sum(axis=0) - 2) @ np.log(units)
    np.testing.assert_allclose(other.log_likelihood + jacobian, one.log_likelihood, atol=1e-6)


def test_independent_coefficients_with_zero_sampling_correlation_give_separate_fits_of_the_slope():
    # equal sampling covariances: generalised least squares is ordinary least squares for each coefficient
    y, _, X = simulate(3, n=40)
    fit = multivariate_meta_regression(y, np.tile(0.01 * np.eye(3), (40, 1, 1)), X)
    np.testing.assert_allclose(fit.beta.T, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-8)
    residual = y - X @ fit.beta.T
    np.testing.assert_allclose(fit.sigma + 0.01 * np.eye(3), residual.T @ residual / 38, rtol=1e-6, atol=1e-9)


def test_a_participant_without_any_estimate_changes_nothing_but_the_design():
    y, V, X = simulate(4)
    y[7] = np.nan
    one, other = (
        multivariate_meta_regression(y, V, X),
        multivariate_meta_regression(*(np.delete(a, 7, axis=0) for a in (y, V, X))),
    )
    np.testing.assert_allclose(one.beta, other.beta, rtol=1e-7)
    np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-9)
    assert one.deviations[7].tolist() == [0.0, 0.0, 0.0]


def test_a_saddle_with_a_missing_direction_is_left():
    # started at zero variance of one coefficient, where the likelihood is flat in the root, but rises in the variance
    y, V, X = simulate(5, n=60)
    fit = multivariate_meta_regression(y, V, X)
    likelihood = _Likelihood(_Observed(y, V, np.isfinite(y)), X, True)
    from spicestat.group.numerics.covariance_search import _climb

    stuck = fit.sigma.copy()
    stuck[0], stuck[:, 0] = 0.0, 0.0
    at, _, converged = _climb(likelihood, stuck, 100)
    assert converged
    np.testing.assert_allclose(at.sigma, fit.sigma, rtol=1e-4, atol=1e-6)


def test_speed_is_enough_for_a_benchmark_of_a_thousand():
    # promised: under 30 ms for 100 participants and 3 coefficients; processor time, as the machine may be shared
    y, V, X = simulate(6, n=100)
    took = []
    for _ in range(10):
        start = time.thread_time()
        multivariate_meta_regression(y, V, X)
        took.append(time.thread_time() - start)
    assert min(took) < 0.03


def test_coverage_is_nominal():
    # 120 studies of 40 people, 3 slopes each: misses of the 95 % interval of one slope are Binomial(120, .05); outside
    # the central 99.9 % with probability .001 for each of the three if intervals are exact. Seeds fixed.
    studies, low_high = 120, binom.interval(0.999, 120, 0.05)
    missed = np.zeros(3)
    rng = np.random.default_rng(20261123)
    for _ in range(studies):
        n = 40
        X = np.column_stack([np.ones(n), rng.normal(size=n)])
        V = np.array([np.diag(rng.uniform(0.05, 0.3, 3)) + 0.02 for _ in range(n)])
        sigma = 0.2 * np.eye(3) + 0.1
        noise = np.einsum("nab,nb->na", np.linalg.cholesky(V + sigma), rng.normal(size=(n, 3)))
        fit = multivariate_meta_regression(X @ np.array([[1.0, 2, 3], [0.4, 0, -0.2]]) + noise, V, X)
        half = student.ppf(0.975, fit.df) * fit.std_errors[:, 1]
        missed += np.abs(fit.beta[:, 1] - [0.4, 0, -0.2]) > half
    assert (missed >= low_high[0]).all()
    assert (missed <= low_high[1]).all()


def inputs_of(seed, n=30, covariance=True, drop=()):
    y, V, X = simulate(seed, n=n)
    ids = [f"s{row:02d}" for row in range(n)]
    frame = pd.DataFrame(
        {
            "participant": np.repeat(ids, 3),
            "module": np.tile(["x_a", "x_a", "beta"], n),
            "term": np.tile(["1", "x_a", "x"], n),
            "estimate": y.ravel(),
            "std_error": np.sqrt(np.diagonal(V, axis1=1, axis2=2)).ravel(),
        }
    )
    frame["at_bound"] = False
    for row in drop:
        frame.loc[row, "at_bound"] = True
    table = CoefficientTable.from_frame(frame, covariance=V if covariance else None)
    design = build_design("~ age", pd.DataFrame({"participant": ids, "age": X[:, 1]}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        equations, _ = select_equations(table, design)
    return GroupInputs(table, design, equations), (y, V, X)


def test_estimate_lays_out_the_array_fit():
    inputs, arrays = inputs_of(8)
    estimates = multivariate_meta.estimate(inputs, Settings())
    fit = multivariate_meta_regression(*arrays)
    np.testing.assert_allclose(estimates.fixed["estimate"], fit.beta.ravel())
    np.testing.assert_allclose(estimates.fixed["std_error"], fit.std_errors.ravel())
    assert estimates.fixed["df"].tolist() == [28.0] * 6
    assert estimates.fixed["term"].tolist() == ["(Intercept)", "age"] * 3
    joint = estimates.joint_covariance
    assert joint.index.names == ["module", "sparse_term", "term"]
    np.testing.assert_allclose(joint.to_numpy(), fit.covariance)
    block = estimates.covariance[("x_a", "x_a")]
    np.testing.assert_allclose(block, fit.covariance[2:4, 2:4])
    spread = estimates.ran_pars.set_index(["module", "sparse_term", "term"])["estimate"]
    np.testing.assert_allclose(spread["beta", "x", "sd__(Intercept)"], np.sqrt(fit.sigma[2, 2]))
    correlation = fit.sigma[0, 2] / np.sqrt(fit.sigma[0, 0] * fit.sigma[2, 2])
    np.testing.assert_allclose(spread["x_a", "1", "cor__(Intercept).beta:x"], correlation)
    assert len(estimates.ran_vals) == 90
    glance = estimates.glance.iloc[0]
    assert (glance["nobs"], glance["df_residual"], glance["converged"]) == (90, 84.0, True)
    np.testing.assert_allclose(glance["log_lik"], fit.log_likelihood)


def test_a_coefficient_at_a_bound_leaves_the_participants_others_in():
    inputs, (y, V, X) = inputs_of(9, drop=(0, 4))
    y[0, 0] = y[1, 1] = np.nan
    estimates = multivariate_meta.estimate(inputs)
    np.testing.assert_allclose(
        estimates.fixed["estimate"], multivariate_meta_regression(y, V, X).beta.ravel(), rtol=1e-7
    )
    assert estimates.fixed["df"].tolist() == [27.0, 27.0, 27.0, 27.0, 28.0, 28.0]
    assert estimates.glance["nobs"].iloc[0] == 88


def test_without_covariances_the_table_says_so_and_they_are_zero():
    inputs, (y, V, X) = inputs_of(10, covariance=False)
    estimates = multivariate_meta.estimate(inputs)
    diagonal = V * np.eye(3)
    np.testing.assert_allclose(estimates.fixed["estimate"], multivariate_meta_regression(y, diagonal, X).beta.ravel())
    assert any("no covariances" in message for message in estimates.messages)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="REML, ML"):
        Settings(estimator="DL")


def bad(change):
    arrays = list(simulate(1, n=8))
    change(arrays)
    return arrays


def replace_in(position, index, value):
    def change(arrays):
        arrays[position] = arrays[position].copy()
        arrays[position][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda a: a.__setitem__(1, a[1][:, :2]), ShapeError, "do not match"),
        (replace_in(0, (0, 0), np.inf), DataError, "finite"),
        (replace_in(1, (0, 0, 0), np.nan), DataError, "finite"),
        (replace_in(1, (2, 1, 1), 0.0), DataError, "positive"),
        (replace_in(1, (3, slice(None), slice(None)), [[1, 2, 0], [2, 1, 0], [0, 0, 1]]), DataError, "row 3"),
        (replace_in(0, (slice(2, None), 1), np.nan), DataError, "more participants"),
        (replace_in(2, (slice(None), 1), 1.0), DataError, "do not cover"),
        (lambda a: a.__setitem__(0, np.ones((8, 3))), DataError, "exactly"),
    ],
)
def test_bad_arrays_are_refused(change, error, match):
    with pytest.raises(error, match=match):
        multivariate_meta_regression(*bad(change))


@pytest.mark.parametrize(("sigma", "error"), [(np.eye(2), ShapeError), (-np.eye(3), DataError)])
def test_bad_known_covariances_are_refused(sigma, error):
    with pytest.raises(error):
        multivariate_meta_regression(*simulate(1), sigma=sigma)
