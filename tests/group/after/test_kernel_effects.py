"""Kernels of group models: by hand from everybody's moves, and against simulated people."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from spicestat import load_group, simulate_cohort, spice_fit, spice_group
from spicestat.errors import ConfigError, DataError, IdentifiabilityWarning
from spicestat.fit.history import lay_out_weights
from spicestat.fit.packing import pack_table
from spicestat.group.after.kernel_curves import Curves, averaged_curves
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.kernel_shape import derive
from spicestat.pooled.states import state

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.kernels.groups import one, truth  # noqa: E402


@pytest.fixture(scope="module")
def trials():
    return simulate_cohort(16, 80, seed=3).trials


@pytest.fixture(scope="module")
def fit(trials):
    people = simulate_cohort(16, 80, seed=3).people
    people["site"] = np.array(["a", "b", "c", "b"])[np.arange(16) % 4]
    return spice_fit(trials, block="block", trial="trial", people=people)


@pytest.fixture(scope="module")
def group(fit):
    return spice_group(fit, "~ site + anxiety")


def by_hand(group, fit, event, row, lags=4):
    """Everybody's kernels (n, lags) with the weights that a row of the design predicts and their own deviations."""
    moves = fit.kernel_moves(event, lags=lags)
    coef, vals = group.coef(), group.ran_vals.set_index(["module", "sparse_term", "level"])["estimate"]
    own = np.array([sum(coef[(*term, name)] * x for name, x in row.items()) for term in moves.terms])
    deviation = np.array([[vals[(*term, label)] for term in moves.terms] for label in fit.trials.participants])
    weights = np.hstack([own + deviation, np.tile(moves.shared.estimate, (len(deviation), 1))])
    return np.einsum("nlk,nk->nl", moves.moves.mean, weights), moves


@pytest.mark.parametrize("event", ["reward", "choice"])
def test_levels_and_contrasts_are_means_over_everybodys_histories(group, fit, event):
    table = group.kernels("site", events=[event], lags=4).tidy()
    anxiety = group.design.frame["anxiety"].mean()
    rows = {
        site: {"(Intercept)": 1.0, "siteb": site == "b", "sitec": site == "c", "anxiety": anxiety} for site in "abc"
    }
    kernels = {site: by_hand(group, fit, event, row)[0].mean(axis=0) for site, row in rows.items()}
    for site, kernel in kernels.items():
        own = table[table["level"] == site].set_index("quantity")
        np.testing.assert_allclose(own.loc["kernel", "estimate"], kernel, rtol=1e-10)
        assert own.loc["total", "estimate"] == pytest.approx(kernel.sum())
        half, rate = derive(kernel, own.loc["kernel", "std_error"].to_numpy())
        np.testing.assert_allclose(own.loc[["half_life", "learning_rate"], "estimate"], [half, rate], rtol=1e-10)
    assert table["contrast"].dropna().unique().tolist() == ["b - a", "c - a"]
    own = table[table["contrast"] == "c - a"].set_index("quantity")
    np.testing.assert_allclose(own.loc["kernel", "estimate"], kernels["c"] - kernels["a"], rtol=1e-8)
    # what is not known of the effects, and that histories differ, which adds little where weights do not
    moves = by_hand(group, fit, event, rows["a"])[1]
    effects = [(*term, "sitec") for term in moves.terms]
    slope = moves.moves.mean.mean(axis=0)[:, : len(effects)]
    known = np.sqrt(np.diag(slope @ group.joint_covariance.loc[effects, effects].to_numpy() @ slope.T))
    assert (own.loc["kernel", "std_error"] >= known - 1e-12).all()
    np.testing.assert_allclose(own.loc["kernel", "std_error"], known, rtol=0.1)
    width = own.loc["total", "conf_high"] - own.loc["total", "conf_low"]
    # t with 16 - 4 degrees of freedom
    assert width == pytest.approx(2 * 2.1788 * own.loc["total", "std_error"], rel=1e-3)


