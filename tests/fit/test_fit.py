"""spice_fit: one call from trials to tables, with every argument checked before work begins."""

import math

import numpy as np
import pandas as pd
import pytest

import spicestat
import spicestat.fit.estimator as estimator_module
from spicestat.errors import ColumnError, ConfigError, ExclusionWarning, InputError, StorageError, SuspiciousDataWarning
from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.models.base import BaseRNN
from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, PRECODED, LearningRateRNN
from spicestat.simulate import simulate_cohort
from spicestat.studies.compare import spice_compare
from spicestat.trials.reading import read_trials

# a handful of choices does not identify everybody; the tests that are about this catch the warning
# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings(
    "ignore::spicestat.errors.ConvergenceWarning", "ignore::spicestat.errors.ContradictionWarning"
)


def fit_of(table, **options):
    return spice_fit(table, **({"block": "block", "model": "rescorla_wagner", "epochs": 2} | options))


@pytest.fixture(scope="module")
def few_trials():
    """Three participants with three blocks of 8 trials, where it does not matter what is found."""
    return simulate_cohort(3, 24, n_blocks=3, seed=1).trials


# --- tables ---------------------------------------------------------------------------------------------------------


def test_glance_is_consistent(tiny_fit, small_data):
    row = tiny_fit.glance().iloc[0]
    assert (row["n_participants"], row["n_excluded"], row["n_actions"]) == (3, 0, 2)
    assert row["nobs"] == int(small_data.mask.sum())
    assert row["n_coefficients"] == int(tiny_fit.tidy()["std_error"].notna().sum())
    assert row["aic"] == pytest.approx(2 * row["n_coefficients"] - 2 * row["log_lik"])
    # three participants of 57 choices, as spice_compare() has it
    assert row["bic"] == pytest.approx(row["n_coefficients"] * math.log(57) - 2 * row["log_lik"])
    compared = spice_compare({"one": tiny_fit, "other": tiny_fit}).table
    assert compared["bic"].tolist() == pytest.approx([row["bic"]] * 2)
    assert row["nll_refit"] == pytest.approx(-row["log_lik"] / row["nobs"])
    assert row["nll_refit"] <= row["nll_equations"] + 1e-9
    assert (row["epochs"], row["stopped"]) == (5, "epochs")
    assert row["share_unidentified"] == tiny_fit.coefficients.share_unidentified
    assert row["converged"]
    assert 0 <= row["share_guessing"] < 0.5


def test_tidy_is_a_copy(tiny_fit):
    copy = tiny_fit.tidy()
    copy["estimate"] = 0.0
    assert (tiny_fit.tidy()["estimate"] != 0).any()


def test_equations_as_a_table(tiny_fit):
    frame = tiny_fit.equations_frame()
    assert list(frame.columns) == ["participant", "module", "equation"]
    assert frame["participant"].unique().tolist() == ["p1", "p2", "p3"]
    assert frame.groupby("participant").size().tolist() == [4, 4, 4]


def test_scores_have_one_row_per_model(tiny_fit):
    assert tiny_fit.scores["model"].tolist() == ["rnn", "equations", "refit", "shares", "guessing"]
    assert (tiny_fit.scores["nll"] > 0).all()
    assert (tiny_fit.scores["n_trials"] == 171).all()


def test_repr_is_short(tiny_fit):
    lines = repr(tiny_fit).splitlines()
    assert lines[0].startswith("SpiceFit: choice, 3 participants, 171 choices")
    assert len(lines) <= 25 and max(map(len, lines)) <= 100


def test_people_are_in_the_order_of_the_participants(tiny_fit, small_cohort):
    pd.testing.assert_frame_equal(tiny_fit.people, small_cohort.people)


def test_names_of_the_package_are_these():
    assert spicestat.spice_fit is spice_fit


# --- data of all kinds ----------------------------------------------------------------------------------------------


def test_a_trial_table_gives_the_same_as_its_source_and_a_fit_is_reproducible(tiny_fit, small_trials):
    again = spice_fit(small_trials, model="choice", epochs=5)
    pd.testing.assert_frame_equal(again.tidy(), tiny_fit.tidy())


