"""Tasks that show something: one natural call each, and everything that a fit is asked afterwards."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat import (
    load_fit,
    predict_choices,
    simulate_fit,
    spice_fit,
    spice_group,
    spice_ladder,
    spice_power,
    spice_update,
)
from spicestat.errors import ConfigError, ContradictionWarning, DataError, SuspiciousDataWarning
from spicestat.simulate import BanditsDrift
from spicestat.trials import read_trials

CASES = Path(__file__).parents[3] / "shared" / "cases" / "tasks"
needs_shared = pytest.mark.skipif(not CASES.exists(), reason="needs the shared cases")

OFFERS = {"amount": ["amount_sooner", "amount_later"], "delay": ["delay_sooner", "delay_later"]}
CALLS = {
    "pst": {"choice": "resp", "reward": "feedback", "options": {"left": "stim_left", "right": "stim_right"}},
    "gng": {"choice": "go", "reward": "outcome", "stimulus": "cue"},
    "rlwm": {"choice": "key", "reward": "correct", "block": "block", "stimulus": "stimulus", "context": "setsize"},
    "igt": {"choice": "deck", "gain": "gain", "loss": "loss"},
    "two_step": {"choice": "choice1", "reward": "reward", "state2": "state2", "choice2": "choice2"},
    "discounting": {"choice": "chose", "reward": None, "attributes": {k: sorted(v) for k, v in OFFERS.items()}},
}
BLIND = {
    "pst": {"choice": "resp", "reward": "feedback"},
    "gng": {"choice": "go", "reward": "outcome"},
    "rlwm": {"choice": "key", "reward": "correct", "block": "block"},
    "igt": {"choice": "deck", "reward": "gain"},
    "two_step": {"choice": "choice1", "reward": "reward"},
    "discounting": {"choice": "chose", "reward": None},
}
WORTH = {"pst": 0.15, "gng": 0.1, "rlwm": 0.5, "igt": 0.05, "two_step": 0.005, "discounting": 0.25}
"""Nats per left-out choice that the roles are worth at least."""


def case(name):
    return CASES / f"{name}.csv.gz"


def fitted(name, roles):
    with warnings.catch_warnings():
        # the blind call is what these are about
        warnings.simplefilter("ignore", SuspiciousDataWarning)
        warnings.simplefilter("ignore", ContradictionWarning)
        return spice_fit(case(name), participant="subject", trial="trial", **roles[name])


@pytest.fixture(scope="module")
def fits():
    return {name: fitted(name, CALLS) for name in CALLS}


@needs_shared
@pytest.mark.parametrize("name", CALLS)
def test_roles_predict_left_out_choices_better(fits, name):
    blind, told = fitted(name, BLIND).glance(), fits[name].glance()
    assert told["nll_left_out"].item() < blind["nll_left_out"].item() - WORTH[name]
    assert told["nll_left_out"].item() < min(told["nll_shares"].item(), told["nll_guessing"].item())
    assert told["contradictions"].item() == ""


@needs_shared
def test_a_fit_that_only_guesses_says_so():
    with pytest.warns(SuspiciousDataWarning, match="options="), pytest.warns(ContradictionWarning, match="no better"):
        blind = spice_fit(case("pst"), participant="subject", trial="trial", **BLIND["pst"])
    assert "stimuli or options" in blind.glance()["contradictions"].item()
    assert "note: blocks that are left out are predicted no better" in repr(blind)


@needs_shared
@pytest.mark.parametrize("name", CALLS)
def test_files_predictions_and_updates(fits, name, tmp_path):
    fit = fits[name]
    again = load_fit(fit.save(tmp_path / name))
    found = predict_choices(fit)
    pd.testing.assert_frame_equal(predict_choices(again), found)
    nll = -np.log(found["probability"].dropna())
    assert len(nll) == fit.glance()["nobs"].item()
    assert nll.mean() == pytest.approx(fit.glance()["nll_history"].item())
    raw = pd.read_csv(case(name))
    one = raw[raw["subject"] == raw["subject"].iloc[0]]
    pd.testing.assert_frame_equal(predict_choices(fit, one), found.iloc[: len(one)])
    updated = spice_update(fit, raw[raw["subject"].isin(raw["subject"].unique()[:4])])
    assert updated.trials.n_participants == 4
    np.testing.assert_allclose(updated.pooled.pooled[0], fit.pooled.pooled[0], atol=0.2)


@needs_shared
@pytest.mark.parametrize("name", CALLS)
def test_people_make_their_choices_again_by_their_weights(fits, name):
    """Estimates from choices made again are as far from the weights as their standard errors say."""
    fit = fits[name]
    played = simulate_fit(fit, seed=1)
    assert len(played) == fit.trials.frame["choice"].ge(0).sum()
    again = spice_update(fit, played.drop(columns="sim")).tidy()
    true = fit.tidy()
    z = ((again["estimate"] - true["pooled"]) / again["std_error"])[~true["shared"].astype(bool)].dropna()
    # of 48 or more: z of a mean beyond 4, a median of squares (.45 expected) that 1 in 10^4 would exceed
    assert len(z) >= 48
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert 0.15 < np.median(z**2) < 1.1
    second = simulate_fit(fit, n_simulations=2, seed=0).query("sim == 2").reset_index(drop=True)
    pd.testing.assert_series_equal(second["choice"], played["choice"])


@needs_shared
def test_what_is_shown_is_what_people_play(fits):
    for wrong in ({"environment": BanditsDrift(0.1)}, {"n_trials": 20}, {"n_blocks": 2}):
        with pytest.raises(ConfigError, match="play their own trials.*leave"):
            simulate_fit(fits["pst"], **wrong)


@needs_shared
def test_power_of_a_task_that_shows_something(fits):
    """No effect and a large one, in 12 studies each; where there is none, four or more find one in 1 of 500 runs."""
    fit = fits["discounting"]
    coefficient = fit.choice_likelihood().terms[0]
    settings = {"n_participants": 20, "n_trials": 60, "n_simulations": 12}
    none, large = spice_power(fit, coefficient, effect=[0.0, 2.0], **settings).tidy()["power"]
    assert none < 4 / 12 < large
    with pytest.raises(ConfigError, match="nobody made as many choices.*121 trials.*at most 1 block.*120 trials"):
        spice_power(fit, coefficient, effect=1.0, n_participants=30, n_trials=121)
    with pytest.raises(ConfigError, match="leave `environment` out"):
        spice_power(fit, coefficient, effect=1.0, n_participants=30, n_trials=20, environment=BanditsDrift(0.1))


@needs_shared
def test_planning_and_habit_are_weighed_beside_each_other(fits):
    """What the two-step people were simulated with; and their second stage is a task of its own."""
    kinds = {signal.kind for declared in fits["two_step"].states for signal in declared.signals}
    assert {"planned", "value", "last"} <= kinds
    second = spice_fit(
        case("two_step"), participant="subject", trial="trial", choice="choice2", reward="reward", stimulus="state2"
    )
    assert second.glance()["nll_left_out"].item() < 0.65


@needs_shared
def test_a_slower_discounter_waits_more(fits):
    truth = pd.read_csv(CASES / "truth.csv").query("task == 'dd'").set_index("subject")
    fit = fits["discounting"]
    table = pd.read_csv(case("discounting"))
    middle = table[(table["delay_later"] == 30) & table["amount_sooner"].between(20, 45)]
    waits = predict_choices(fit).loc[middle.index].groupby("participant")["p_later"].mean()
    assert np.corrcoef(waits.to_numpy(), np.log(truth["k"].loc[waits.index]))[0, 1] < -0.8


@needs_shared
def test_group_models_read_fits_with_roles(fits):
    for name in ("pst", "igt"):
        found = spice_group(fits[name], "~ anxiety").tidy()
        assert np.isfinite(found.loc[found["term"] == "anxiety", "estimate"]).all()


@needs_shared
def test_rungs_that_do_not_see_the_screen_are_no_rungs(fits):
    ladder = spice_ladder(fits["pst"], ["shares", "mixed_logit", "equations"])
    assert ladder.best in ("equations", "mixed_logit")
    assert ladder.table["nll"].notna().all()
    with pytest.raises(ConfigError, match="no such rung for this fit"):
        spice_ladder(fits["pst"], "gru")


@needs_shared
def test_kernels_follow_the_item(fits):
    kernels = fits["pst"].kernels(lags=5, structure="given", events_per_person=20).influence
    kernels = kernels.query("scope == 'population' and quantity == 'total'")
    assert kernels.set_index("event").loc["reward", "estimate"] > 0.5
    with pytest.raises(DataError, match="no influence of reward"):
        fits["discounting"].kernels(structure="given")


def cards(n_people=12, n_blocks=2, n_trials=60, seed=0):
    """People who choose one of two cards of four; sometimes there is only one."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(n_people):
        for block in range(n_blocks):
            values, odds = np.zeros(4), rng.permutation([0.2, 0.4, 0.6, 0.8])
            for trial in range(n_trials):
                left, right = rng.permutation(4)[:2]
                alone = rng.random() < 0.15
                side = 0 if alone else int(rng.random() < 1 / (1 + np.exp(-5 * (values[right] - values[left]))))
                card = (left, right)[side]
                won = int(rng.random() < odds[card])
                values[card] += 0.3 * (won - values[card])
                rows.append((person, block, trial, "ABCD"[left], None if alone else "ABCD"[right], "ABCD"[card], won))
    columns = ["participant", "block", "trial", "card_left", "card_right", "choice", "reward"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def card_fit():
    return spice_fit(cards(), block="block", trial="trial", options=["card_left", "card_right"])


def test_only_cards_on_offer_have_a_probability(card_fit):
    table, found = cards(), predict_choices(card_fit)
    on_offer = table[["card_left", "card_right"]].to_numpy()
    for card in "ABCD":
        there = (on_offer == card).any(axis=1) & table["card_right"].notna().to_numpy()
        assert (found.loc[there, f"p_{card}"] > 0).all()
        predicted = found["probability"].notna().to_numpy()
        assert (found.loc[predicted & ~there, f"p_{card}"] == 0).all()
    # where one card was on offer there was nothing to choose
    assert found["probability"].isna().equals(table["card_right"].isna())
    names = card_fit.pooled.names
    assert any("@item" in name or "@offer" in name for name in names)


def test_new_items_are_learned_of_as_others_are(card_fit):
    other = cards(seed=1).replace({"card_left": {"A": "Z"}, "card_right": {"A": "Z"}, "choice": {"A": "Z"}})
    found = predict_choices(card_fit, other)
    assert list(found)[-4:] == ["p_B", "p_C", "p_D", "p_Z"]
    assert -np.log(found["probability"].dropna()).mean() < np.log(2) - 0.1


def test_networks_and_discovery_take_what_is_not_on_offer(card_fit):
    found = predict_choices(card_fit, by="rnn")
    each = found[["p_A", "p_B", "p_C", "p_D"]].dropna()
    np.testing.assert_allclose(each.sum(axis=1), 1.0)
    assert card_fit.discover().n_candidates > 0


def test_a_label_that_the_fit_has_not_seen_is_refused():
    table = cards(n_people=6).assign(mood=lambda d: np.where(d["trial"] % 2, "good", "bad")).dropna()
    fit = spice_fit(table, block="block", trial="trial", options=["card_left", "card_right"], context="mood")
    with pytest.raises(DataError, match="context 'mood' has labels that the fit has not seen"):
        predict_choices(fit, table.replace({"good": "mixed"}))
    only_bad = predict_choices(fit, table[table["mood"] == "bad"])
    assert only_bad["probability"].notna().all()


def test_models_with_a_network_refuse_roles():
    with pytest.raises(ConfigError, match="have no use for other roles"):
        spice_fit(cards(3), block="block", trial="trial", options=["card_left", "card_right"], model="rescorla_wagner")


def test_forced_trials_teach():
    table = cards(n_people=8).dropna().assign(told=lambda d: d["trial"] < 10)
    trials = read_trials(table, block="block", trial="trial", options=["card_left", "card_right"], forced="told")
    fit = spice_fit(trials)
    found = predict_choices(fit)
    assert found["probability"].isna().equals(table["told"].reset_index(drop=True))
