"""TaskFit: published models of tasks from the trials to group effects, files and predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from spicestat import (
    TaskFit,
    load_fit,
    predict_choices,
    simulate_fit,
    spice_card,
    spice_fit,
    spice_group,
    spice_ladder,
    spice_reliability,
    spice_report,
    spice_task,
    spice_update,
)
from spicestat.coefficients import read_coefficients
from spicestat.errors import ConfigError, ContradictionWarning, ConvergenceWarning, DataError, StorageError

N = 20


@pytest.fixture(scope="module")
def cohort():
    """Delay discounting of people whose rate falls with age."""
    age = np.linspace(-1.5, 1.5, N)
    rate = np.exp(-4.0 - 0.8 * age + 0.6 * np.random.default_rng(0).standard_normal(N))
    return spice_task("discounting").simulate(N, 60, seed=1, parameters={"k": rate}), age


@pytest.fixture(scope="module")
def fit(cohort) -> TaskFit:
    simulated, age = cohort
    people = pd.DataFrame({"participant": simulated.truth["participant"], "age": age})
    return spice_fit(simulated.trials, model="discounting", people=people, **spice_task("discounting").columns)


def test_parameters_are_found(cohort, fit):
    truth = cohort[0].truth
    pooled = fit.coefficients.wide("pooled")
    assert np.corrcoef(np.log(pooled["discounting", "k"]), np.log(truth["k"]))[0, 1] > 0.95
    sd = fit.coefficients.wide("pooled_sd")["discounting", "k"]
    # of 20 intervals of two standard deviations one misses on average; 5 or more would be a chance of .003
    assert (np.abs(pooled["discounting", "k"] - truth["k"].to_numpy()) > 2 * sd).sum() <= 4


def test_everybodys_likelihood_over_the_population_is_that_of_a_grid(fit):
    estimates, likelihood = fit.estimates, fit.choice_likelihood().unconstrained()
    line = np.linspace(-6, 6, 121)
    standard = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    places = estimates.mean + standard @ np.linalg.cholesky(estimates.covariance).T
    heights = likelihood.log_likelihood(np.repeat(places[:, None], N, axis=1))
    density = -0.5 * np.sum(standard**2, axis=1)[:, None] - np.log(2 * np.pi) + 2 * np.log(line[1] - line[0])
    found = fit.model_evidence()
    np.testing.assert_allclose(found.log_marginal, logsumexp(heights + density, axis=0), atol=0.03)
    assert found.n_population == 5
    assert not fit.has_times


def test_tables_say_what_others_say(fit):
    table = fit.tidy()
    assert table["module"].unique().tolist() == ["discounting"]
    assert table["term"].unique().tolist() == ["k", "beta"]
    assert not table["shared"].any()
    glance = fit.glance().iloc[0]
    assert glance["nobs"] == N * 60
    assert glance["nll_model"] < glance["nll_shares"] < glance["nll_guessing"] + 0.01
    assert glance["log_marginal"] < glance["log_lik"]
    assert fit.population()["link"].tolist() == ["log", "log"]
    assert "k = " in fit.equations_frame()["equation"].iloc[0]
    assert "Mazur" in repr(fit)
    assert "<table" in fit._repr_html_()


def test_own_estimates_are_maxima(fit):
    likelihood = fit.choice_likelihood()
    own = fit.coefficients.wide("estimate").to_numpy()
    known = np.isfinite(own).all(axis=1)
    assert known.sum() > N / 2
    some, value = likelihood.select(np.flatnonzero(known)), own[known]
    top = some.log_likelihood(value[None])[0]
    assert np.allclose(top, fit.estimates.own_log_likelihood[known])
    rng = np.random.default_rng(1)
    around = value * np.exp(0.1 * rng.standard_normal((50, *value.shape)))
    assert (some.log_likelihood(around) <= top + 1e-6).all()


def test_a_group_effect_is_found_on_the_scale_of_the_link(fit):
    group = spice_group(fit, "~ age")
    row = group.tidy().query("sparse_term == 'k' and term == 'age'").iloc[0]
    assert group.links["discounting", "k"] == "log"
    assert abs(row["estimate"] + 0.8) < 3 * row["std_error"]
    assert row["p_adjusted"] < 0.01
    assert group.marginal_means("age").tidy()["estimate"].notna().all()


def test_a_population_alone_is_that_of_the_group_model(fit):
    own = fit.population().set_index("term")["mean"]
    group = spice_group(fit, "~ 1", guessing=False).tidy().set_index("sparse_term")["estimate"]
    # two searches for the same maximum
    assert np.allclose(own, group[own.index], atol=0.03)


def test_files_hold_the_fit_and_damage_is_told(fit, tmp_path):
    fit.save(tmp_path / "fit")
    again = load_fit(tmp_path / "fit")
    assert isinstance(again, TaskFit)
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(again.glance(), fit.glance())
    pd.testing.assert_frame_equal(predict_choices(again), predict_choices(fit))
    assert read_coefficients(tmp_path / "fit").terms == fit.coefficients.terms
    (tmp_path / "fit" / "task.safetensors").write_bytes(b"not weights")
    with pytest.raises(StorageError):
        load_fit(tmp_path / "fit")


def test_predictions_are_of_people_or_of_the_population(cohort, fit):
    own = predict_choices(fit)
    assert np.allclose(own["p_later"] + own["p_sooner"], 1.0)
    strangers = cohort[0].trials.assign(participant=cohort[0].trials["participant"] + "x")
    new = predict_choices(fit, strangers, unseen="population")
    assert -np.log(own["probability"]).mean() < -np.log(new["probability"]).mean() < np.log(2)
    with pytest.raises(DataError, match="not in the fit"):
        predict_choices(fit, strangers)
    with pytest.raises(ConfigError, match="no network"):
        predict_choices(fit, by="rnn")


def test_people_play_their_task_again(fit):
    played = simulate_fit(fit, seed=4, n_trials=20)
    assert len(played) == N * 20
    again = spice_fit(played.drop(columns="sim"), model="discounting", **spice_task("discounting").columns)
    both = [np.log(each.coefficients.wide("pooled")["discounting", "k"]) for each in (fit, again)]
    assert np.corrcoef(*both)[0, 1] > 0.7
    with pytest.raises(ConfigError, match="environment"):
        simulate_fit(fit, environment=object())


def test_the_ladder_has_the_model(fit):
    ladder = spice_ladder(fit, ["shares", "equations"], over="people", folds=2)
    assert ladder.table["nll"].tolist()[1] < ladder.table["nll"].tolist()[0]
    with pytest.raises(ConfigError, match="no such rung"):
        fit.ladder(["network"])


def test_a_report_names_the_source(fit, tmp_path):
    page = spice_report(fit, path=tmp_path / "fit.html").read_text(encoding="utf-8")
    assert "Mazur 1987" in page
    assert "discount rate" in page


def test_further_trials_are_estimated_under_the_same_population(cohort, fit):
    later = spice_task("discounting").simulate(N, 40, seed=9, parameters={"k": cohort[0].truth["k"].to_numpy()})
    updated = spice_update(fit, later.trials)
    assert np.array_equal(updated.estimates.mean, fit.estimates.mean)
    both = [np.log(each.coefficients.wide("pooled")["discounting", "k"]) for each in (fit, updated)]
    assert np.corrcoef(*both)[0, 1] > 0.9
    assert updated.coefficients.info["updated"] == {"n_new": 0, "n_known": N}


def test_what_needs_states_or_modules_is_refused(fit):
    for ask in (lambda: spice_reliability(fit, "odd_even"), lambda: spice_card(fit)):
        with pytest.raises(ConfigError, match="states or modules"):
            ask()
    with pytest.raises(ConfigError, match="network with modules"):
        _ = fit.model


def test_settings_of_networks_are_refused(cohort):
    with pytest.raises(ConfigError, match="epochs"):
        spice_fit(cohort[0].trials, model="discounting", epochs=3, **spice_task("discounting").columns)


def test_too_few_people_are_refused(cohort):
    few = cohort[0].trials.query("participant in ('p01', 'p02')")
    with pytest.raises(DataError, match="too few people"):
        spice_fit(few, model="discounting", **spice_task("discounting").columns)


def test_a_model_of_something_else_is_told(cohort):
    rng = np.random.default_rng(3)
    shuffled = cohort[0].trials.copy()
    # offers that have nothing to do with the choices
    for name in ("amount_later", "amount_sooner", "delay_later", "delay_sooner"):
        shuffled[name] = rng.permutation(shuffled[name])
    shuffled["chosen"] = np.where(rng.random(len(shuffled)) < 0.9, "later", "sooner")
    with pytest.warns(ContradictionWarning, match="do not interpret"), pytest.warns(ConvergenceWarning):
        spice_fit(shuffled, model="discounting", **spice_task("discounting").columns)


@pytest.mark.parametrize("name", ["bandit", "effort", "reversal", "contextual"])
def test_cheap_models_recover_their_parameters(name):
    """Ten people; a correlation of .5 or less where .8 or more is usual has a chance of below .02 each."""
    task = spice_task(name)
    cohort = task.simulate(10, seed=5)
    fit = spice_fit(cohort.trials, model=name, **task.columns)
    for one in task.parameters:
        found = np.corrcoef(
            one.found_link.to_unconstrained(fit.coefficients.wide("pooled")[name, one.name]),
            one.found_link.to_unconstrained(cohort.truth[one.name]),
        )
        assert found[0, 1] > 0.5, one.name


def test_more_than_four_parameters_are_estimated(cohort):
    task = spice_task("igt")
    simulated = task.simulate(10, 60, seed=2)
    fit = spice_fit(simulated.trials, model="igt", **task.columns)
    assert fit.estimates.converged
    assert np.isfinite(fit.tidy()["pooled"]).all()


def without_unchosen(keep):
    """The model of probabilistic selection, but that values of all items fade to 0."""

    def utilities(trials, p):
        q, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows
        for t in trials.times:
            yield p["beta"][..., None] * trials.of_actions(q, t)
            taken = trials.taken(t)
            error = trials.error(t, q[:, rows, taken])
            new = q[:, rows, taken] + np.where(error > 0, p["alpha_gain"], p["alpha_loss"]) * error
            q *= keep
            q[:, rows, taken] = new

    return utilities


def test_discovery_finds_forgetting_and_nothing_where_nothing_is_missing():
    """A false find is to have a chance of about .05 a search, by the price of candidates."""
    task = spice_task("pst")
    right = spice_fit(task.simulate(20, 120, seed=1).trials, model="pst", **task.columns).discover()
    assert right.terms.empty
    forgetful = replace(task, utilities=without_unchosen(0.85))
    fit = spice_fit(forgetful.simulate(20, 120, seed=1).trials, model="pst", **task.columns)
    found = fit.discover()
    assert found.fit is fit
    assert "@item" in found.terms["term"].iloc[0]
    assert found.terms["gain_per_choice"].iloc[0] > 0.01


def test_response_times_have_no_discovery():
    task = spice_task("ddm")
    fit = spice_fit(task.simulate(4, 40, seed=1).trials, model="ddm", **task.columns)
    with pytest.raises(ConfigError, match="no logits"):
        fit.discover()
    assert np.isfinite(fit.glance()["nll_model"].item())
    assert predict_choices(fit)["probability"].between(0, 1).all()
    with pytest.raises(ConfigError, match="response times"):
        fit.ladder(["shares"])


CASES = Path(__file__).parents[3] / "shared" / "cases" / "tasks"
OFFERS = {"amount": ["amount_later", "amount_sooner"], "delay": ["delay_later", "delay_sooner"]}


@pytest.mark.skipif(not CASES.exists(), reason="needs the shared cases")
@pytest.mark.parametrize(
    ("name", "columns", "term"),
    [
        (
            "pst",
            {"choice": "resp", "reward": "feedback", "options": {"left": "stim_left", "right": "stim_right"}},
            "alpha_gain",
        ),
        ("igt", {"choice": "deck", "gain": "gain", "loss": "loss"}, "a_rew"),
        ("discounting", {"choice": "chose", "reward": None, "attributes": OFFERS}, "k"),
    ],
)
def test_files_of_others_take_one_call(name, columns, term):
    """24 people whom other equations made; without a relation, a correlation above .5 has a chance of .006."""
    fit = spice_fit(CASES / f"{name}.csv.gz", participant="subject", trial="trial", model=name, **columns)
    assert fit.contradictions == ()
    truth = pd.read_csv(CASES / "truth.csv").set_index("subject")["alpha"]
    pooled = fit.coefficients.wide("pooled")[name, term]
    assert np.corrcoef(np.log(pooled), truth[pooled.index])[0, 1] > 0.5
