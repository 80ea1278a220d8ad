"""spice_ladder: each rung is fitted without what it predicts, and scores add up."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spicestat import LadderResult, predict_choices, simulate_cohort, spice_fit, spice_ladder
from spicestat.errors import ConfigError, DataError, NumericalError
from spicestat.fit import ladder as module
from spicestat.fit.held_out import make_folds
from spicestat.fit.ladder_rungs import Predicted, refit_without, rungs_of
from spicestat.fit.packing import pack_table
from spicestat.pooled.baselines import fit_shares

pytestmark = pytest.mark.filterwarnings(
    "ignore::spicestat.errors.ContradictionWarning", "ignore::spicestat.errors.ConvergenceWarning"
)

QUICK = ["shares", "lags", "mixed_logit"]


def repeaters(n_people=24, n_blocks=3, n_trials=60, seed=0, arms=3):
    """People who repeat choices that were rewarded lately, each as much as they like; every 17th choice is missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(n_people):
        weight, stay = rng.normal(3.0, 1.0), rng.normal(0.5, 0.5)
        for block in range(n_blocks):
            trace, last = np.zeros(arms), np.zeros(arms)
            for trial in range(n_trials):
                odds = np.exp(weight * trace + stay * last)
                choice = int(rng.choice(arms, p=odds / odds.sum()))
                reward = float(rng.random() < (0.8 if choice == block % arms else 0.3))
                trace, last = 0.6 * trace + 0.4 * np.eye(arms)[choice] * reward, np.eye(arms)[choice]
                shown = "abc"[choice] if trial % 17 != 5 else None
                rows.append((f"s{person:02d}", f"b{block}", shown, reward if shown else None))
    return pd.DataFrame(rows, columns=["person", "block", "key", "points"])


COLUMNS = {"participant": "person", "block": "block", "choice": "key", "reward": "points"}


@pytest.fixture(scope="module")
def trials():
    return repeaters()


@pytest.fixture(scope="module")
def fit(trials):
    return spice_fit(trials, **COLUMNS, model="history")


@pytest.fixture(scope="module")
def ladder(fit) -> LadderResult:
    return fit.ladder()


@pytest.fixture(scope="module")
def spice():
    trials = simulate_cohort(4, 80, n_blocks=2, seed=2).trials.astype({"choice": "Int64"})
    trials.loc[[0, 7, 8, 100], "choice"] = pd.NA
    return spice_fit(trials, block="block", model="rescorla_wagner", epochs=10)


def test_what_has_states_beats_shares(ladder):
    table = ladder.table.set_index("rung")
    assert list(table.index) == ["shares", "lags", "mixed_logit", "equations", "network", "gru"]
    # people repeat what was rewarded: a seeded cohort, in which every rung gains .1 nats or more
    assert (table["nll"].drop("shares") < table.loc["shares", "nll"] - 0.1).all()
    assert (table["accuracy"].drop("shares") > table.loc["shares", "accuracy"]).all()
    assert (table["least_probability"] > 0).all()
    assert (table["seconds"] > 0).all()
    assert table.loc["shares", "n_free"] == 24 * 2
    assert table.loc["lags", "n_free"] == 24 * 12


def test_scores_of_people_add_up(ladder, trials):
    people = ladder.people
    made = trials.groupby(["person", "block"])["key"].count() - 1
    assert people["n_choices"].sum() == 6 * made.sum() == 6 * ladder.settings["n_choices"]
    assert people.groupby("rung")["participant"].nunique().eq(24).all()
    for rung, own in people.groupby("rung"):
        row = ladder.table.set_index("rung").loc[rung]
        assert np.average(own["nll"], weights=own["n_choices"]) == pytest.approx(row["nll"])
        assert np.average(own["accuracy"], weights=own["n_choices"]) == pytest.approx(row["accuracy"])
    wide = people.pivot_table(index="participant", columns="rung", values="nll")
    table = ladder.table.set_index("rung")
    assert table.loc["equations", ["difference", "std_error"]].tolist() == [0, 0]
    for rung in ("shares", "gru"):
        assert table.loc[rung, "difference"] == pytest.approx(table.loc[rung, "nll"] - table.loc["equations", "nll"])
        # all have the same number of choices, so that the error is that of a mean
        error = (wide[rung] - wide["equations"]).std() / np.sqrt(24)
        assert table.loc[rung, "std_error"] == pytest.approx(error)


