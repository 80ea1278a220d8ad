"""What tests/reference/test_group_results.py does not compare with R."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from spicestat.errors import ConfigError, DataError
from spicestat.group import spice_group
from spicestat.group.after.average_effects import average_effects
from spicestat.group.methods.meta import meta_regression

KEY = ("x_value", "reward")


@pytest.fixture
def group(cohort):
    table, people = cohort(slope=0.2)
    return replace(spice_group(table, "~ diagnosis * smokes + age", data=people), links={KEY: "logit"})


def with_deviations(group, seed=1):
    labels = group.table.participants
    values = np.random.default_rng(seed).normal(0, 0.5, len(labels))
    rows = pd.DataFrame({"level": labels, "estimate": values, "std_error": 0.1})
    rows = rows.assign(module=KEY[0], sparse_term=KEY[1], group="participant", term="(Intercept)")
    return replace(group, ran_vals=rows), values


def test_without_a_link_the_effects_are_those_of_the_table(group):
    frame = average_effects(replace(group, links={}), "age")
    row = group.tidy().set_index("term").loc["age"]
    for name in ("estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"):
        assert frame[name].item() == pytest.approx(row[name], rel=1e-6)


def test_participants_posterior_means_are_averaged_over(group):
    model, u = with_deviations(group)
    X, beta = model.design.matrix, model.tidy()["estimate"].to_numpy()
    frame = average_effects(model, over="participants").set_index("contrast")
    alpha = expit(X @ beta + u)
    age = list(model.design.names).index("age")
    assert frame.loc["slope", "estimate"] == pytest.approx(beta[age] * np.mean(alpha * (1 - alpha)), rel=1e-7)
    # the smoking effect depends on the diagnosis: each participant's own is averaged
    people = model.design.frame
    smoking, without = (model.design.design_for(people.assign(smokes=level)) for level in ("TRUE", "FALSE"))
    difference = np.mean(expit(smoking @ beta + u) - expit(without @ beta + u))
    assert frame.loc["TRUE - FALSE", "estimate"] == pytest.approx(difference, rel=1e-12)
    step = 1e-6 * np.eye(len(beta))
    gradient = [np.mean(expit(smoking @ (beta + h) + u) - expit(without @ (beta + h) + u)) - difference for h in step]
    gradient = np.array(gradient) / 1e-6
    variance = gradient @ model.covariance[KEY].to_numpy() @ gradient
    assert frame.loc["TRUE - FALSE", "std_error"] == pytest.approx(np.sqrt(variance), rel=1e-5)
    # somebody without a deviation is left out of the mean
    fewer = replace(model, ran_vals=model.ran_vals.iloc[1:])
    partial = average_effects(fewer, "age", over="participants")["estimate"].item()
    assert partial == pytest.approx(beta[age] * np.mean((alpha * (1 - alpha))[1:]), rel=1e-7)


def test_a_power_is_differentiated(cohort):
    table, people = cohort(slope=0.2)
    group = spice_group(table, "~ age + I(age^2)", data=people)
    beta = group.tidy()["estimate"].to_numpy()
    frame = average_effects(group)
    assert frame["estimate"].item() == pytest.approx(beta[1] + 2 * beta[2] * people["age"].mean(), rel=1e-6)
    gradient = np.array([0, 1, 2 * people["age"].mean()])
    variance = gradient @ group.covariance[KEY].to_numpy() @ gradient
    assert frame["std_error"].item() == pytest.approx(np.sqrt(variance), rel=1e-5)


def refitted(group, key, fit):
    """Return a group model with the results of another meta-regression on the same design."""
    table, names = group.coefficients.copy(), list(group.design.names)
    table.loc[table["effect"] == "fixed", "estimate"] = fit.beta
    table.loc[table["effect"] == "ran_pars", "estimate"] = np.sqrt(fit.tau2)
    glance = group.glance_frame.assign(tau_squared=fit.tau2, tau_squared_se=fit.se_tau2)
    covariance = {key: pd.DataFrame(fit.covariance, index=names, columns=names)}
    return replace(group, coefficients=table, glance_frame=glance, covariance=covariance)


def test_intervals_cover_the_true_average_effect(cohort):
    # coefficients with known variances on the logit scale. 100 replicates at .95 have a standard error of .022, so
    # .86 is four of them below; errors too small by a third would cover .81
    rng = np.random.default_rng(31)
    n, gamma, tau, covered = 60, 0.4, 0.7, 0
    table, people = cohort(n=n)
    people["z"] = rng.normal(0, 1, n)
    group = replace(spice_group(table, "~ z", data=people), links={KEY: "logit"})
    # the truth for these participants' covariates
    eta = -0.6 + gamma * people["z"].to_numpy() + rng.normal(0, tau, (20_000, n))
    truth = gamma * np.mean(expit(eta) * expit(-eta))
    for _ in range(100):
        error = rng.uniform(0.2, 0.5, n)
        estimate = -0.6 + gamma * people["z"].to_numpy() + rng.normal(0, tau, n) + rng.normal(0, error)
        fit = meta_regression(estimate, error**2, group.design.matrix)
        row = average_effects(refitted(group, KEY, fit)).iloc[0]
        covered += row["conf_low"] < truth < row["conf_high"]
    assert covered >= 86


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"variables": "sex"}, "covariates of the formula"),
        ({"over": "nobody"}, "`over` is unknown"),
        ({"over": "participants"}, "no deviations"),
    ],
)
def test_what_the_model_does_not_have_is_an_error(group, settings, match):
    with pytest.raises(ConfigError, match=match):
        average_effects(group, **settings)


def test_models_without_covariates_or_spread_have_no_average_effects(cohort, group):
    table, people = cohort()
    with pytest.raises(DataError, match="no covariate"):
        average_effects(spice_group(table, "~ 1", data=people))
    without = replace(group, coefficients=group.coefficients.query("effect == 'fixed'"))
    with pytest.raises(ConfigError, match="no spread"):
        average_effects(without)