def test_that_single_weights_share_effects_is_said(group, fit):
    assert len(fit.choice_likelihood().terms) > 1
    assert any("kernels of a group model compare" in message for message in group.messages)
    assert not any("kernels" in message for message in spice_group(fit, "~ 1").messages)


def test_a_number_has_levels_a_standard_deviation_away_and_a_slope(group, fit):
    table = group.kernels("anxiety", events=["reward"], lags=3).tidy()
    total = table[table["quantity"] == "total"]
    low, high, slope = total["estimate"]
    sd = group.design.frame["anxiety"].std()
    assert slope == pytest.approx((high - low) / (2 * sd))
    assert total["level"].tolist()[:2] == ["-1 SD", "+1 SD"] and total["contrast"].tolist()[2] == "slope"


def test_tables_figures_and_saved_results(group, fit, tmp_path):
    found = group.kernels(lags=3)
    assert found.variable == "site"
    assert "learning_rate" in repr(found) and "b - a" in repr(found) and "<table" in found._repr_html_()
    assert len(group.plot("kernels", covariate="anxiety").axes) == 2
    again = load_group(group.save(tmp_path / "group"))
    with pytest.raises(ConfigError, match="pass `fit`"):
        again.kernels("site")
    pd.testing.assert_frame_equal(again.kernels("site", fit=fit, lags=3).frame, found.frame)


def test_units_of_rewards_and_levels_of_intervals_change_what_they_should(group, fit, trials):
    other = spice_fit(trials.assign(reward=100 * trials["reward"]), block="block", trial="trial", people=fit.people)
    cents = spice_group(other, "~ site + anxiety").kernels("site", lags=3).frame
    ours = group.kernels("site", lags=3).frame
    np.testing.assert_allclose(cents["estimate"], ours["estimate"], rtol=1e-4, atol=1e-6)
    narrow = group.kernels("site", lags=3, conf_level=0.5).frame
    known = ours["conf_low"].notna()
    assert (narrow["conf_low"] >= ours["conf_low"])[known].all() and (narrow["conf_level"] == 0.5).all()


def test_multivariate_meta_has_kernels_that_agree(group, fit):
    theirs = spice_group(fit, "~ site + anxiety", method="multivariate_meta").kernels("anxiety", lags=3).frame
    ours = group.kernels("anxiety", lags=3).frame
    total = ours["quantity"] == "total"
    away = (ours["estimate"] - theirs["estimate"])[total] / ours["std_error"][total]
    assert (away.abs() < 2).all()


def test_what_has_no_kernels_is_refused(group, fit, trials):
    with pytest.raises(ConfigError, match="no such covariate"):
        group.kernels("age")
    with pytest.raises(ConfigError, match="unknown event"):
        group.kernels("site", events="reward")
    with pytest.raises(ConfigError, match="lags"):
        group.kernels("site", lags=0)
    with pytest.raises(DataError, match="no covariate"):
        spice_group(fit, "~ 1").kernels()
    with pytest.raises(ConfigError, match="each of them alone"):
        spice_group(fit, "~ site", method="meta").kernels()
    with pytest.raises(ConfigError, match="lacks some"):
        spice_group(fit, "~ site", terms=fit.states[0].name).kernels()
    others = trials.assign(participant="x" + trials["participant"].astype(str))
    with pytest.raises(ConfigError, match="not the one"):
        group.kernels(fit=spice_fit(others, block="block", trial="trial"))


