"""Multiple imputation of covariates."""

import numpy as np
import pandas as pd
import pytest

from spicestat import simulate_cohort, spice_fit
from spicestat.errors import ConfigError, CovariateError, ExclusionWarning
from spicestat.group import spice_group
from spicestat.group.numerics.chained_equations import chained_equations


def study(n=60, seed=0):
    """People's estimates, and their covariates with gaps that hang together with the estimates."""
    rng = np.random.default_rng(seed)
    x, group = rng.normal(size=n), rng.choice(["a", "b", "c"], n)
    y = 0.6 * x + 0.5 * (group == "b") + rng.normal(size=n)
    people = pd.DataFrame({"participant": range(n), "x": x, "group": group, "old": rng.random(n) < 0.5})
    table = people[["participant"]].assign(
        module="m", term="y", estimate=y + 0.3 * rng.normal(size=n), std_error=0.3, selected=True
    )
    gaps = people.copy()
    gaps.loc[rng.random(n) < 1 / (1 + np.exp(1 - y)), "x"] = np.nan
    gaps.loc[rng.random(n) < 0.15, "group"] = None
    return table, people, gaps


def test_draws_are_those_of_the_conditional_distribution():
    """A number given another, r = .6, and a level: within .1 of truth, at least 3 standard errors of 200 gaps."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=1200)
    y = 0.6 * x + 0.8 * rng.normal(size=1200)
    chance = 1 / (1 + np.exp(-1.5 * x))
    level = (rng.random(1200) < chance).astype(float)
    y[:200], level[200:400] = np.nan, -1
    filled = chained_equations([y, level], [0, 2], x[:, None], 10, seed=2)
    draws = np.stack([complete[0][:200] for complete in filled])
    assert np.polyfit(x[:200], draws.mean(axis=0), 1)[0] == pytest.approx(0.6, abs=0.1)
    assert (draws - 0.6 * x[:200]).std() == pytest.approx(0.8, abs=0.1)
    shares = np.stack([complete[1][200:400] for complete in filled]).mean(axis=0)
    for own in (x[200:400] > 0.7, x[200:400] < -0.7):
        assert shares[own].mean() == pytest.approx(chance[200:400][own].mean(), abs=0.1)


@pytest.mark.slow
def test_effects_are_near_those_without_gaps_and_better_known_than_by_complete_cases():
    """Twenty studies and the same without gaps: mean differences within 4 standard errors (and .05), and smaller."""
    ours, theirs = [], []
    for seed in range(20):
        table, people, gaps = study(seed=seed)
        full = spice_group(table, "~ x + group", data=people, method="meta").coef()
        ours.append(spice_group(table, "~ x + group", data=gaps, method="meta", imputations=5).coef() - full)
        with pytest.warns(ExclusionWarning):
            theirs.append(spice_group(table, "~ x + group", data=gaps, method="meta").coef() - full)
    away, alone = (np.array(differences)[:, 1:] for differences in (ours, theirs))
    assert (np.abs(away.mean(axis=0)) < 4 * away.std(axis=0) / np.sqrt(20) + 0.05).all()
    assert ((away**2).mean(axis=0) < (alone**2).mean(axis=0)).all()


def test_nothing_missing_changes_nothing_and_imputations_are_always_the_same():
    table, people, gaps = study()
    plain = spice_group(table, "~ x * group + old", data=people)
    pd.testing.assert_frame_equal(
        spice_group(table, "~ x * group + old", data=people, imputations=20).tidy(), plain.tidy()
    )
    one, two = (spice_group(table, "~ x * group + old", data=gaps, imputations=4) for _ in range(2))
    pd.testing.assert_frame_equal(one.tidy(), two.tidy())
    assert one.tidy()["term"].tolist() == plain.tidy()["term"].tolist()
    assert one.nobs() == 60
    assert (one.tidy()["df"] < plain.tidy()["df"]).all()
    assert "4 imputations" in one.messages[0] and "'group'" in one.messages[0]
    # follow-ups have a typical table without gaps
    assert len(one.contrasts("group")) == 3 and len(one.augment()) == 60
    block = one.covariance[("m", "y")]
    np.testing.assert_allclose(np.sqrt(np.diag(block)), one.tidy()["std_error"])


@pytest.fixture(scope="module")
def crossover():
    cohort = simulate_cohort(n_participants=20, n_trials=160, n_blocks=4, seed=4)
    trials = cohort.trials.assign(drug=np.where(cohort.trials["block"] < 2, "placebo", "verum"))
    people = cohort.people.assign(mood=np.arange(20.0) % 7)
    people.loc[[2, 5, 11], "anxiety"] = np.nan
    return spice_fit(trials, block="block", trial="trial", occasion="drug", people=people)


def test_people_on_occasions_have_one_value_and_keep_all_rows(crossover):
    formula = "~ drug * anxiety + (1 | participant)"
    result = spice_group(crossover, formula, imputations=3)
    assert result.nobs() == 40
    assert (result.design.frame["anxiety"].to_numpy()[::2] == result.design.frame["anxiety"].to_numpy()[1::2]).all()
    with pytest.warns(ExclusionWarning):
        assert spice_group(crossover, formula).nobs() == 34
    assert result.joint_covariance is not None
    assert set(result.kernels("drug", lags=3).frame["level"].dropna()) == {"placebo", "verum"}


def test_what_cannot_be_imputed_is_refused(crossover):
    table, _, gaps = study()
    for bad in (1, 0, 2.5, True, "20"):
        with pytest.raises(ConfigError, match="imputations"):
            spice_group(table, "~ x", data=gaps, imputations=bad)
    with pytest.raises(ConfigError, match="tests or draws of its own"):
        spice_group(table, "~ x", data=gaps, method="permutation", n_permutations=19, imputations=2)
    varying = crossover.people.assign(dose=np.arange(40.0))
    varying.loc[3, "dose"] = np.nan
    varying = varying.drop(columns=["participant", "anxiety", "mood", "diagnosis"])
    with pytest.raises(CovariateError, match="varies within people"):
        spice_group(crossover, "~ dose + (1 | participant)", data=varying, participant="person", imputations=2)
