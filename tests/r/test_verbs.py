"""What R's verbs on fits call gives the tables of the Python functions, and errors as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.fit.network_fit import SpiceFit
from spicestat.r import bridge
from spicestat.r.columns import decode_table, encode_table
from spicestat.simulate import BanditsFlip, simulate_cohort
from spicestat.studies.card import spice_card
from spicestat.studies.compare import spice_compare
from spicestat.studies.power import spice_power
from spicestat.studies.reliability import spice_reliability

COHORT = simulate_cohort(8, 240, n_blocks=12, seed=1)
TASK = {"kind": "flip", "reward_prob_high": 0.9}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("fits")
    for model in ("rescorla_wagner", "learning_rate"):
        spice_fit(COHORT.trials, block="block", model=model, epochs=20).save(root / model)
    return {model: str(root / model) for model in ("rescorla_wagner", "learning_rate")}


@pytest.fixture(scope="module")
def fit(folders: dict[str, str]) -> SpiceFit:
    return load_fit(folders["learning_rate"])


def table(envelope: dict[str, Any], name: str) -> pd.DataFrame:
    assert envelope["ok"], envelope
    return decode_table(envelope["value"][name])


def same(received: pd.DataFrame, expected: pd.DataFrame, **options: Any) -> None:
    pd.testing.assert_frame_equal(
        received, expected.reset_index(drop=True), check_dtype=False, check_column_type=False, **options
    )


def test_simulate_is_the_cohort_of_the_same_seed() -> None:
    options = {"n_participants": 8, "n_trials": 240, "n_blocks": 12, "seed": 1}
    same(table(bridge.simulate(options), "trials"), COHORT.trials)
    changed = bridge.simulate({**options, "parameters": {"alpha": {"mean": 0.3}}, "environment": TASK})
    assert set(table(changed, "truth")["alpha"]) == {0.3}


@pytest.mark.parametrize(
    "options",
    [
        {"environment": {"kind": "chess"}},
        {"environment": {"kind": "drift", "speed": 1}},
        {"parameters": {"alpha": {"average": 0.3}}},
        {"parameters": {"gamma": {"mean": 0.3}}},
    ],
)
def test_mistakes_in_tasks_and_parameters_are_config_errors(options: dict[str, Any]) -> None:
    assert bridge.simulate(options)["code"] == "config"


def test_a_task_without_what_it_needs_says_what() -> None:
    envelope = bridge.simulate({"environment": {"kind": "drift"}})
    assert envelope["code"] == "config"
    assert "the task 'drift'" in envelope["message"] and "`sigma`" in envelope["message"]


def test_misspelt_settings_are_the_users_error_in_every_verb(folders: dict[str, str]) -> None:
    one, trials = folders["learning_rate"], encode_table(COHORT.trials)
    design = {"effect": 0.1, "n_participants": 8, "n_trials": 60, "coefficient": ["x_learning_rate_reward", "1"]}
    answers = [
        (bridge.simulate({"n_participant": 3}), "n_participants"),
        (bridge.simulate_fit(one, {"environment": TASK, "n_simulation": 2, "seed": 1}), "n_simulations"),
        (bridge.predict(one, None, {"unsen": "typical"}), "unseen"),
        (bridge.update(one, trials, {"folder": "nowhere", "partcipant": "id"}), "participant"),
        (bridge.compare(folders, {"criterium": "aic"}), "criterion"),
        (bridge.power(one, {**design, "environment": TASK, "n_simulation": 2}), "no such setting"),
        (bridge.reliability(one, {"method": "model"}), "methods"),
    ]
    for envelope, meant in answers:
        assert envelope["code"] == "config", envelope
        assert meant in envelope["message"]


def test_a_fit_plays_with_its_own_labels(folders: dict[str, str], fit: SpiceFit) -> None:
    options = {"environment": TASK, "n_simulations": 2, "seed": 3}
    played = table(bridge.simulate_fit(folders["learning_rate"], options), "trials")
    assert played.groupby("sim").size().tolist() == [len(COHORT.trials)] * 2
    assert set(played["choice"]) == set(fit.trials.actions)
    second = bridge.simulate_fit(folders["learning_rate"], {**options, "n_simulations": 1, "seed": 4})
    assert table(second, "trials")["choice"].tolist() == played.loc[played["sim"] == 2, "choice"].tolist()


def test_predict_and_update(folders: dict[str, str], tmp_path: Path) -> None:
    folder = folders["learning_rate"]
    own = table(bridge.predict(folder, None, {}), "predictions")
    again = bridge.predict(folder, encode_table(COHORT.trials), {"by": "equations"})
    same(table(again, "predictions"), own)
    assert again["value"]["actions"] == ["1", "2"]
    options = {"folder": str(tmp_path / "new"), "people": encode_table(COHORT.people)}
    updated = bridge.update(folder, encode_table(COHORT.trials), options)
    assert "age" in table(updated, "people")
    same(table(updated, "coefficients"), load_fit(tmp_path / "new").coefficients.frame)


def test_compare(folders: dict[str, str]) -> None:
    fits = {name: load_fit(folder) for name, folder in folders.items()}
    received, expected = bridge.compare(folders, {"criterion": "aic"}), spice_compare(fits, "aic")
    same(table(received, "models"), expected.table)
    same(table(received, "glance"), expected.glance())
    assert table(received, "attribution")["participant"].tolist() == list(expected.attribution.index)
    assert "membership" not in received["value"]


def test_power(folders: dict[str, str]) -> None:
    folder, coefficient = folders["rescorla_wagner"], ("x_value_reward_chosen", "c_reward")
    fit = load_fit(folder)
    design = {"effect": [0.1, 0.0], "n_participants": 8, "n_trials": 60, "n_simulations": 1, "seed": 1}
    sent = {**design, "coefficient": list(coefficient), "environment": TASK}
    received = table(bridge.power(folder, sent), "designs")
    task = BanditsFlip(reward_prob_high=0.9)
    expected = spice_power(fit, coefficient, environment=task, **design)  # type: ignore[arg-type]
    same(received, expected.table)
    people = pd.DataFrame({"participant": list(fit.coefficients.participants)})
    ones = {
        "formula": "~ 1",
        "names": ["(Intercept)"],
        "terms": ["(Intercept)"],
        "matrix": encode_table(people.assign(V1=1.0)[["V1"]]),
        "factors": encode_table(people),
        "random": [],
    }
    population = {"design": ones, "method": "meta"}
    assert bridge.power(folder, {**sent, "effect": 0.1, "population": population})["ok"]


def test_reliability(folders: dict[str, str], fit: SpiceFit) -> None:
    half = {block: "a" if block <= 6 else "b" for block in range(1, 13)}
    sessions = {"block": [str(block) for block in half], "session": list(half.values())}
    sent = {"methods": ["first_second", "odd_even"], "sessions": sessions}
    received = table(bridge.reliability(folders["learning_rate"], sent), "reliability")
    same(received, spice_reliability(fit, ["first_second", "odd_even"], sessions=half))


def test_card(folders: dict[str, str], fit: SpiceFit) -> None:
    received, expected = bridge.card(folders["learning_rate"], {"n_simulations": 1}), spice_card(fit, n_simulations=1)
    same(table(received, "checks"), expected.table)
    assert table(received, "glance")["n_checks"].item() == len(expected.table)
    assert bridge.card(folders["learning_rate"], {"n_simulations": 0})["code"] == "config"


def test_ladder(folders: dict[str, str], fit: SpiceFit) -> None:
    sent = {"rungs": ["shares", "lags"], "folds": 2, "seed": 3}
    received, expected = bridge.ladder(folders["learning_rate"], sent), fit.ladder(["shares", "lags"], folds=2, seed=3)
    rungs = table(received, "rungs")
    same(rungs.drop(columns="seconds"), expected.table.drop(columns="seconds"))
    same(table(received, "people"), expected.people)
    same(table(received, "glance"), expected.glance())
    assert bridge.ladder(folders["learning_rate"], {"rungs": ["stairs"]})["code"] == "config"


def test_models_are_declared_or_classes(tmp_path: Path) -> None:
    from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, LearningRateRNN

    class Custom(LearningRateRNN):
        """A model of the user's own."""

    module = {"name": "x_v", "target": "x_v", "inputs": ["c_reward"], "cells": "chosen", "kind": "value"}
    declared = {"modules": [module], "states": [["x_v", 0.0]], "betas": [], "name": "mine"}
    setup = LEARNING_RATE_RNN_CONFIG
    config = {
        "rnn_modules": setup.rnn_modules,
        "control_parameters": setup.control_parameters,
        "library_setup": setup.library_setup,
    }
    for model, name in ((declared, "mine"), ({"class": Custom, "config": config}, "Custom")):
        options = {"model": model, "epochs": 2, "block": "block", "folder": str(tmp_path / name)}
        assert table(bridge.fit(encode_table(COHORT.trials), options), "glance")["model"].item() == name
        assert bridge.load(str(tmp_path / name))["ok"]
    for bad in ({"class": int, "config": config}, {"class": Custom, "config": {"modules": []}}, {"modules": []}, 3):
        assert bridge.fit(encode_table(COHORT.trials), {**options, "model": bad})["code"] == "config"