def test_contrasts_of_what_everybody_shares_are_missing(group, fit):
    """With the weight of the last choice alone as people's own, nothing is known of differences in rewards."""
    data = fit.trials
    states = (state("last"), state(("rewarded", 0.5)))
    pooled = fit_pooled(pack_table(data), states, 1)
    table = lay_out_weights(data, pooled, fit.coefficients.info)
    shared = spice_group(replace(fit, pooled=pooled, coefficients=table), "~ anxiety")
    with pytest.warns(
        IdentifiabilityWarning, match="one reward changes are .*missing; other plausible structures may know some"
    ):
        rewards = shared.kernels("anxiety", events=["reward"], lags=3).frame
    own = rewards["contrast"].notna()
    assert rewards.loc[own, ["estimate", "std_error", "conf_low"]].isna().all(axis=None)
    assert rewards.loc[~own & (rewards["quantity"] != "learning_rate"), "estimate"].notna().all()
    choices = shared.kernels("anxiety", events=["choice"], lags=3).frame
    assert choices.loc[choices["quantity"] == "total", "std_error"].gt(0).all()


def test_averages_are_over_the_group_models_of_all_structures(group, fit):
    """By hand: each structure's own kernels, as often as it was found; mean variances and the variance between."""
    found = group.kernels("site", events=["choice"], lags=4, average=True)
    table, given = found.frame, group.kernels("site", events=["choice"], lags=4).frame
    assert sum(count for _, count in fit.rival_fits) == 9 and len(fit.rival_fits) > 1
    each, counts = [], []
    for other, count in fit.rival_fits:
        if not other.pooled.n_own:
            continue
        kernels = spice_group(other, "~ site + anxiety").kernels("site", events=["choice"], lags=4).frame
        if kernels.loc[kernels["contrast"].notna() & (kernels["quantity"] == "total"), "conf_low"].notna().all():
            each.append(kernels)
            counts.append(count)
    assert (table["n_structures"] == sum(counts)).all() and len(counts) > 1
    linear = table["quantity"].isin(["kernel", "total"])
    estimate, error = (np.array([kernels.loc[linear, name] for kernels in each]) for name in ("estimate", "std_error"))
    mean = np.average(estimate, axis=0, weights=counts)
    variance = np.average(error**2 + (estimate - mean) ** 2, axis=0, weights=counts)
    np.testing.assert_allclose(table.loc[linear, "estimate"], mean, rtol=1e-8)
    np.testing.assert_allclose(table.loc[linear, "std_error"], np.sqrt(variance), rtol=1e-8)
    np.testing.assert_allclose(table["given_conf_low"], given["conf_low"])
    assert "given_low" in repr(found) and "structures" in repr(found)


def test_structures_that_say_nothing_of_differences_do_not_count():
    def curves(mean, **doubts):
        doubts = {"withheld": False, "silent": False} | doubts
        return Curves(np.array([[mean]]), np.eye(1), np.full((1, 2), 9.0), **doubts)

    found, n = averaged_curves([curves(1.0), curves(50.0, silent=True), curves(70.0, withheld=True)], [3, 4, 2])
    assert found.mean.item() == 1.0 and found.covariance.item() == 1.0 and n == 3
    found, n = averaged_curves([curves(1.0, silent=True), curves(50.0, silent=True)], [3, 6])
    assert found.silent and found.mean.item() == 1.0 and n == 3


def test_averages_need_what_the_model_was_fitted_with(group, fit, tmp_path):
    again = load_group(group.save(tmp_path / "group"))
    with pytest.raises(ConfigError, match="fit it again"):
        again.kernels("site", fit=fit, lags=3, average=True)


@pytest.mark.slow
def test_intervals_hold_what_a_drug_does():
    """Eight cohorts: the sum of squared z of differences of totals is chi squared (8); .001 in each tail."""
    true = truth("between", crowd=300)
    cohorts = [one(seed, "between") for seed in range(8)]
    for event in ("reward", "choice"):
        numbers = np.array([cohort[event]["yes - no"][0] for cohort in cohorts])
        z = (numbers[:, 0] - true[event]["yes - no"][0]) / numbers[:, 1]
        assert chi2.ppf(0.001, 8) < np.sum(z**2) < chi2.ppf(0.999, 8)
