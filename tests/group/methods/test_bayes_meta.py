"""Bayesian meta-regression: against REML, against the conjugate answer, and its tables."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError
from spicestat.group import spice_group
from spicestat.group.formula.design import build_design
from spicestat.group.inputs.contract import GroupInputs
from spicestat.group.inputs.usable import select_equations
from spicestat.group.methods.bayes_meta import Estimates, Settings, estimate, posterior_draws, sample, stack_estimates
from spicestat.group.methods.meta import meta_regression
from spicestat.group.posterior.scaling import make_scaling

pytest.importorskip("numpyro")

TERMS = [("x_value", "reward"), ("beta", "x_value")]


def cohort(n=30, seed=1, correlation=0.6):
    """Estimates of two terms with correlated errors, related to age."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 70, n).astype(float)
    errors = rng.uniform(0.05, 0.2, (n, 2))
    covariance = errors[:, :, None] * errors[:, None, :] * np.array([[1, correlation], [correlation, 1]])
    theta = np.column_stack([0.3 + 0.005 * age, 2.0 + 0 * age]) + rng.multivariate_normal(
        [0, 0], [[0.04, 0.03], [0.03, 0.09]], n
    )
    y = theta + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), rng.normal(size=(n, 2)))
    return y, covariance, age


def inputs_of(y, covariance, age, lost=()):
    ids = [f"s{row:02d}" for row in range(len(y))]
    frame = pd.concat(
        [
            pd.DataFrame(
                {
                    "participant": ids,
                    "module": module,
                    "term": term,
                    "estimate": y[:, k],
                    "std_error": np.sqrt(covariance[:, k, k]),
                }
            )
            for k, (module, term) in enumerate(TERMS)
        ]
    )
    people = pd.DataFrame({"participant": ids, "age": age})
    bad = frame.set_index(["participant", "term"]).index.isin(lost)
    frame["at_bound"] = bad
    table = CoefficientTable.from_frame(frame, covariance, people)
    design = build_design("~ age", people)
    equations, _ = select_equations(table, design)
    return GroupInputs(table, design, equations)


@pytest.fixture(scope="module")
def result():
    return estimate(inputs_of(*cohort()), Settings(draws=500, tune=300, seed=3))


def test_flat_priors_and_many_people_give_reml():
    # Monte Carlo error of a mean is below .03 of its standard error here (ESS > 1000); seed fixed
    rng = np.random.default_rng(5)
    n = 400
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    v = rng.uniform(0.02, 0.2, n)
    y = X @ [0.5, 0.3] + rng.normal(0, 0.4, n) + rng.normal(0, np.sqrt(v))
    reml = meta_regression(y, v, X)
    estimates = Estimates(y[:, None], v[:, None, None], np.ones((n, 1), bool), X, tuple(range(n)), True)
    settings = Settings(draws=500, tune=300, prior_scale=100.0, prior_sd_scale=50.0, seed=1)
    scaling = make_scaling(X, np.array([0.5]), np.array([0.5]))
    found = posterior_draws(
        estimates, scaling, sample(estimates, scaling, settings, correlated=False), settings, correlated=False
    )
    error = np.sqrt(np.diag(reml.covariance))
    gamma = found.gamma[..., 0].reshape(-1, 2)
    assert (np.abs(gamma.mean(axis=0) - reml.beta) < 0.12 * error).all()
    np.testing.assert_allclose(gamma.std(axis=0), error, rtol=0.08)
    # a skewed posterior's median, as the mean lies above the mode by about a fifth of the standard error
    assert np.median(found.sd) == pytest.approx(np.sqrt(reml.tau2), rel=0.03)


