"""spice_fit(model="history"): weights of states of the past, their files, predictions and group models."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spicestat import (
    HistoryFit,
    load_fit,
    predict_choices,
    read_coefficients,
    simulate_fit,
    spice_fit,
    spice_fit_split,
    spice_group,
    spice_update,
)
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat.errors import ConfigError, DataError, ShapeError, StorageError, SuspiciousDataWarning
from spicestat.fit.history import unit_factors
from spicestat.fit.packing import pack_table
from spicestat.pooled.kernels import state_moves
from spicestat.pooled.packed import Shown, pack_sessions
from spicestat.pooled.state_signals import KINDS
from spicestat.pooled.states import Signal, State, state, state_rows


def simulate(n_people=40, n_blocks=2, n_trials=80, effect=0.8, seed=0, prefix="s"):
    """People who repeat choices, the more the more anxious, and whose last rewards count."""
    rng = np.random.default_rng(seed)
    rows, people = [], []
    for person in range(n_people):
        anxiety = rng.normal()
        stay, reward_weight = 0.6 + effect * anxiety + 0.4 * rng.normal(), 2.0 + 0.7 * rng.normal()
        people.append((f"{prefix}{person}", anxiety))
        for block in range(n_blocks):
            last, rewarded = np.zeros(2), np.zeros(2)
            for _ in range(n_trials):
                logit = stay * last + reward_weight * rewarded
                choice = int(rng.random() < 1 / (1 + np.exp(logit[0] - logit[1])))
                reward = float(rng.random() < (0.7 if choice == block % 2 else 0.3))
                rows.append((f"{prefix}{person}", block, "LR"[choice], reward))
                last = np.eye(2)[choice]
                rewarded = 0.5 * rewarded + 0.5 * last * reward
    trials = pd.DataFrame(rows, columns=["participant", "block", "choice", "reward"])
    return trials, pd.DataFrame(people, columns=["participant", "anxiety"])


@pytest.fixture(scope="module")
def cohort():
    return simulate()


@pytest.fixture(scope="module")
def fit(cohort) -> HistoryFit:
    trials, people = cohort
    return spice_fit(trials, block="block", people=people, model="history")


@pytest.fixture(scope="module")
def few(cohort):
    """Trials of 12 of the people: kernels that are averaged take long, and longer the more there are."""
    return cohort[0].iloc[: 12 * 160]


@pytest.fixture(scope="module")
def few_fit(few) -> HistoryFit:
    return spice_fit(few, block="block", model="history")


def mean_loss(table):
    return -np.log(table["probability"].dropna()).mean()


def test_one_row_per_person_and_state(fit):
    table = fit.tidy()
    assert len(table) == 40 * len(fit.states)
    assert set(table["module"]) == {"beta"}
    assert tuple(table["term"][: len(fit.states)]) == fit.pooled.names
    assert table["shared"].sum() == 40 * (len(fit.states) - fit.pooled.n_own)
    own, shared = table[~table["shared"]], table[table["shared"]]
    assert (own["estimate"].isna() == own["at_bound"]).all()
    assert (own["std_error"].isna() == own["at_bound"]).all()
    assert np.isfinite(table[["pooled", "pooled_sd"]]).all(axis=None)
    assert (shared.groupby("term")[["estimate", "std_error", "pooled"]].std() < 1e-12).all(axis=None)
    # rewards are 0 and 1, so that weights are in the unit of the data already
    first = shared.groupby("term", sort=False)[["estimate", "std_error"]].first()
    np.testing.assert_allclose(first["estimate"], fit.pooled.mean[fit.pooled.n_own :])
    np.testing.assert_allclose(first["std_error"], fit.pooled.std_error[fit.pooled.n_own :])
    np.testing.assert_allclose(own["pooled"].to_numpy().reshape(40, -1), fit.pooled.pooled[:, : fit.pooled.n_own])


def test_the_population_adds_what_it_knows(fit):
    own = fit.tidy().query("term == 'last' and not at_bound")
    assert (own["pooled_sd"] < own["std_error"]).mean() > 0.9
    assert np.corrcoef(own["pooled"], own["estimate"])[0, 1] > 0.8


def test_the_same_call_gives_the_same_numbers(fit, cohort):
    trials, people = cohort
    again = spice_fit(trials, block="block", people=people, model="history", seed=7)
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())


def test_scores_are_those_of_the_predictions(fit):
    table = predict_choices(fit)
    assert mean_loss(table) == pytest.approx(fit.scores["nll"][0])
    assert int(table["probability"].notna().sum()) == fit.scores["n_trials"][0] == fit.glance()["nobs"][0] == 40 * 158
    assert np.allclose((table["p_L"] + table["p_R"]).dropna(), 1)
    assert fit.scores["nll"][0] < fit.scores["nll"][1] <= fit.scores["nll"][2] + 1e-9
    # two blocks each: predicted from one, not as well as after fitting, but far better than by choice shares
    nll = fit.scores.set_index("model")["nll"]
    assert nll["history"] < nll["left_out"] < nll["shares"] - 0.05
    found = fit.ladder("equations", folds=2).table["nll"].item()
    assert nll["left_out"] == pytest.approx(found, abs=0.02)
    assert f"blocks left out, about: history {nll['left_out']:.4f}" in repr(fit)
    assert fit.contradictions == ()


def test_the_likelihood_is_that_of_the_reported_weights(fit):
    """Weights in the unit of the data, states from the raw rewards, shared weights held."""
    likelihood = fit.choice_likelihood()
    own = fit.coefficients.wide("pooled").to_numpy()
    terms = fit.coefficients.terms
    weights = own[:, [terms.index(term) for term in likelihood.terms]]
    frame = fit.trials.frame
    choice, reward = (frame[name].to_numpy().reshape(80, 80) for name in ("choice", "reward_0"))
    reward = np.where(choice == 0, reward, frame["reward_1"].to_numpy().reshape(80, 80))
    data = pack_sessions(choice, reward, np.repeat(np.arange(40), 2), 2, reward_size=1.0)
    rows = state_rows(data, fit.states)
    logits = np.einsum("rak,rk->ra", rows.values, own[rows.person])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = np.bincount(rows.person, log_p[np.arange(len(log_p)), rows.choice])
    assert np.allclose(likelihood.log_likelihood(weights[None])[0], expected)
    value, slope, information = likelihood.derivatives(weights)
    assert np.allclose(value, expected)
    for k in range(weights.shape[1]):
        move = 1e-5 * np.eye(weights.shape[1])[k]
        up, down = likelihood.derivatives(weights + move), likelihood.derivatives(weights - move)
        assert np.allclose((up[0] - down[0]) / 2e-5, slope[:, k], atol=1e-4)
        assert np.allclose(-(up[1] - down[1]) / 2e-5, information[:, k], atol=1e-3)


def test_a_part_of_the_likelihood(fit):
    likelihood = fit.choice_likelihood()
    point = np.full((1, 40, len(likelihood.terms)), 0.3)
    whole = likelihood.log_likelihood(point)[0]
    some = likelihood.select(np.array([5, 2, 5]))
    assert some.participants == tuple(fit.trials.participants[i] for i in (5, 2, 5))
    assert np.allclose(some.log_likelihood(point[:, :3])[0], whole[[5, 2, 5]])
    with pytest.raises(ShapeError, match="coefficients must be of shape"):
        some.log_likelihood(point)
    with pytest.raises(ConfigError, match="positions of participants"):
        likelihood.select(np.array([40]))


@pytest.mark.parametrize("unit", [25.0, 0.01])
def test_units_of_rewards_do_not_matter(fit, cohort, unit):
    trials, people = cohort
    scaled = trials.assign(reward=trials["reward"] * unit)
    other = spice_fit(scaled, block="block", people=people, model="history")
    assert other.pooled.names == fit.pooled.names
    factors = 1 / unit_factors(fit.states, 1 / unit)
    for column in ("estimate", "std_error", "pooled", "pooled_sd"):
        assert np.allclose(other.coefficients.wide(column), fit.coefficients.wide(column) * factors, equal_nan=True)
    at = fit.coefficients.wide("pooled").to_numpy()[:, : fit.pooled.n_own]
    values = (
        f.choice_likelihood().log_likelihood(w[None]) for f, w in ((fit, at), (other, at * factors[: at.shape[1]]))
    )
    assert np.allclose(*values)
    assert np.allclose(mean_loss(predict_choices(other)), mean_loss(predict_choices(fit)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("attribute", "context")])
def test_every_kind_of_signal_has_its_degree_in_rewards(kind):
    """What a kind does where rewards double is what `unit_factors` says, also for kinds that are added later."""
    rng = np.random.default_rng(0)
    settings = {"keep": 0.5} if "keep" in KINDS[kind].takes else {}
    declared = State((Signal(kind=kind, **settings), Signal(kind="last")))
    choice, reward = rng.integers(0, 2, (2, 12)), rng.normal(size=(2, 12, 2))
    shown = Shown(state=rng.integers(0, 2, (2, 12)))
    one, two = (
        state_rows(pack_sessions(choice, unit * reward, [0, 1], 2, 1.0, shown), [declared]).values
        for unit in (1.0, 2.0)
    )
    assert np.allclose(two * unit_factors([declared], 2.0), one)


def test_files(fit, tmp_path):
    folder = fit.save(tmp_path / "fit")
    again = load_fit(folder)
    assert isinstance(again, HistoryFit)
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(again.glance(), fit.glance())
    pd.testing.assert_frame_equal(predict_choices(again), predict_choices(fit))
    assert repr(again) == repr(fit)
    assert again.pooled.states == fit.pooled.states
    table = read_coefficients(folder)
    pd.testing.assert_frame_equal(table.frame, fit.coefficients.frame)


def damage(files, name):
    if name == "kind":
        manifest = json.loads(files["history.json"])
        manifest["states"][0]["signals"][0]["kind"] = "__import__"
        return files | {"history.json": json.dumps(manifest).encode()}
    if name == "states":
        manifest = json.loads(files["history.json"])
        return files | {"history.json": json.dumps(manifest | {"states": manifest["states"][:-1]}).encode()}
    if name == "arrays":
        return files | {"history.safetensors": b"nothing"}
    return {key: value for key, value in files.items() if key != "history.safetensors"}


@pytest.mark.parametrize("name", ["kind", "states", "arrays", "absent"])
def test_damaged_files_are_refused(fit, tmp_path, name):
    files = read_sealed(fit.save(tmp_path / "fit"), "fit")
    folder = write_sealed(tmp_path / "damaged", "fit", damage(files, name))
    with pytest.raises(StorageError, match="damaged|lacks"):
        load_fit(folder)


def test_held_out_blocks_are_predicted(cohort):
    trials, _ = simulate(n_blocks=3)
    held = trials["block"] == 2
    fit = spice_fit(trials[~held], block="block", model="history")
    table = predict_choices(fit, trials[held])
    assert mean_loss(table) < 0.6
    order = np.random.default_rng(0).permutation(40)
    shuffled = pd.concat([trials[held & (trials["participant"] == f"s{person}")] for person in order])
    moved = predict_choices(fit, shuffled)
    assert mean_loss(moved) == pytest.approx(mean_loss(table))
    assert np.allclose(
        moved[moved["participant"] == "s3"]["probability"],
        table[table["participant"] == "s3"]["probability"],
        equal_nan=True,
    )


def test_people_never_seen_get_the_population(fit, cohort):
    new, _ = simulate(4, seed=5, prefix="new")
    both = pd.concat([new.iloc[:320], cohort[0].iloc[:160], new.iloc[320:]])
    table = predict_choices(fit, both, unseen="population")
    known = table["participant"] == "s0"
    own = predict_choices(fit).query("participant == 's0'")
    assert np.allclose(table[known]["p_L"], own["p_L"], equal_nan=True)
    assert mean_loss(table[~known]) < 0.66
    # what they chose is no secret that their own prediction could use: probabilities follow from the past alone
    swapped = new.copy()
    swapped.loc[swapped.index[159], "choice"] = "L" if swapped["choice"].iloc[159] == "R" else "R"
    first, second = (predict_choices(fit, part, unseen="population")["p_L"] for part in (new, swapped))
    assert np.allclose(first, second, equal_nan=True)
    with pytest.raises(DataError, match="unseen='population'"):
        predict_choices(fit, new)
    with pytest.raises(ConfigError, match="'error' or 'population'"):
        predict_choices(fit, new, unseen="typical")


def test_other_fits_keep_their_stand_ins(tiny_fit, small_cohort):
    with pytest.raises(ConfigError, match="'error' or 'typical'"):
        predict_choices(tiny_fit, small_cohort.trials, unseen="population")


def test_missing_choices_and_rewards(cohort):
    trials, _ = cohort
    rng = np.random.default_rng(0)
    lost = rng.random(len(trials)) < 0.1
    unseen = rng.random(len(trials)) < 0.1
    gaps = trials.assign(
        choice=trials["choice"].where(~lost, None), reward=trials["reward"].where(~lost & ~unseen, np.nan)
    )
    fit = spice_fit(gaps, block="block", model="history")
    table = predict_choices(fit)
    assert table["probability"].notna().sum() == int((~lost).sum()) - 80 == fit.glance()["nobs"][0]
    assert mean_loss(table) == pytest.approx(fit.scores["nll"][0])


@pytest.mark.parametrize("name", ["aa", "zz"])
def test_somebody_without_a_predicted_choice_is_like_the_population(cohort, name):
    """The first choice that was made is not predicted; this person made one in each of two blocks."""
    alone = pd.DataFrame(
        {"participant": name, "block": [0, 0, 1, 1], "choice": [None, "L", None, "R"], "reward": [None, 1.0, None, 0.0]}
    )
    fit = spice_fit(pd.concat([cohort[0], alone]), block="block", model="history")
    own = fit.tidy().query(f"participant == '{name}' and not shared")
    assert own["at_bound"].all() and own["estimate"].isna().all()
    assert np.allclose(own["pooled"], fit.pooled.mean[: fit.pooled.n_own], atol=0.05)
    assert (own["n_trials"] == 0).all()
    assert predict_choices(fit).query(f"participant == '{name}'")["probability"].isna().all()


def test_names_and_order_do_not_matter(fit, cohort):
    trials, _ = cohort
    renamed = trials.assign(
        participant=trials["participant"].map(lambda name: f"{99 - int(name[1:]):02d}"),
        choice=trials["choice"].map({"L": "R", "R": "L"}),
    )
    other = spice_fit(renamed, block="block", model="history")
    assert other.scores["nll"][0] == pytest.approx(fit.scores["nll"][0], abs=1e-3)
    wide, mine = other.coefficients.wide("pooled")["beta"]["last"], fit.coefficients.wide("pooled")["beta"]["last"]
    assert wide["99"] == pytest.approx(mine["s0"], abs=0.02)


def test_more_actions_and_rewards_of_other_actions(few):
    rng = np.random.default_rng(1)
    three = few.assign(choice=np.where(rng.random(len(few)) < 0.3, "M", few["choice"]))
    assert spice_fit(three, block="block", model="history").glance()["n_actions"][0] == 3
    shown = few.drop(columns="reward").assign(left=rng.integers(0, 2, len(few)), right=0.5)
    with_all = spice_fit(shown, block="block", reward=["left", "right"], model="history")
    assert np.isfinite(with_all.scores["nll"]).all()


# the slope is found in each of the cohorts of seeds 0 to 9; one is enough here
@pytest.mark.parametrize("method", ["meta", "hierarchical"])
def test_group_models_find_an_effect(fit, method):
    group = spice_group(fit, "~ anxiety", method=method, terms=["last"])
    row = group.tidy().query("term == 'anxiety'").iloc[0]
    assert row["p_value"] < 0.01
    assert abs(row["estimate"] - 0.8) < 3 * row["std_error"]


def test_group_models_leave_out_what_is_shared(fit):
    group = spice_group(fit, "~ anxiety", method="meta")
    shared = fit.pooled.names[fit.pooled.n_own :]
    assert shared
    assert set(group.skipped["sparse_term"]) == set(shared)
    assert not set(group.tidy()["sparse_term"]) & set(shared)
    with pytest.raises(DataError, match="coefficient of the population"):
        spice_group(fit, "~ anxiety", method="meta", terms=[shared[0]])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 20, "structure": "participant"}, ConfigError, "Got: structure, epochs"),
        ({"checkpoint": "here"}, ConfigError, "Got: checkpoint"),
        ({"rt": "rt"}, ConfigError, "no use for response times"),
        ({"inputs": ["rt"]}, ConfigError, "no use for additional inputs"),
        ({"seed": -1}, ConfigError, "seed is out of range"),
    ],
)
def test_settings_that_are_not_for_it(cohort, settings, error, message):
    trials = cohort[0].assign(rt=0.5)
    with pytest.raises(error, match=message):
        spice_fit(trials, block="block", model="history", **settings)


def test_a_population_needs_people(few):
    two = few[few["participant"].isin(["s0", "s1"])]
    with pytest.raises(DataError, match="too few people"):
        spice_fit(two, block="block", model="history")


def test_an_update_on_the_same_trials_changes_nothing(fit, cohort):
    again = spice_update(fit, cohort[0])
    old, new = fit.tidy(), again.tidy()
    # the fit stops short of the maximum by a tenth of a nat over all people
    assert (np.abs(old["pooled"] - new["pooled"]) < 0.1 * old["pooled_sd"]).all()
    np.testing.assert_allclose(old["pooled_sd"], new["pooled_sd"], rtol=0.02)
    pd.testing.assert_frame_equal(
        old[["term", "shared", "estimate", "std_error"]], new[["term", "shared", "estimate", "std_error"]], rtol=1e-4
    )
    assert again.coefficients.info["updated"] == {"n_new": 0, "n_known": 40}


def test_one_new_person_gets_weights_between_the_population_and_the_choices(fit):
    trials, _ = simulate(n_people=1, n_trials=40, seed=9, prefix="new")
    one = spice_update(fit, trials)
    table = one.tidy()
    assert table["participant"].unique().tolist() == ["new0"]
    assert one.coefficients.info["updated"] == {"n_new": 1, "n_known": 0}
    spread = fit.tidy().groupby("term", sort=False)["pooled"].std()
    own = table[~table["shared"]].set_index("term")
    away = (own["pooled"] - pd.Series(fit.pooled.mean, list(fit.pooled.names))).abs()
    # within five standard deviations of the population, although maximum likelihood of 80 choices may be anywhere
    assert (away[own.index] < 5 * spread[own.index]).all()
    np.testing.assert_allclose(one.pooled.mean, fit.pooled.mean)
    nothing = trials.groupby("block").head(1)
    with pytest.raises(DataError, match="no choice after the first"):
        spice_update(fit, nothing)


def test_people_play_as_they_did(fit):
    """Weights from simulated choices agree with those that made them, to their own standard errors."""
    played = simulate_fit(fit, n_trials=400, seed=2)
    assert set(played["choice"]) == {"L", "R"}
    assert set(played["reward"]) == {0.0, 1.0}
    pd.testing.assert_frame_equal(played, simulate_fit(fit, n_trials=400, seed=2))
    again = spice_update(fit, played)
    own = ~fit.tidy()["shared"]
    error = ((again.tidy()["pooled"] - fit.tidy()["pooled"]) / again.tidy()["pooled_sd"])[own]
    # posterior means are off by less than a posterior standard deviation, root mean square over all weights
    assert np.sqrt((error**2).mean()) < 1.2


def test_played_rewards_have_the_unit_of_the_data(cohort):
    trials = cohort[0].assign(reward=25 * cohort[0]["reward"])
    assert set(simulate_fit(spice_fit(trials, block="block", model="history"))["reward"]) == {0.0, 25.0}


def test_kernels_say_what_was_simulated(fit):
    """One reward moves the value of its action by w / 2, / 4, ...; one choice is worth 2 w of the last choice."""
    kernels = fit.kernels(lags=6)
    ours = kernels.lags[kernels.lags["scope"] == "population"].set_index(["event", "lag"])
    reward, choice = ours.loc["reward"], ours.loc["choice"]
    # the mean weights are 2.0 and 0.6; standard errors are about .15 each
    truth = 2.0 * 0.5 ** np.arange(1, 7)
    assert (np.abs(reward["estimate"] - truth) < 3 * reward["std_error"] + 0.03).all()
    assert reward["std_error"].iloc[0] < 0.25
    extra = 2 * 0.6 + 2.0 * 0.5  # a rewarded choice brings its reward along, half of choices are rewarded, twice
    assert abs(choice["estimate"].iloc[0] - extra) < 3 * choice["std_error"].iloc[0]
    people = kernels.lags[(kernels.lags["scope"] == "participant") & (kernels.lags["lag"] == 1)]
    assert people.groupby("event").size().tolist() == [40, 40]
    reward_mean = people[people["event"] == "reward"]["estimate"].mean()
    assert reward_mean == pytest.approx(reward["estimate"].iloc[0])
    assert kernels.rewards == (0.0, 1.0)


def test_text_and_html_are_short_and_escaped(fit, cohort):
    assert len(repr(fit).splitlines()) <= 25
    evil = cohort[0].assign(choice=cohort[0]["choice"].map({"L": "<script>", "R": "right"}))
    html = spice_fit(evil[evil["participant"].isin([f"s{i}" for i in range(8)])], block="block")._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


def test_what_follows_from_kernels(fit):
    kernels = fit.kernels(conf_level=0.9)
    ours = kernels.influence.query("scope == 'population' and event == 'reward'").set_index("quantity")
    lags = kernels.lags.query("scope == 'population' and event == 'reward'")
    assert ours.loc["total", "estimate"] == pytest.approx(lags["estimate"].sum())
    assert 0.5 < ours.loc["half_life", "estimate"] < 2.0
    assert ours.loc["total", "conf_low"] < ours.loc["total", "estimate"] < ours.loc["total", "conf_high"]
    width = ours.loc["total", "conf_high"] - ours.loc["total", "conf_low"]
    assert width == pytest.approx(2 * 1.6449 * ours.loc["total", "std_error"], rel=1e-3)
    assert "half_life" in repr(kernels)
    assert len(kernels.plot().axes) == 2


def test_kernels_do_not_depend_on_the_unit_of_rewards(few_fit, few):
    trials = few.assign(reward=100.0 * few["reward"])
    one, cents = (each.kernels(lags=3) for each in (few_fit, spice_fit(trials, block="block", model="history")))
    np.testing.assert_allclose(one.lags["estimate"], cents.lags["estimate"], atol=1e-6)
    assert cents.rewards == (0.0, 100.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"events": ["punishment"]}, ConfigError, "event"),
        ({"events": []}, ConfigError, "event"),
        ({"lags": 0}, ConfigError, "lags"),
        ({"structure": "searched"}, ConfigError, "structure"),
        ({"events_per_person": 0}, ConfigError, "events_per_person"),
        ({"conf_level": 1.0}, ConfigError, "conf_level"),
    ],
)
def test_kernels_refuse(fit, options, error, message):
    with pytest.raises(error, match=message):
        fit.kernels(**options)


def test_discoveries_come_with_a_fit_that_has_them():
    """People who also repeat the choice of three trials ago, which no state of the library is."""
    rng, rows = np.random.default_rng(5), []
    for person in range(24):
        weight, choices = 1.2 + 0.3 * rng.normal(), [0, 1, 0]
        for _ in range(117):
            toward = 2 * choices[-3] - 1
            choices.append(int(rng.random() < 1 / (1 + np.exp(-weight * toward))))
        rows += [(person, choice, int(rng.random() < 0.5)) for choice in choices]
    fit = spice_fit(pd.DataFrame(rows, columns=["participant", "choice", "reward"]))
    found = fit.discover()
    assert "ago_" in found.terms["term"][0]
    assert found.terms["gain_per_choice"][0] == pytest.approx(found.terms["gain"][0] / (24 * 119))
    assert found.terms["term"][0] in found.fit.pooled.names
    assert found.fit.scores["nll"][0] < fit.scores["nll"][0]
    assert "ago_" in repr(found)
    assert "ago_" in found._repr_html_()


def test_where_nothing_is_found_the_fit_stays(fit):
    found = fit.discover()
    assert found.terms.empty
    assert found.fit is fit
    assert list(found.tidy()) == ["term", "shared", "instead_of", "gain", "gain_per_choice"]


def totals(kernels):
    rows = kernels.influence.query("quantity == 'total'")
    return rows.set_index(["event", rows["participant"].fillna("all")])[["estimate", "std_error"]]


def test_averaged_kernels_are_those_of_nine_structures(fit):
    """Averages lie among the structures' own, and their variances are larger by the variance between structures."""
    given, averaged = totals(fit.kernels(structure="given")), totals(fit.kernels())
    data = pack_table(fit.trials, fit.pooled.reward_size)
    weights = fit._rivals.weights
    assert weights.shape[:2] == (9, 40)
    for event in ("reward", "choice"):
        moves = state_moves(data, fit._rivals.states, event, 40).mean
        each = np.einsum("nlk,gnk->gn", moves, weights)
        for who, ours in (("all", each.mean(axis=1)), ("s3", each[:, fit.trials.participants.index("s3")])):
            before, after = given.loc[(event, who)], averaged.loc[(event, who)]
            assert after["estimate"] == pytest.approx(before["estimate"] + ours.mean() - ours[0])
            assert after["std_error"] ** 2 == pytest.approx(before["std_error"] ** 2 + ours.var())