def test_shares_of_the_equations(ladder):
    nll = ladder.table.set_index("rung")["nll"]
    best = nll.min()
    expected = (nll["shares"] - nll["equations"]) / (nll["shares"] - best)
    assert ladder.share_predicted == pytest.approx(expected)
    assert ladder.best == nll.idxmin()
    row = ladder.glance().iloc[0]
    assert row["share_predicted"] == ladder.share_predicted
    assert row[["n_participants", "folds", "over"]].tolist() == [24, 3, "blocks"]
    assert row["nll_guessing"] == pytest.approx(np.log(3))
    without = replace(ladder, table=ladder.table[ladder.table["rung"] != "shares"])
    assert np.isnan(without.share_predicted)
    flat = replace(ladder, table=ladder.table.assign(nll=1.0))
    assert np.isnan(flat.share_predicted)


def test_shares_are_those_of_the_training_choices(fit, ladder):
    loss, n = 0.0, 0
    for fold in make_folds(fit.trials):
        share = fit_shares(pack_table(fold.train)).person
        frame = fold.test.frame.iloc[fold.held]
        labels = [fold.test.participants[code] for code in frame["participant"]]
        rows = [fold.train.participants.index(label) for label in labels]
        loss -= np.log(share[rows, frame["choice"]]).sum()
        n += len(frame)
    assert ladder.table["nll"][0] == pytest.approx(loss / n)


def test_equations_are_those_of_a_fit_without_the_fold(fit, trials, ladder):
    loss, n = 0.0, 0
    for fold in make_folds(fit.trials):
        kept = trials.iloc[fold.train.rows]
        other = spice_fit(kept, **COLUMNS, model="history")
        probability = predict_choices(other, trials)["probability"].to_numpy()[fit.trials.rows[fold.row]]
        loss -= np.log(probability).sum()
        n += len(fold.row)
    assert ladder.table.set_index("rung").loc["equations", "nll"] == pytest.approx(loss / n)


def test_people_who_are_left_out_are_predicted_by_the_population(fit, trials):
    found = spice_ladder(fit, over="people", folds=2, rungs=[*QUICK, "equations"])
    fold = make_folds(fit.trials, "people", 2)[0]
    other = spice_fit(trials.iloc[fold.train.rows], **COLUMNS, model="history")
    test = trials.iloc[fold.test.rows]
    probability = predict_choices(other, test, unseen="population")["probability"].dropna()
    own = found.people[(found.people["rung"] == "equations") & found.people["participant"].isin(fold.test.participants)]
    assert np.average(own["nll"], weights=own["n_choices"]) == pytest.approx(-np.log(probability).mean())
    nll = found.table.set_index("rung")["nll"]
    assert nll["equations"] < nll["shares"] - 0.1
    assert found.table.set_index("rung").loc["shares", "n_free"] == 12 * 2


def test_order_and_names_of_people_and_blocks_do_not_matter(fit, trials, ladder):
    names = {label: f"x{label}" for label in trials["person"].unique()}
    changed = trials.assign(person=trials["person"].map(names), block=trials["block"].str.replace("b", "block "))
    order = np.random.default_rng(1).permutation(24)
    parts = dict(list(changed.groupby("person")))
    mixed = pd.concat([parts[sorted(parts)[k]] for k in order])
    other = spice_ladder(spice_fit(mixed, **COLUMNS, model="history"), QUICK)
    pd.testing.assert_frame_equal(
        other.table[["rung", "nll", "accuracy"]], ladder.table.iloc[:3][["rung", "nll", "accuracy"]]
    )


def test_the_same_seed_gives_the_same_numbers(fit, ladder):
    again = spice_ladder(fit, "gru")
    assert again.table["nll"].tolist() == ladder.table["nll"].tolist()[-1:]
    assert np.isnan(again.table["difference"]).all()
    other = spice_ladder(fit, "gru", seed=1)
    assert other.table["nll"].tolist() != again.table["nll"].tolist()
    two = spice_ladder(fit, "gru", members=2)
    assert two.table["n_free"].tolist() == [2 * again.table["n_free"][0]]


def test_one_block_each(trials):
    fit = spice_fit(trials[trials["block"] == "b1"], **COLUMNS, model="history")
    found = spice_ladder(fit)
    assert found.settings["folds"] == 1
    # 60 trials with 4 missing choices, of which 55 follow one
    assert found.settings["n_choices"] == 24 * 11
    assert np.isfinite(found.table["nll"]).all()


def test_a_network_and_its_equations_are_fitted_anew(spice):
    found = spice.ladder(["shares", "equations", "network"], folds=2)
    assert found.table["rung"].tolist() == ["shares", "equations", "network"]
    # the second trial follows none with a choice, and four have none
    assert found.settings["n_choices"] == 4 * 2 * 39 - 4
    losses = {"equations": 0.0, "rnn": 0.0}
    for fold in make_folds(spice.trials, n_folds=2):
        other = refit_without(spice, fold.train)
        assert other.model.settings == spice.model.settings
        assert other.coefficients.info["model"] == "rescorla_wagner"
        for by in losses:
            probability = predict_choices(other, fold.test, by=by)["probability"].to_numpy()
            losses[by] -= np.log(probability[fold.test.rows[fold.held]]).sum()
    nll = found.table.set_index("rung")["nll"] * found.settings["n_choices"]
    assert nll["equations"] == pytest.approx(losses["equations"])
    assert nll["network"] == pytest.approx(losses["rnn"])


