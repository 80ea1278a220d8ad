"""The participants of a fit play, with the actions and the rewards of their own data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spicestat.equations.structure.equation_set import FREE
from spicestat.errors import ConfigError
from spicestat.fit.api import spice_fit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.play import simulate_fit
from spicestat.fit.predict import predict_choices
from spicestat.fit.update import spice_update
from spicestat.simulate import BanditsDrift, simulate_cohort
from spicestat.studies.power import spice_power

# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ContradictionWarning")

POINTS = {"block": "block", "model": "rescorla_wagner", "epochs": 20, "reward_scaling": "minmax"}


@pytest.fixture(scope="module")
def fit() -> SpiceFit:
    trials = simulate_cohort(6, 240, n_blocks=12, seed=1).trials
    # points from 2 to 12
    return spice_fit(trials.assign(reward=2 + 10 * trials["reward"]), **POINTS)  # type: ignore[arg-type]


def test_rewards_come_back_in_the_unit_of_the_data(fit: SpiceFit) -> None:
    played = simulate_fit(fit, n_trials=40, n_blocks=40)
    assert set(played["reward"]) == {2.0, 12.0}
    updated = spice_update(fit, played)
    true, found = fit.model_by("pooled").equations, updated.model.equations
    assert updated.trials.frame["reward_0"].max() == 1
    error = (found.coefficients - true.coefficients) / updated.coefficients.frame["std_error"].to_numpy().reshape(
        true.coefficients.shape
    )
    known = error[np.isfinite(error)]
    # five standard errors, of 1600 trials
    assert len(known) > 6
    assert np.abs(known).max() < 5


def test_rewards_that_are_shown_without_a_choice_come_back_too(fit: SpiceFit) -> None:
    played = simulate_fit(fit, BanditsDrift(0.1, counterfactual=True), n_trials=10)
    assert set(played[["reward_1", "reward_2"]].to_numpy().ravel()) == {2.0, 12.0}


def test_one_simulation_is_the_first_of_many(fit: SpiceFit) -> None:
    many, second = simulate_fit(fit, n_simulations=2, seed=3), simulate_fit(fit, seed=4)
    assert many.groupby("sim").size().tolist() == [6 * 240] * 2
    pd.testing.assert_series_equal(many["choice"][many["sim"] == 2].reset_index(drop=True), second["choice"])


def test_the_task_has_the_actions_of_the_fit() -> None:
    trials = simulate_cohort(8, 120, n_blocks=8, n_actions=3, seed=1).trials
    trials = trials.assign(choice=trials["choice"].map({1: "a", 2: "b", 3: "c"}))
    fit = spice_fit(trials, block="block", model="rescorla_wagner", epochs=5)
    assert set(simulate_fit(fit)["choice"]) == {"a", "b", "c"}
    term = fit.choice_likelihood().terms[0]
    found = spice_power(fit, term, effect=0.1, n_participants=8, n_trials=40, n_simulations=1)
    assert len(found.studies) == 1
    with pytest.raises(ConfigError, match="n_actions=3"):
        simulate_fit(fit, BanditsDrift(0.2))


def test_people_play_by_pooled_values_or_their_own(fit: SpiceFit) -> None:
    pooled, own = (simulate_fit(fit, n_trials=50, by=by) for by in ("pooled", "ml"))
    assert (pooled["choice"] != own["choice"]).any()
    with pytest.raises(ConfigError, match="unknown `by`"):
        simulate_fit(fit, by="mean")  # type: ignore[arg-type]


def test_predictions_and_equations_are_of_the_values_asked_for(fit: SpiceFit) -> None:
    """Own estimates have the score of the refit, pooled ones a lower likelihood on the same choices."""
    nll = {by: -np.log(predict_choices(fit, by=by)["probability"]).mean() for by in ("equations", "ml")}
    assert nll["ml"] == pytest.approx(fit.model.refit.nll)
    assert nll["ml"] < nll["equations"] < nll["ml"] + 0.02
    first = fit.coefficients.frame.query("selected and std_error > 0").iloc[0]
    for by, column in (("pooled", "pooled"), ("ml", "estimate")):
        assert f"{first[column]:.3f} " in fit.equations_frame(by)["equation"].iloc[0]


@pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")  # of own estimates
def test_an_update_pools_under_the_population_of_the_fit(fit: SpiceFit) -> None:
    """Ten choices say little, so that coefficients stay near the population's."""
    few = fit.trials.frame["trial"].to_numpy() < 3
    updated = spice_update(fit, fit.trials.select(few))
    np.testing.assert_array_equal(updated.population.mean, fit.population.mean)
    sd = np.sqrt(np.diag(fit.population.covariance))
    selected = fit.model.equations.status[0] == FREE
    away = updated.model_by("pooled").equations.coefficients - fit.population.mean
    assert (np.abs(away) / sd)[:, selected].max() < 2.5


def cards(n_people: int = 8, n_trials: int = 60) -> pd.DataFrame:
    """Two of four cards, each of which always brings its own number of points; the first of two blocks is forced."""
    rng = np.random.default_rng(0)
    n = n_people * n_trials
    offered = np.stack([rng.permutation(4)[:2] for _ in range(n)])
    place = rng.integers(0, 2, n)
    taken, other = offered[np.arange(n), place], offered[np.arange(n), 1 - place]
    labels = np.array(list("abcd"))
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n_people), n_trials),
            "left": labels[offered[:, 0]],
            "right": labels[offered[:, 1]],
            "card": labels[taken],
            "points": taken,
            "missed": other,
            "points_left": offered[:, 0],
            "points_right": offered[:, 1],
            "forced": np.tile(np.arange(n_trials) < 20, n_people),
        }
    )


@pytest.mark.parametrize(
    "outcomes", [{"reward": "points", "foregone": "missed"}, {"reward": ["points_left", "points_right"]}]
)
def test_outcomes_of_cards_go_with_the_cards(outcomes: dict[str, object]) -> None:
    settings = {"participant": "id", "choice": "card", "options": ["left", "right"], "forced": "forced"}
    fit = spice_fit(cards(), **settings, **outcomes)  # type: ignore[arg-type]
    played, own = simulate_fit(fit, seed=1), cards()
    assert (played["choice"] == own["card"])[own["forced"]].all()
    assert 0.2 < (played["choice"] == own["card"])[~own["forced"]].mean() < 0.8
    code = {label: float(number) for number, label in enumerate("abcd")}
    if "foregone" in outcomes:
        other = np.where(played["choice"] == played["left"], played["right"], played["left"])
        pairs = [(played["choice"], played["reward"]), (pd.Series(other), played["missed"])]
    else:
        pairs = [(played["left"], played["points_left"]), (played["right"], played["points_right"])]
    for card, points in pairs:
        seen = points.notna()
        assert seen.mean() > 0.9
        np.testing.assert_array_equal(points[seen], card.map(code)[seen])
    assert len(predict_choices(fit, played.drop(columns="sim"))) == len(played)


def test_occasions_that_are_blocks_keep_their_column() -> None:
    trials = cards().assign(day=np.tile(np.repeat(["one", "two"], 30), 8))
    fit = spice_fit(
        trials, participant="id", choice="card", reward="points", options=["left", "right"], block="day", occasion="day"
    )
    played = simulate_fit(fit, seed=1)
    assert played["day"].tolist() == trials["day"].tolist()
    assert spice_update(fit, played.drop(columns="sim")).trials.n_participants == 16