def test_participants_are_drawn_from_their_conditional_distribution():
    # 3000 draws given one group: means within 4.5 standard errors, covariances within 15 %; seed fixed
    y, covariance, age = cohort(n=4, seed=2)
    observed = np.ones((4, 2), bool)
    observed[0, 1] = False
    covariance[0] = [[covariance[0, 0, 0], 0], [0, 1]]
    y[0, 1] = 0.0
    X = np.column_stack([np.ones(4), age])
    estimates = Estimates(y, covariance, observed, X, tuple("abcd"), True)
    gamma, sigma = np.array([[0.3, 2.0], [0.005, 0.0]]), np.array([[0.04, 0.03], [0.03, 0.09]])
    from spicestat.group.methods.bayes_meta import _participants

    root = np.linalg.cholesky(sigma)
    theta, log_likelihood = _participants(estimates, np.tile(gamma, (3000, 1, 1)), np.tile(root, (3000, 1, 1)), 0)
    for person in range(4):
        seen = np.flatnonzero(observed[person])
        mean = X[person] @ gamma
        whole = covariance[person][np.ix_(seen, seen)] + sigma[np.ix_(seen, seen)]
        gain = sigma[:, seen] @ np.linalg.inv(whole)
        expected = mean + gain @ (y[person] - mean)[seen]
        spread = sigma - gain @ sigma[seen]
        np.testing.assert_array_less(
            np.abs(theta[:, person].mean(axis=0) - expected), 4.5 * np.sqrt(np.diag(spread) / 3000)
        )
        np.testing.assert_allclose(np.cov(theta[:, person].T), spread, rtol=0.15)
        exact = multivariate_normal.logpdf(y[person][seen], mean[seen], whole)
        np.testing.assert_allclose(log_likelihood[:, person], exact)


def test_tables(result):
    assert list(result.fixed["term"]) == ["(Intercept)", "age"] * 2
    assert result.fixed["p_value"].isna().all()
    assert (result.fixed["conf_low"] < result.fixed["estimate"]).all()
    assert (result.fixed["estimate"] < result.fixed["conf_high"]).all()
    assert result.fixed["prob_direction"].between(0.5, 1).all()
    assert result.ran_pars["term"].tolist() == ["sd__(Intercept)", "cor__(Intercept).beta:x_value", "sd__(Intercept)"]
    row = result.glance.iloc[0]
    assert row["nobs"] == 30
    assert row["rhat"] < 1.02
    assert row["n_divergent"] == 0
    assert row["converged"] == (row["rhat"] < 1.01 and row["ess_bulk"] > 400 and row["ess_tail"] > 400)
    error = result.fixed["std_error"].to_numpy()
    np.testing.assert_allclose(np.sqrt(np.diag(result.joint_covariance)), error)
    np.testing.assert_allclose(result.covariance[TERMS[0]], result.joint_covariance.to_numpy()[:2, :2])
    assert len(result.ran_vals) == 60
    assert result.messages == ()


def test_inference_data_is_named(result):
    data = result.posterior.inference_data
    assert set(data.groups()) >= {"posterior", "sample_stats", "log_likelihood", "observed_data", "constant_data"}
    fixed = data.posterior["fixed"]
    assert fixed.dims == ("chain", "draw", "covariate", "equation_term")
    age = fixed.sel(covariate="age", equation_term="x_value:reward").to_numpy()
    row = result.fixed[(result.fixed["term"] == "age") & (result.fixed["module"] == "x_value")].iloc[0]
    assert age.mean() == pytest.approx(row["estimate"])
    np.testing.assert_allclose(np.quantile(age, [0.025, 0.975]), [row["conf_low"], row["conf_high"]])
    person = data.posterior["coefficient"].sel(participant="s03", equation_term="beta:x_value")
    predicted = fixed.sel(equation_term="beta:x_value") * data.constant_data["design"].sel(participant="s03")
    deviation = float((person - predicted.sum("covariate")).mean())
    level = result.ran_vals[(result.ran_vals["level"] == "s03") & (result.ran_vals["module"] == "beta")]
    assert deviation == pytest.approx(float(level["estimate"].iloc[0]))
    assert data.sample_stats["diverging"].shape == (4, 500)
    assert data.log_likelihood["data"].dims == ("chain", "draw", "participant")