def test_arguments_about_columns_do_not_go_with_a_trial_table(small_trials):
    """They would be ignored without a word."""
    with pytest.raises(ConfigError):
        spice_fit(small_trials, model="choice", epochs=1, reward_scaling="minmax")


def test_order_of_rows_does_not_matter(tiny_fit, small_cohort):
    shuffled = small_cohort.trials.sample(frac=1, random_state=1)
    again = spice_fit(shuffled, block="block", trial="trial", people=small_cohort.people, model="choice", epochs=5)
    pd.testing.assert_frame_equal(again.tidy(), tiny_fit.tidy())


def test_column_names_are_arguments(tiny_fit, small_cohort):
    renamed = small_cohort.trials.rename(
        columns={"participant": "subject", "choice": "key", "reward": "points", "block": "run"}
    ).drop(columns="trial")
    again = spice_fit(
        renamed, participant="subject", choice="key", reward="points", block="run", model="choice", epochs=5
    )
    np.testing.assert_array_equal(again.tidy()["estimate"], tiny_fit.tidy()["estimate"])


@pytest.mark.parametrize("model", list(PRECODED))
def test_every_precoded_model_fits(model, few_trials):
    if PRECODED[model][0].needs_times:
        seconds = np.random.default_rng(1).gamma(4.0, 0.15, size=len(few_trials)) + 0.2
        fit = fit_of(few_trials.assign(rt=seconds), model=model, rt="rt")
    else:
        fit = fit_of(few_trials, model=model)
    assert fit.glance()["model"].item() == model
    assert np.isfinite(fit.scores["nll"]).all()


@pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")
def test_response_times_need_a_model_that_uses_them(few_trials):
    timed = few_trials.assign(rt=0.5)
    with pytest.raises(ConfigError, match=r"'choice' has no use for response times.*'drift_diffusion'"):
        fit_of(timed, model="choice", rt="rt")
    with pytest.raises(ConfigError, match="needs response times"):
        fit_of(timed, model="drift_diffusion")
    table = read_trials(timed, block="block", rt="rt")  # one table for several models
    plain = spice_fit(table, model="choice", epochs=1)
    np.testing.assert_array_equal(plain.trials.times, 0.5)


def test_three_actions():
    cohort = simulate_cohort(3, 30, n_blocks=3, n_actions=3, seed=2)
    fit = fit_of(cohort.trials)
    assert fit.glance()["n_actions"].item() == 3
    assert fit.glance()["nll_refit"].item() < math.log(3)
    p_rnn, p_spice = fit.estimator.predict(spicestat.trials.sequences.SequenceDataset.from_trials(fit.trials).xs)
    assert p_rnn.shape == p_spice.shape == (9, 9, 3)


@pytest.mark.parametrize("labels", [[30, 10, 20], ["c", "a", "b"]])
def test_ids_of_any_type(labels, few_trials):
    column = few_trials["participant"].map(dict(zip(["p1", "p2", "p3"], labels, strict=True)))
    fit = fit_of(few_trials.assign(participant=column))
    assert fit.coefficients.participants == tuple(sorted(labels))


def test_relabelling_participants_and_actions_changes_nothing(small_cohort):
    """The refit depends on the choices only, as long as the same structure is found."""
    table = small_cohort.trials
    base = fit_of(table, model="rescorla_wagner")
    other = fit_of(table.assign(choice=table["choice"].map({1: "z", 2: "a"})), model="rescorla_wagner")
    same = (base.tidy()["selected"] == other.tidy()["selected"]).all()
    change = abs(other.glance()["nll_refit"].item() - base.glance()["nll_refit"].item())
    assert change < (1e-4 if same else 0.02)


def test_missing_rewards_and_choices(few_trials):
    rng = np.random.default_rng(0)
    table = few_trials.astype({"choice": "float64", "reward": "float64"})
    table.loc[rng.random(len(table)) < 0.15, "reward"] = np.nan
    table.loc[rng.random(len(table)) < 0.1, "choice"] = np.nan
    fit = fit_of(table)
    assert np.isfinite(fit.scores["nll"]).all()
    assert fit.tidy()["estimate"].notna().all()
    assert fit.glance()["nobs"].item() < 63


