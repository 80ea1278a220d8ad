"""A study within people and between sites: from choices on occasions to effects, and what would be wrong with them."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from spicestat import load_fit, predict_choices, read_coefficients, spice_compare, spice_fit, spice_reliability
from spicestat.errors import ConfigError, CovariateError, DataError, FormulaError
from spicestat.fit.held_out import make_folds
from spicestat.group import load_group, spice_group
from spicestat.group.methods.registry import METHODS, find_method
from spicestat.r.mixed_models import r_mixed_model
from spicestat.studies.population import fitted_population

FORMULA = "~ drug * anxiety + (drug | participant) + (1 | site)"
TRUTH = {"(Intercept)": 1.5, "drugactive": 0.5, "anxiety": 0.4, "drugactive:anxiety": -0.4}


def play(rng, weight, n_trials, good):
    """Win-stay-lose-shift with a weight: the choices and rewards of a block."""
    push, rows = 0.0, []
    for trial in range(n_trials):
        choice = int(rng.random() < 1.0 / (1.0 + np.exp(-weight * push)))
        reward = int(rng.random() < (0.7 if choice == good else 0.3))
        push = (2 * choice - 1.0) * (2 * reward - 1.0)
        rows.append((trial, choice, reward))
    return rows


@cache
def study(n_people=40, n_trials=60, seed=0):
    """40 people of 4 sites, with drug and with placebo, 2 blocks of 60 trials each; one was seen once."""
    rng = np.random.default_rng(seed)
    site, rows, people = rng.normal(0, 0.2, 4), [], []
    for person in range(n_people):
        anxiety, own, slope = round(rng.normal(), 3), rng.normal(0, 0.5), rng.normal(0, 0.3)
        people.append((f"s{person + 1}", anxiety, "ABCD"[person % 4]))
        for place, drug in enumerate(["placebo", "active"]):
            weight = TRUTH["(Intercept)"] + TRUTH["anxiety"] * anxiety + own + site[person % 4]
            weight += place * (TRUTH["drugactive"] + TRUTH["drugactive:anxiety"] * anxiety + slope)
            for block in range(2):
                played = play(rng, weight, n_trials, block)
                rows += [
                    (f"s{person + 1}", drug, 2 * place + block, *row) for row in played if (person, place) != (7, 1)
                ]
    trials = pd.DataFrame(rows, columns=["subject", "drug", "block", "trial", "choice", "reward"])
    trials["drug"] = pd.Categorical(trials["drug"], ["placebo", "active"])
    return trials, pd.DataFrame(people, columns=["subject", "anxiety", "site"])


COLUMNS = {"participant": "subject", "block": "block", "trial": "trial", "occasion": "drug"}


@pytest.fixture(scope="module")
def fit():
    trials, people = study()
    return spice_fit(trials, **COLUMNS, people=people)


@pytest.fixture(scope="module")
def group(fit):
    return spice_group(fit, FORMULA)


def test_coefficients_are_of_people_on_occasions(fit):
    tidy = fit.tidy()
    assert list(tidy.columns[:4]) == ["participant", "drug", "module", "term"]
    assert len(tidy) == 79 * len(fit.coefficients.terms) and tidy["participant"].nunique() == 40
    assert fit.coefficients.participants[:2] == ("s1:placebo", "s1:active")
    assert "40 participants on 79 occasions of drug" in repr(fit)
    assert "40 participants on 79 occasions of drug" in repr(fit.coefficients)


def test_effects_within_and_between_people_and_their_interaction_are_recovered(group):
    # a reward turns the weight of the last choice from -w to +w: the reward's weight is 2 w. Each of three estimates
    # is further than four standard errors from its truth with probability below .001, so that this fails for 3 in
    # 1000 seeds
    own = group.tidy().query("sparse_term == 'rewarded_0'").set_index("term")
    assert group.method == "hierarchical"
    for term in ("drugactive", "anxiety", "drugactive:anxiety"):
        row = own.loc[term]
        assert abs(row["estimate"] - 2 * TRUTH[term]) < 4 * row["std_error"]
        assert row["p_value"] < 0.01
    df = own["df"]
    assert 3 < df["(Intercept)"] < df["drugactive"] < 77  # between sites and people, and within people
    spread = group.tidy("ran_pars").query("sparse_term == 'rewarded_0' and not term.str.contains('beta:')")
    assert [*zip(spread["group"], spread["term"], strict=True)] == [
        ("participant", "sd__(Intercept)"),
        ("participant", "sd__drugactive"),
        ("participant", "cor__(Intercept).drugactive"),
        ("site", "sd__(Intercept)"),
    ]
    assert 0.6 < spread["estimate"].iloc[0] < 1.6  # the truth is 1


def test_what_follows_a_group_model_knows_of_random_parts(group, tmp_path):
    again = load_group(group.save(tmp_path / "group"))
    pd.testing.assert_frame_equal(again.tidy(), group.tidy())
    people = again.augment()
    assert people[["std_residual", "hat", "cooks_distance"]].isna().all(axis=None)
    used = people["used"]
    np.testing.assert_allclose(people["observed"][used] - people["fitted"][used], people["residual"][used])
    means = again.marginal_means("drug").frame
    assert means["drug"].tolist() == ["placebo", "active"] * means["sparse_term"].nunique()
    with pytest.raises(ConfigError, match="random parts"):
        again.standardised()
    assert again.standardised("partial_r")["estimate"].abs().max() < 1
    n_people = again.table.people["person"].nunique()
    assert f"{n_people} participants on {len(again.table.participants)} occasions of drug, 95 %" in repr(again)


def test_names_of_people_and_tables_of_covariates_are_interchangeable(fit, group):
    trials, people = study()
    bare = spice_fit(trials, **COLUMNS)
    tables = [people.drop(columns="site"), people[["subject", "site"]]]
    for formula, data in (
        (FORMULA.replace("participant", "subject"), people),
        (FORMULA.replace("(1 |", "(1 + 0 + 1 |"), tables),
    ):
        other = spice_group(bare, formula, data=data)
        pd.testing.assert_frame_equal(other.tidy(), group.tidy())
    with pytest.raises(CovariateError, match=r"several values of 'anxiety' for one 'subject'"):
        spice_group(bare, FORMULA, data=pd.concat([people, people.assign(anxiety=0.0)]))
    with pytest.raises(CovariateError, match="cannot be called 'person'"):
        spice_group(bare, FORMULA, data=people.assign(person="x"))


def test_a_saved_fit_keeps_its_occasions(fit, group, tmp_path):
    folder = fit.save(tmp_path / "fit")
    assert load_fit(folder).coefficients.occasions == ("drug",)
    assert read_coefficients(folder).unit == "participant:drug"
    pd.testing.assert_frame_equal(spice_group(load_fit(folder), FORMULA).tidy(), group.tidy())
    trials, _ = study()
    found = predict_choices(fit, trials[trials["subject"].isin(["s1", "s2"])])
    assert np.isfinite(found.filter(like="prob").to_numpy()).any()


@pytest.mark.parametrize("formula", ["~ drug", "~ anxiety + (1 | site)", "~ anxiety + (1 | participant:drug)"])
def test_a_formula_must_know_that_people_were_seen_several_times(fit, formula):
    for method in (None, "ols", "meta"):
        if method == "ols" and "|" in formula:
            continue
        with pytest.raises(FormulaError, match=r"several occasions \(drug\).*add \(1 \| participant\)"):
            spice_group(fit, formula, method=method)


@pytest.mark.parametrize("method", [name for name in METHODS if not find_method(name).takes_random_parts])
def test_other_methods_refuse_random_parts(fit, method):
    with pytest.raises(ConfigError, match=rf"'{method}' takes no random parts.*\(1 \| participant\).*method=\"hier"):
        spice_group(fit, "~ drug + (1 | participant)", method=method)


def test_what_takes_participants_for_different_people_is_refused(fit):
    refused = "takes participants for different people.*several occasions"
    for call in (
        lambda: spice_compare({"a": fit, "b": fit}),
        lambda: spice_reliability(fit),
        lambda: make_folds(fit.trials, "people"),
        lambda: fitted_population(fit),
        lambda: r_mixed_model(fit.coefficients, "~ drug"),
    ):
        with pytest.raises(ConfigError, match=refused):
            call()
    with pytest.raises(DataError, match="duplicate rows.*pass the fit"):
        read_coefficients(fit.tidy())


def test_without_occasions_a_random_part_is_of_groups_of_people():
    rng = np.random.default_rng(2)
    people = pd.DataFrame({"participant": range(40), "age": rng.normal(size=40), "site": np.arange(40) % 5})
    estimate = 0.1 * people["age"] + rng.normal(0, 0.5, 5)[people["site"]] + rng.normal(0, 0.2, 40)
    table = people[["participant"]].assign(module="x", term="1", estimate=estimate, std_error=0.1)
    spread = spice_group(table, "~ age + (1 | site)", data=people).tidy("ran_pars")
    assert spread["group"].tolist() == ["site", "participant"]
    own = spice_group(table, "~ age + (1 | participant)", data=people)
    plain = spice_group(table, "~ age", data=people)
    np.testing.assert_allclose(own.coef(), plain.coef(), rtol=1e-7)
    assert own.tidy("ran_pars")["estimate"].item() == pytest.approx(plain.tidy("ran_pars")["estimate"].item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore::spicestat.errors.SpicestatWarning")  # so short a training finds little
def test_networks_have_occasions_too():
    trials, people = study(n_people=8, n_trials=20)
    learners = spice_fit(trials, **COLUMNS, people=people, model="rescorla_wagner", epochs=2)
    assert learners.coefficients.occasions == ("drug",)
    assert list(learners.tidy().columns[:2]) == ["participant", "drug"]