def test_a_network_for_people_whom_it_does_not_know(spice):
    found = spice_ladder(spice, ["equations", "network"], over="people", folds=2)
    assert np.isfinite(found.table["nll"]).all()
    assert found.settings["n_participants"] == 4


def test_complete_feedback():
    rng = np.random.default_rng(0)
    shown = rng.integers(0, 2, (12, 2, 40, 2)).astype(float)
    rows = []
    for person in range(12):
        for block in range(2):
            last = np.zeros(2)
            for trial in range(40):
                p = 1 / (1 + np.exp(-3.0 * (last[1] - last[0])))
                choice, last = int(rng.random() < p), shown[person, block, trial]
                rows.append((person, block, choice, *last))
    frame = pd.DataFrame(rows, columns=["participant", "block", "choice", "left", "right"])
    fit = spice_fit(frame, block="block", reward=["left", "right"], model="history")
    nll = spice_ladder(fit, [*QUICK, "equations"]).table.set_index("rung")["nll"]
    assert (nll.drop("shares") < nll["shares"] - 0.1).all()


def test_wrong_settings_are_refused(fit, spice):
    for rungs in ("rnn", ["shares", "oracle"], []):
        with pytest.raises(ConfigError, match="no such rung"):
            spice_ladder(fit, rungs)
    with pytest.raises(ConfigError, match="unknown `over`"):
        spice_ladder(fit, over="trials")
    with pytest.raises(ConfigError, match="folds"):
        spice_ladder(fit, folds=1)
    for members in (0, 4):
        with pytest.raises(ConfigError, match="members"):
            spice_ladder(fit, members=members)
    with pytest.raises(ConfigError, match="seed"):
        spice_ladder(fit, seed=-1)
    with pytest.raises(DataError, match="fewer people than folds"):
        spice_ladder(spice, "shares", over="people", folds=5)


def test_a_rung_without_a_probability_is_an_error(fit, monkeypatch):
    def broken(*_):
        return {**rungs_of(fit), "shares": lambda fold: Predicted(np.full((len(fold.held), 3), np.nan), 0)}

    monkeypatch.setattr(module, "rungs_of", broken)
    with pytest.raises(NumericalError, match="'shares' gives no probability"):
        spice_ladder(fit, "shares")


def test_a_rung_that_rules_out_what_happened_is_infinitely_bad_and_says_so(fit, monkeypatch):
    def certain(*_):
        def rung(fold):
            return Predicted(np.tile([1.0, 0.0, 0.0], (len(fold.held), 1)), 0)

        return {**rungs_of(fit), "equations": rung}

    monkeypatch.setattr(module, "rungs_of", certain)
    found = spice_ladder(fit, ["shares", "equations"])
    assert found.table["nll"].tolist()[1] == np.inf
    assert found.table["least_probability"].tolist()[1] == 0
    assert found.table["difference"].tolist() == [-np.inf, 0]
    assert found.share_predicted == -np.inf or np.isnan(found.share_predicted)
    assert "inf" in repr(found)
    assert len(found.plot().axes[0].get_yticks()) == 1


def test_progress_is_told(fit):
    said = []
    spice_ladder(fit, ["shares", "lags"], progress=lambda *news: said.append(news))
    assert said[0] == ("ladder", 0, 6, "shares, fold 1")
    assert said[-1] == ("ladder", 6, 6, "")


def test_how_it_shows_itself(ladder):
    text = repr(ladder)
    assert len(text.splitlines()) <= 12
    assert f"equations predict {100 * ladder.share_predicted:.0f} % of the predictable" in text
    html = ladder._repr_html_()
    assert html.startswith("<div><strong>LadderResult")
    assert "mixed_logit" in html
    (axes,) = ladder.plot().axes
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == [
        "choice shares",
        "last five choices and rewards",
    ]
    same = pickle.loads(pickle.dumps(ladder))
    pd.testing.assert_frame_equal(same.table, ladder.table)
    copy = ladder.tidy()
    copy["nll"] = 0.0
    assert (ladder.table["nll"] > 0).all()


def test_response_times_are_refused(spice, monkeypatch):
    monkeypatch.setattr(type(spice.model.network), "needs_times", True)
    with pytest.raises(ConfigError, match="response times"):
        spice_ladder(spice)