def test_excluded_participants_are_counted(few_trials):
    stuck = few_trials.query("participant == 'p1'").assign(participant="p0", choice=1)
    with pytest.warns(ExclusionWarning, match="p0"):
        fit = fit_of(pd.concat([stuck, few_trials]))
    assert fit.glance()["n_excluded"].item() == 1
    assert fit.coefficients.participants == ("p1", "p2", "p3")


def test_one_participant_only(few_trials):
    fit = fit_of(few_trials.query("participant == 'p2'"))
    assert fit.coefficients.participants == ("p2",)
    assert fit.coefficients.covariance.shape[0] == 1


def test_participants_whose_blocks_are_too_short_are_named(few_trials):
    table = few_trials.copy()
    own = table["participant"] == "p3"
    table.loc[own, "block"] = np.arange(own.sum())
    with pytest.warns(ExclusionWarning, match="p3 made no choice after the first trial of a block"):
        fit = fit_of(table)
    assert fit.glance()["n_excluded"].item() == 1
    assert fit.coefficients.participants == ("p1", "p2")


def test_counterfactual_rewards(few_trials):
    table = few_trials.assign(left=0.0, right=1.0)
    fit = fit_of(table, reward=["left", "right"], model="choice")
    assert np.isfinite(fit.scores["nll"]).all()


def test_a_custom_model_gets_its_name(few_trials):
    class Mine(LearningRateRNN):
        pass

    fit = fit_of(few_trials, model=(Mine, LEARNING_RATE_RNN_CONFIG))
    assert fit.glance()["model"].item() == "Mine"
    assert isinstance(fit.model.network, BaseRNN)


def test_people_with_little_data_are_flagged_and_not_dropped(few_trials):
    short = few_trials.query("participant != 'p3' or (block == 1 and trial <= 3)").copy()
    if short.query("participant == 'p3'")["choice"].nunique() < 2:
        short.loc[short.query("participant == 'p3'").index[-1], "choice"] = (
            3 - short.query("participant == 'p3'")["choice"].iloc[0]
        )
    fit = fit_of(short, model="choice")
    own = fit.tidy().query("participant == 'p3'")
    assert len(own)
    assert own["at_bound"].any() or not own["converged"].any()
    assert fit.coefficients.share_unidentified >= 1 / 3


# --- arguments ------------------------------------------------------------------------------------------------------

BAD = [
    {"model": "x"},
    {"model": 3},
    {"model": ["rescorla_wagner"]},
    {"model": (LearningRateRNN,)},
    {"model": (int, LEARNING_RATE_RNN_CONFIG)},
    {"model": (LearningRateRNN, "config")},
    {"structure": "everybody"},
    {"criterion": "dic"},
    {"degree": 0},
    {"degree": 1.5},
    {"threshold": -0.1},
    {"threshold": float("nan")},
    {"epochs": 0},
    {"epochs": 1.5},
    {"epochs": "many"},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"learning_rate": float("inf")},
    {"hidden_size": 0},
    {"hidden_size": 2.5},
    {"embedding_size": -1},
    {"embedding_size": 0},
    {"dropout": 1.0},
    {"dropout": -0.1},
    {"dropout": None},
    {"n_members": 0},
    {"seed": None},
    {"seed": 1.5},
    {"seed": "lucky"},
    {"device": "abacus"},
    {"reward_scaling": "zscore"},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: " ".join(f"{key}={value}"[:30] for key, value in bad.items()))
def test_every_argument_is_checked_before_work_begins(bad, few_trials, monkeypatch):
    def trained(*_args, **_options):
        pytest.fail("the network was trained before the arguments were checked")

    monkeypatch.setattr(estimator_module, "train", trained)
    with pytest.raises(InputError):
        fit_of(few_trials, **bad)


@pytest.mark.parametrize("role", ["participant", "choice", "reward", "block", "trial", "experiment"])
def test_columns_that_do_not_exist_are_named(role, few_trials):
    with pytest.raises(ColumnError, match="no_such_column"):
        fit_of(few_trials, **{role: "no_such_column"})