def test_averaged_kernels_do_not_depend_on_labels(few_fit, few):
    labels = dict(zip(few["participant"].unique(), np.random.default_rng(0).permutation(12), strict=True))
    named = few.assign(participant=few["participant"].map(labels))
    other = totals(spice_fit(named, block="block").kernels())
    ours = totals(few_fit.kernels())
    np.testing.assert_allclose(other.loc[("reward", "all")], ours.loc[("reward", "all")], rtol=1e-4)
    np.testing.assert_allclose(other.loc[("choice", labels["s3"])], ours.loc[("choice", "s3")], rtol=1e-3)


def test_few_people_are_not_left_out(few):
    five = spice_fit(few[few["participant"].isin([f"s{i}" for i in range(5)])], block="block")
    pd.testing.assert_frame_equal(totals(five.kernels()), totals(five.kernels(structure="given")))


def test_equal_rewards_have_no_influence(few):
    fit = spice_fit(few.assign(reward=1.0), block="block", model="history")
    with pytest.raises(DataError, match=r'events=\["choice"\]'):
        fit.kernels()
    assert set(fit.kernels(events=["choice"]).lags["event"]) == {"choice"}


def test_the_network_predicts_is_saved_and_is_not_the_updated_fits(cohort, tmp_path):
    fit = spice_fit(cohort[0], block="block")
    before = repr(fit)
    fit.save(tmp_path / "untrained")
    assert not (tmp_path / "untrained" / "network.json").exists()
    by_network, by_equations = predict_choices(fit, by="rnn"), predict_choices(fit)
    assert by_network["probability"].notna().equals(by_equations["probability"].notna())
    assert ("network" in repr(fit)) and ("network" not in before)
    fit.save(tmp_path / "fit")
    again = load_fit(tmp_path / "fit")
    pd.testing.assert_frame_equal(predict_choices(again, by="rnn"), by_network)
    assert repr(again) == repr(fit)
    pd.testing.assert_frame_equal(predict_choices(load_fit(tmp_path / "untrained"), by="rnn"), by_network)
    one = cohort[0].iloc[:160].assign(participant="new")
    new = predict_choices(fit, one, by="rnn", unseen="population")
    assert new["probability"].notna().sum() == 158


