"""Predictions of choices, and fits updated with other trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from spicestat.equations.estimate.refit import RefitResult
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, ScaleWarning
from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.predict import predict_choices
from spicestat.fit.update import spice_update
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials

COHORT = simulate_cohort(5, 240, n_blocks=12, seed=1)


@pytest.fixture(scope="module")
def fit() -> SpiceFit:
    return spice_fit(COHORT.trials, block="block", model="learning_rate", epochs=20)


def test_predictions_have_the_likelihood_of_the_fit(fit: SpiceFit) -> None:
    table = predict_choices(fit)
    nll = fit.scores.set_index("model")["nll"]
    assert len(table) == len(COHORT.trials)
    assert table["choice"].tolist() == COHORT.trials["choice"].tolist()
    own = predict_choices(fit, by="ml")
    assert -np.log(own["probability"]).mean() == pytest.approx(nll["refit"], abs=1e-9)
    assert -np.log(predict_choices(fit, by="rnn")["probability"]).mean() == pytest.approx(nll["rnn"], abs=1e-6)
    assert (table[["p_1", "p_2"]].sum(axis=1)[table["p_1"].notna()] - 1).abs().max() < 1e-12
    assert table["probability"].isna().equals(COHORT.trials["trial"] == 1)


def test_rows_keep_their_order_and_choices_are_not_looked_at(fit: SpiceFit) -> None:
    mixed = COHORT.trials.sample(frac=1, random_state=1).reset_index(drop=True)
    there = predict_choices(fit, mixed, trial="trial")
    whole = predict_choices(fit).set_index(COHORT.trials[["participant", "block", "trial"]].apply(tuple, axis=1))
    expected = whole.loc[mixed[["participant", "block", "trial"]].apply(tuple, axis=1), "p_1"]
    np.testing.assert_allclose(there["p_1"], expected, atol=1e-12)


def test_some_participants_are_predicted_as_all(fit: SpiceFit) -> None:
    some = COHORT.trials[COHORT.trials["participant"].isin(["p4", "p2"])].reset_index(drop=True)
    for by in ("equations", "rnn"):
        whole = predict_choices(fit, by=by)  # type: ignore[arg-type]
        part = predict_choices(fit, some, by=by)  # type: ignore[arg-type]
        wanted = whole.loc[whole["participant"].isin(["p4", "p2"]), "p_1"]
        np.testing.assert_allclose(part["p_1"], wanted, atol=1e-6)


def test_unknown_participants_are_refused_or_typical(fit: SpiceFit) -> None:
    others = COHORT.trials.assign(participant="new " + COHORT.trials["participant"])
    with pytest.raises(DataError, match="not in the fit"):
        predict_choices(fit, others)
    typical = predict_choices(fit, others, unseen="typical")
    assert typical["probability"].notna().sum() == predict_choices(fit)["probability"].notna().sum()
    with pytest.raises(ConfigError, match="unseen"):
        predict_choices(fit, unseen="guess")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="by"):
        predict_choices(fit, by="magic")  # type: ignore[arg-type]


def test_a_typical_participant_is_the_median_of_all_and_nobody_in_particular(
    equations_of: Any, tiny_fit: SpiceFit
) -> None:
    rate, beta = ("x_learning_rate_reward", "1"), ("beta", "x_value_reward")
    equations = equations_of("learning_rate", 4, {rate: [0.9, 0.2, 0.3, 0.1], beta: [1.0, 5.0, 9.0, 3.0]})
    n, k = equations.coefficients.shape
    trials, nowhere = np.full(n, 50), np.zeros((n, k), dtype=bool)
    result = RefitResult(equations, np.full((n, k, k), np.nan), -trials / 2.0, trials, trials > 0, nowhere)
    model = replace(tiny_fit.model, refit=result, sparse=equations, inclusion=None, stability=None)
    found = model.with_participants(np.array([2, -1, 0, -1])).equations
    positions = [equations.terms.index(rate), equations.terms.index(beta)]
    np.testing.assert_allclose(found.coefficients[:, positions], [[0.3, 9.0], [0.25, 4.0], [0.9, 1.0], [0.25, 4.0]])


def test_the_mean_embedding_stands_for_those_whom_the_network_does_not_know(tiny_fit: SpiceFit) -> None:
    old = tiny_fit.model.network.participant_embedding.weight  # type: ignore[union-attr]
    other = tiny_fit.model.with_participants(np.array([2, -1, 0])).network
    new = other.participant_embedding.weight  # type: ignore[union-attr]
    expected = torch.stack([old[:, 2], old.mean(dim=1), old[:, 0]], dim=1)  # type: ignore[operator]
    torch.testing.assert_close(new, expected)


def test_new_participants_have_the_mean_inclusion(tiny_fit: SpiceFit) -> None:
    inclusion = np.random.default_rng(1).random(tiny_fit.model.equations.coefficients.shape)
    found = replace(tiny_fit.model, inclusion=inclusion).with_participants(np.array([1, -1, 0])).inclusion
    assert found is not None
    np.testing.assert_allclose(found, [inclusion[1], inclusion.mean(axis=0), inclusion[0]])


def test_an_update_with_the_same_trials_changes_nothing(fit: SpiceFit) -> None:
    again = spice_update(fit, COHORT.trials)
    pd.testing.assert_frame_equal(again.coefficients.frame, fit.coefficients.frame, atol=1e-5, rtol=1e-4)
    assert again.scores["nll"].tolist()[0] == pytest.approx(fit.scores["nll"][0], abs=1e-6)


def test_an_update_estimates_new_participants_with_the_old_structure(fit: SpiceFit, tmp_path: Path) -> None:
    fresh = simulate_cohort(3, 240, n_blocks=12, seed=9).trials
    fresh = fresh.assign(participant=fresh["participant"].str.replace("p1", "new"))
    updated = spice_update(fit, fresh.rename(columns={"participant": "id"}), participant="id")
    assert updated.trials.participants == ("new", "p2", "p3")
    assert updated.coefficients.info["updated"] == {"n_new": 1, "n_known": 2}
    status = updated.model.equations.status
    assert (status == fit.model.equations.status[0]).all()
    updated.save(tmp_path / "fit")
    assert load_fit(tmp_path / "fit").coefficients.frame.equals(updated.coefficients.frame)
    nll = updated.scores.set_index("model")["nll"]
    assert nll["refit"] <= nll["equations"]


def test_a_warning_about_an_update_points_at_its_line(fit: SpiceFit) -> None:
    few = COHORT.trials[COHORT.trials["trial"] <= 4].reset_index(drop=True)
    with pytest.warns(ConvergenceWarning, match="on these trials") as caught:
        spice_update(fit, few)
    assert caught[0].filename == __file__


def test_rewards_are_scaled_by_the_range_of_the_fit() -> None:
    trials = COHORT.trials.assign(reward=10 * COHORT.trials["reward"])
    fit = spice_fit(trials, block="block", model="learning_rate", epochs=2, reward_scaling="minmax")
    quiet = trials[trials["participant"] == "p1"].assign(reward=lambda table: table["reward"].clip(upper=5))
    half = predict_choices(fit, trials[trials["participant"] == "p1"].reset_index(drop=True))
    assert not np.allclose(predict_choices(fit, quiet.reset_index(drop=True))["p_1"], half["p_1"], equal_nan=True)


def test_large_rewards_of_a_scaled_fit_predict_and_update_as_small_ones(fit: SpiceFit) -> None:
    """Rewards of -50 and 50, mapped to 0 and 1 by the range of the fit, are the rewards of 0 and 1 of `fit`."""
    large = COHORT.trials.assign(reward=100 * COHORT.trials["reward"] - 50)
    scaled = spice_fit(large, block="block", model="learning_rate", epochs=20, reward_scaling="minmax")
    own = COHORT.trials["participant"] == "p1"
    # without a single -50, so that their own range would not do
    lucky = large[own].assign(reward=large["reward"].max()).reset_index(drop=True)
    there = predict_choices(scaled, lucky)["p_1"]
    plain = predict_choices(fit, COHORT.trials[own].assign(reward=1.0).reset_index(drop=True))["p_1"]
    np.testing.assert_allclose(there, plain, atol=1e-12)
    np.testing.assert_allclose(predict_choices(scaled, large)["p_1"], predict_choices(scaled)["p_1"], atol=1e-12)
    table = read_trials(large, block="block")
    np.testing.assert_allclose(predict_choices(scaled, table)["p_1"], predict_choices(scaled)["p_1"], atol=1e-12)
    updated = spice_update(scaled, large)
    pd.testing.assert_frame_equal(updated.coefficients.frame, scaled.coefficients.frame, atol=1e-5, rtol=1e-4)
    assert updated.trials.record["reward_scaling"] == {"method": "minmax", "min": -50, "max": 50}


def test_rewards_in_another_unit_than_those_of_the_fit_are_noticed(fit: SpiceFit) -> None:
    own = COHORT.trials
    points = own.assign(reward=10 * own["reward"])
    scaled = spice_fit(points, block="block", model="learning_rate", epochs=2, reward_scaling="minmax")
    for made, wrong in ((fit, 10 * own["reward"]), (fit, own["reward"] / 100), (scaled, own["reward"])):
        with pytest.warns(ScaleWarning, match="the same unit"):
            predict_choices(made, own.assign(reward=wrong))
    predict_choices(fit, own.assign(reward=own["reward"].replace(0, -1)))
    predict_choices(scaled, points.assign(reward=12.0))


def test_other_actions_are_refused(fit: SpiceFit) -> None:
    with pytest.raises(DataError):
        predict_choices(fit, COHORT.trials.assign(choice=COHORT.trials["choice"] + 5))


def test_settings_of_reading_are_checked_and_never_ignored(fit: SpiceFit) -> None:
    read = read_trials(COHORT.trials, block="block")
    for verb in (predict_choices, spice_update):
        with pytest.raises(ConfigError, match="did you mean 'block'"):
            verb(fit, COHORT.trials, blok="block")
        with pytest.raises(ConfigError, match="read already"):
            verb(fit, read, block="block")
    with pytest.raises(ConfigError, match="read already"):
        predict_choices(fit, block="block")