@pytest.mark.parametrize("unknown", ["l2", "lr", "random_state"])
def test_unknown_arguments_are_refused(unknown, few_trials):
    with pytest.raises(TypeError):
        fit_of(few_trials, **{unknown: 1})


@pytest.fixture(scope="module")
def base(few_trials):
    return fit_of(few_trials, model="learning_rate")


@pytest.mark.parametrize(
    "change",
    [{"structure": "participant"}, {"degree": 2}, {"n_members": 2}, {"seed": 1}, {"dropout": 0.5}, {"epochs": 3}],
)
def test_arguments_have_an_effect(change, base, few_trials):
    other = fit_of(few_trials, model="learning_rate", **change)
    same = base.coefficients.terms == other.coefficients.terms and np.array_equal(
        base.model.sparse.coefficients, other.model.sparse.coefficients
    )
    assert not same


def test_stages_are_reported_in_order(few_trials):
    calls = []
    fit_of(few_trials, model="rescorla_wagner", progress=lambda *call: calls.append(call))
    assert list(dict.fromkeys(stage for stage, *_ in calls))[:2] == ["rnn", "equations"]


@pytest.mark.parametrize("structure", ["population", "participant"])
def test_the_search_reports_each_move(few_trials, structure):
    """A round may take minutes with a slow model, so that one report a round would leave no estimate."""
    calls = []
    fit_of(few_trials, structure=structure, progress=lambda *call: calls.append(call))
    done, totals, messages = zip(*(call[1:] for call in calls if call[0] == "equations"), strict=True)
    assert len(set(totals)) == 1
    assert done[:3] == (0, 1, 2)
    assert max(done[:-1]) < done[-1] == totals[0]
    assert messages[-1].endswith("found")


@pytest.mark.parametrize("stage", ["rnn", "equations", "refit"])
def test_ctrl_c_at_any_stage_gives_no_fit(few_trials, stage):
    def progress(at, *_):
        if at == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_of(few_trials, model="rescorla_wagner", epochs=3, progress=progress)


def test_a_block_that_takes_hours_is_announced(few_trials, monkeypatch):
    monkeypatch.setattr("spicestat.fit.estimator._LONG_BLOCK", 5)
    with pytest.warns(SuspiciousDataWarning, match=r"longest block has 7 trials.*2 epochs.*column of blocks"):
        fit_of(few_trials)


def test_the_same_call_goes_on_from_its_checkpoint(few_trials, tmp_path):
    """The README says so: after Ctrl-C, the same call gives the numbers of one that was never interrupted."""

    def progress(stage, done, _total, _message):
        if stage == "rnn" and done == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "checkpoint"
    settings = {"model": "rescorla_wagner", "epochs": 6}
    with pytest.raises(KeyboardInterrupt):
        fit_of(few_trials, checkpoint=folder, progress=progress, **settings)
    resumed = fit_of(few_trials, checkpoint=folder, **settings)
    pd.testing.assert_frame_equal(resumed.tidy(), fit_of(few_trials, **settings).tidy(), check_exact=True)
    # where the network's training was kept is no part of the fit
    saved = load_fit(resumed.save(tmp_path / "fit"))
    assert saved.estimator.checkpoint is None
    assert str(folder) not in (tmp_path / "fit" / "fit.json").read_text()
    with pytest.raises(StorageError, match="another training run.*seed=1.*seed=0"):
        fit_of(few_trials, checkpoint=folder, seed=1, **settings)


def test_warnings_point_at_the_line_that_asked_for_the_fit():
    """Not at a line of spicestat, however deep the warning comes from."""
    trials = simulate_cohort(3, 30, n_blocks=1, seed=1).trials
    # the first participant has a single trial
    with pytest.warns(ExclusionWarning, match="participant") as caught:
        spice_fit(trials.drop(index=range(1, 30)), model="rescorla_wagner", epochs=1)
    assert [warning.filename for warning in caught] == [__file__] * len(caught)
