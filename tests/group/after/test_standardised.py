"""What tests/reference/test_group_results.py does not compare with R."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from spicestat.errors import ConfigError
from spicestat.group import spice_group
from spicestat.group.after.fitted import fitted_equation
from spicestat.group.after.standardised import standardised_effects
from spicestat.group.methods.meta import meta_regression

KEY = ("x_value", "reward")


def test_two_groups_by_least_squares_give_cohens_d_and_hedges_variance(cohort):
    table, people = cohort(n=20)
    group = spice_group(table, "~ smokes", data=people, method="ols")
    X = group.design.matrix
    y = table["estimate"].to_numpy()
    sigma = group.tidy("ran_pars")["estimate"].item()
    plain = pd.DataFrame(sigma**2 * np.linalg.inv(X.T @ X), index=group.design.names, columns=group.design.names)
    row = standardised_effects(replace(group, covariance={KEY: plain})).iloc[0]
    smokers, others = y[X[:, 1] == 1], y[X[:, 1] == 0]
    pooled = np.sqrt((smokers.var(ddof=1) + others.var(ddof=1)) / 2)
    d = (smokers.mean() - others.mean()) / pooled
    assert row["estimate"] == pytest.approx(d, rel=1e-12)
    assert row["std_error"] ** 2 == pytest.approx(1 / 10 + 1 / 10 + d**2 / (2 * 18), rel=1e-12)
    # and the partial correlation is the point-biserial one of the t test
    t = ttest_ind(smokers, others).statistic
    r = standardised_effects(replace(group, covariance={KEY: plain}), "partial_r")["estimate"].item()
    assert r == pytest.approx(t / np.sqrt(t**2 + 18), rel=1e-12)
    assert r == pytest.approx(np.corrcoef(X[:, 1], y)[0, 1], rel=1e-12)


def test_total_effect_of_a_lone_number_without_sampling_error_is_the_correlation(cohort):
    table, people = cohort(slope=0.3)
    group = spice_group(table, "~ age", data=people, method="ols")
    effect = standardised_effects(group, "total")["estimate"].item()
    r = np.corrcoef(people["age"], table["estimate"])[0, 1]
    # sigma^2 has n - 2 in its denominator and the variance n - 1
    ratio = np.sqrt(1 + (1 - r**2) / 22)
    assert effect == pytest.approx(r / ratio, rel=1e-9)


def test_units_of_a_covariate_and_of_a_coefficient_do_not_matter(cohort):
    table, people = cohort(slope=0.2)
    table["estimate"] -= table["estimate"].mean()
    first = standardised_effects(spice_group(table, "~ diagnosis * age", data=people), "total")
    other = people.assign(age=people["age"] * 365)
    scaled = table.assign(estimate=1000 * table["estimate"], std_error=1000 * table["std_error"])
    second = standardised_effects(spice_group(scaled, "~ diagnosis * age", data=other), "total")
    for name in ("estimate", "std_error", "conf_low"):
        np.testing.assert_allclose(second[name], first[name], rtol=1e-6)


def test_without_spread_between_participants_the_effect_is_not_known(cohort):
    table, people = cohort(tau=0.0)
    table["std_error"] = 3.0
    group = spice_group(table, "~ smokes", data=people)
    assert fitted_equation(group, *KEY).spread == 0
    row = standardised_effects(group).iloc[0]
    assert np.isnan([row["estimate"], row["std_error"], row["conf_low"]]).all()
    # the total spread is that of the fitted values alone
    effect = standardised_effects(group, "total")["estimate"].item()
    assert abs(effect) == pytest.approx(1 / np.std(group.design.matrix[:, 1], ddof=1), rel=1e-9)


def refitted(group, key, fit):
    """Return a group model with the results of another meta-regression on the same design."""
    table, names = group.coefficients.copy(), list(group.design.names)
    table.loc[table["effect"] == "fixed", "estimate"] = fit.beta
    table.loc[table["effect"] == "ran_pars", "estimate"] = np.sqrt(fit.tau2)
    glance = group.glance_frame.assign(tau_squared=fit.tau2, tau_squared_se=fit.se_tau2)
    covariance = {key: pd.DataFrame(fit.covariance, index=names, columns=names)}
    return replace(group, coefficients=table, glance_frame=glance, covariance=covariance)


def test_intervals_of_standardised_effects_cover(cohort):
    # 100 replicates at .95 have a standard error of .022, so .86 is four of them below
    rng = np.random.default_rng(21)
    n, tau = 40, 0.5
    table, people = cohort(n=n)
    group = spice_group(table, "~ smokes", data=people)
    X = group.design.matrix
    truth = {"residual": 0.8, "total": 0.4 / np.sqrt(tau**2 + 0.16 * np.var(X[:, 1], ddof=1))}
    covered = dict.fromkeys(truth, 0)
    for _ in range(100):
        error = rng.uniform(0.1, 0.3, n)
        estimate = 0.4 * X[:, 1] + rng.normal(0, tau, n) + rng.normal(0, error)
        model = refitted(group, KEY, meta_regression(estimate, error**2, X))
        for kind in truth:
            row = standardised_effects(model, kind).iloc[0]
            covered[kind] += row["conf_low"] < truth[kind] < row["conf_high"]
    assert min(covered.values()) >= 86


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"kind": "cohen"}, "unknown standardised effect"),
        ({"kind": "total", "small_sample": True}, "small-sample correction is for"),
    ],
)
def test_unknown_settings_are_errors(cohort, settings, match):
    table, people = cohort()
    with pytest.raises(ConfigError, match=match):
        standardised_effects(spice_group(table, "~ age", data=people), **settings)