def test_participants_estimates_are_shrunk(result):
    y, _, _ = cohort()
    raw = y[:, 0] - np.polyval(np.polyfit(cohort()[2], y[:, 0], 1), cohort()[2])
    shrunk = result.ran_vals[result.ran_vals["module"] == "x_value"]["estimate"].to_numpy()
    assert shrunk.std() < raw.std()
    assert np.corrcoef(shrunk, raw)[0, 1] > 0.9


def test_estimates_that_are_missing_are_left_out_one_by_one():
    y, covariance, age = cohort()
    with pytest.warns(UserWarning, match="at a bound"):
        inputs = inputs_of(y, covariance, age, lost=[("s00", "reward"), ("s01", "reward"), ("s01", "x_value")])
    stacked = stack_estimates(inputs)
    assert stacked.participants[0] == "s00"
    assert "s01" not in stacked.participants
    assert stacked.observed[0].tolist() == [False, True]
    np.testing.assert_array_equal(stacked.covariance[0], np.diag([1.0, covariance[0, 1, 1]]))
    np.testing.assert_allclose(stacked.covariance[1], covariance[2])
    assert stacked.complete


def test_without_covariances_errors_are_independent():
    y, covariance, age = cohort()
    inputs = inputs_of(y, covariance, age)
    bare = GroupInputs(CoefficientTable(inputs.table.frame), inputs.design, inputs.equations)
    stacked = stack_estimates(bare)
    assert not stacked.complete
    assert (stacked.covariance[:, 0, 1] == 0).all()
    assert stack_estimates(inputs, joint=False).covariance[0, 0, 1] == 0


def test_impossible_covariances_are_refused():
    y, covariance, age = cohort()
    covariance[4, 0, 1] = covariance[4, 1, 0] = 2 * np.sqrt(covariance[4, 0, 0] * covariance[4, 1, 1])
    with pytest.raises(DataError, match="s04"):
        stack_estimates(inputs_of(y, covariance, age))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("draws", 3),
        ("tune", 10),
        ("chains", 0),
        ("seed", -1),
        ("seed", 2**32),
        ("target_accept", 1.0),
        ("prior_scale", 0.0),
        ("prior_sd_scale", -1.0),
        ("prior_sd_df", 0.0),
        ("prior_lkj", "2"),
        ("multivariate", 1),
    ],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ConfigError, match=name):
        Settings(**{name: value})


def test_a_group_result_shows_what_the_sampler_did():
    rng = np.random.default_rng(3)
    ids, age = [f"s{row:02d}" for row in range(20)], rng.normal(40, 10, 20)
    frame = pd.DataFrame(
        {"participant": ids, "module": "x", "term": "1", "estimate": rng.normal(0.02 * age, 0.3), "std_error": 0.2}
    )
    people = pd.DataFrame({"participant": ids, "age": age})
    found = spice_group(frame, "~ age", data=people, method="bayes_meta", draws=1000, tune=400, chains=2)
    assert {"rhat", "ess_bulk", "ess_tail", "n_divergent"} <= set(found.glance())
    rows = found.diagnostics()
    assert rows["rhat"].between(0.99, 1.05).all() and rows["ess_bulk"].gt(100).all()
    wide, narrow = found.tidy(conf_level=0.95), found.tidy(conf_level=0.5)
    assert (narrow["conf_low"] > wide["conf_low"]).all() and (narrow["conf_high"] < wide["conf_high"]).all()
    # quantiles of the draws, and not t intervals around their mean
    draws = found.posterior.inference_data.posterior["fixed"].to_numpy()
    low = np.quantile(draws.reshape(-1, *draws.shape[2:]), 0.25, axis=0).ravel()
    np.testing.assert_allclose(np.sort(low), np.sort(narrow["conf_low"].to_numpy()), rtol=1e-6)
    with pytest.raises(ConfigError, match="does not sample"):
        spice_group(frame, "~ age", data=people).diagnostics()