def test_a_damaged_network_is_named(tmp_path):
    from spicestat.fit.history_files import pack_network, unpack_network
    from spicestat.training.state_network import StateNetwork

    files = pack_network(StateNetwork((), (state("last"),), np.ones(1), 5, 0.5, 0.5))
    found = unpack_network(files)
    assert (found.states, found.n_people, found.members) == ((state("last"),), 5, ())
    assert unpack_network({}) is None
    for name, content in files.items():
        with pytest.raises(StorageError, match="lacks a file"):
            unpack_network({name: content})
        with pytest.raises(StorageError, match="damaged"):
            unpack_network({**files, name: content[: len(content) // 2]})
    with pytest.raises(StorageError, match="shape"):
        unpack_network(pack_network(StateNetwork((), (state("last"),), np.ones(2), 5, 0.5, 0.5)))


def test_what_needs_a_network_says_so(fit, cohort):
    with pytest.raises(ConfigError, match="network"):
        spice_fit_split(cohort[0], block="block", model="history")


def test_a_pattern_without_any_learning_is_said_to_be_none():
    """Choices by chance: no better than guessing, and no contradiction."""
    rng = np.random.default_rng(3)
    trials = pd.DataFrame(
        {
            "participant": np.repeat([f"p{i}" for i in range(10)], 60),
            "choice": rng.integers(0, 2, 600),
            "reward": rng.integers(0, 2, 600),
        }
    )
    fit = spice_fit(trials, model="history")
    assert fit.contradictions == ()
    assert abs(fit.scores["nll"][0] - np.log(2)) < 0.05


def test_without_own_weights_there_is_nothing_to_compare(fit):
    bare = replace(fit, pooled=replace(fit.pooled, n_own=0))
    with pytest.raises(DataError, match="all weights are the population's"):
        spice_group(bare, "~ anxiety", method="hierarchical")


def test_words(fit):
    text = repr(fit)
    assert "weights of each person: last" in text
    assert "choice shares" in text
    equations = fit.equations_frame()
    assert list(equations) == ["participant", "module", "equation"]
    first = fit.coefficients.wide("pooled").iloc[0, 0]
    assert equations["equation"][0].startswith(f"logit = {first:.3f} {fit.pooled.names[0]}")
    assert state("last") in fit.states


def test_who_made_the_same_choice_throughout_is_kept_and_weighs_more_than_others(cohort):
    trials, people = cohort
    never = trials[trials["participant"] == "s0"].assign(choice="L", participant="same")
    with pytest.warns(
        SuspiciousDataWarning, match="1 of 41 participants made the same choice throughout, and are kept"
    ):
        people = pd.concat([people, people[:1].assign(participant="same")])
        kept = spice_fit(pd.concat([trials, never]), block="block", people=people, model="history")
    own = kept.coefficients.frame.query("participant == 'same' and not shared")
    assert np.isfinite(own["pooled"]).all() and (own["pooled_sd"] > 0).all()
    # whoever never switches repeats choices, or is drawn by rewards, more than most do
    with pytest.warns(SuspiciousDataWarning, match="1 of 1"):
        predicted = predict_choices(kept, never)
    assert predicted.groupby("participant")["p_L"].mean()["same"] > 0.8
    assert kept.glance()["n_excluded"].item() == 0
    with pytest.warns(SuspiciousDataWarning, match="1 of 1"):
        again = spice_update(kept, never)
    assert again.trials.participants == ("same",)


@pytest.mark.parametrize("model", ["history", "bandit"])
def test_nobody_can_be_fitted_if_all_made_the_same_choice_throughout(cohort, model):
    never = cohort[0].query("participant in ['s0', 's1']").assign(choice="L")
    with (
        pytest.warns(SuspiciousDataWarning, match="2 of 2"),
        pytest.raises(DataError, match="all 2 participants made the same choice throughout"),
    ):
        spice_fit(never, actions=["L", "R"], block="block", model=model)
