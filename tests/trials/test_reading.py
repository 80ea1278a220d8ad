"""Trials are checked, coded in a canonical order, and keep their labels."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat._files.sealed import read_sealed
from spicestat.errors import (
    ColumnError,
    ConfigError,
    CovariateError,
    DataError,
    ExclusionWarning,
    StorageError,
    SuspiciousDataWarning,
)
from spicestat.trials.reading import load_trials, read_trials
from spicestat.trials.table import unpack_trials

# random tables often have an action without a reward
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.SuspiciousDataWarning")

DEZFOULI = Path("../shared/data/dezfouli2019.csv.gz")


NAN = np.nan


def small(**columns):
    """Two participants with two blocks of three trials, and any columns replaced or added."""
    base = {
        "participant": ["b"] * 6 + ["a"] * 6,
        "block": [1, 1, 1, 2, 2, 2] * 2,
        "trial": [1, 2, 3] * 4,
        "choice": [1, 2, 1, 2, 2, 1] * 2,
        "reward": [1, 0, 1, 1, 0, 0] * 2,
    }
    return pd.DataFrame(base | columns)


def read(frame, **arguments):
    return read_trials(frame, **({"block": "block", "trial": "trial"} | arguments))


# --- coding ---------------------------------------------------------------------------------------------------------


def test_trials_are_sorted_and_coded():
    trials = read(small())
    assert trials.participants == ("a", "b")
    assert trials.experiments == (0,)
    assert trials.actions == (1, 2)
    assert (trials.n_participants, trials.n_actions) == (2, 2)
    assert list(trials.frame.columns) == [
        "participant",
        "experiment",
        "block",
        "trial",
        "choice",
        "reward_0",
        "reward_1",
    ]
    assert (trials.frame.dtypes[:5] == "int64").all()
    assert (trials.frame.dtypes[5:] == "float64").all()
    assert trials.frame["block"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert trials.frame["trial"].tolist() == [0, 1, 2] * 4
    np.testing.assert_array_equal(trials.frame["reward_0"][:6], [1, np.nan, 1, np.nan, np.nan, 0])
    assert trials.rows.tolist() == [*range(6, 12), *range(6)]
    assert trials.blocks.to_dict("list") == {
        "block": [0, 1, 2, 3],
        "participant": [0, 0, 1, 1],
        "experiment": [0, 0, 0, 0],
        "label": [1, 2, 1, 2],
        "n_trials": [3, 3, 3, 3],
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0], (0, 1)),
        ([10, 9], (9, 10)),
        ([1.0, None], (1,)),
        (["L", "R"], ("L", "R")),
        ([True, False], (False, True)),
        ([0.5, -0.5], (-0.5, 0.5)),
        (pd.Categorical(["no", "yes"], categories=["yes", "unused", "no"]), ("yes", "no")),
        (pd.array([2, 1], dtype="Int64"), (1, 2)),
    ],
)
def test_any_choice_labels(labels, expected):
    choice = pd.Series(labels).iloc[[0, 1, 0, 0, 1, 1] * 2].reset_index(drop=True)
    if len(expected) == 1:  # the missing choice must not make the labels floats
        choice[[0, 6]] = 3
        expected = (1, 3)
    trials = read(small(choice=choice))
    assert trials.actions == expected
    assert [type(label) for label in trials.actions] == [type(label) for label in expected]
    assert trials.record["n_missing_choices"] == choice.isna().sum()


def test_actions_set_the_order_and_may_include_unused_ones():
    trials = read(small(), actions=[3, 2, 1])
    assert trials.actions == (3, 2, 1)
    assert trials.frame["choice"][:3].tolist() == [2, 1, 2]
    assert trials.n_actions == 3


def test_more_actions_and_counterfactual_rewards():
    frame = small(choice=list("xyzzyx") * 2, rx=np.arange(12.0) / 12, ry=1.0, rz=[np.nan] + [0.0] * 11)
    trials = read(frame.drop(columns="reward"), reward=["rx", "ry", "rz"])
    assert trials.n_actions == 3
    np.testing.assert_array_equal(trials.frame["reward_0"], np.roll(np.arange(12.0) / 12, 6))
    assert trials.record["feedback"] == "counterfactual"
    assert trials.frame["reward_2"].isna().sum() == 1
    assert trials.record["n_missing_rewards"] == 0  # the reward that is missing is not the chosen one's


def test_missing_choices_and_rewards_are_kept_and_counted():
    frame = small(choice=[np.nan, 2, 1, 2, 2, 1] + [1, 2] * 3, reward=[1, np.nan, 0] + [1] * 9)
    trials = read(frame)
    assert trials.record["n_missing_choices"] == 1
    assert trials.record["n_missing_rewards"] == 1
    assert trials.record["n_rewards_without_choice"] == 1
    missed = trials.frame[trials.frame["choice"] == -1]
    assert len(trials.frame) == 12
    assert missed[["reward_0", "reward_1"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([2, 10], (2, 10)),
        ([2.0, 10.0], (2, 10)),
        (["10", "9"], ("9", "10")),
        (["1.10", "1.1"], ("1.1", "1.10")),
        (["x", 7], (7, "x")),
        ([("s", 2), ("s", 1)], (("s", 1), ("s", 2))),
        (pd.to_datetime(["2026-02-01", "2026-01-01"]), ("2026-01-01T00:00:00", "2026-02-01T00:00:00")),
    ],
)
def test_participant_ids_of_any_type(ids, expected):
    column = pd.Series([ids[0]] * 6 + [ids[1]] * 6)
    trials = read(small(participant=column))
    assert trials.participants == expected
    assert [type(label) for label in trials.participants] == [type(label) for label in expected]
    assert trials.people["participant"].tolist() == list(expected)


def test_blocks_are_told_apart_by_participant_experiment_and_label():
    frame = pd.concat([small(task="t1"), small(task="t2")])
    trials = read(frame, experiment="task")
    assert trials.experiments == ("t1", "t2")
    assert len(trials.blocks) == 8
    assert trials.frame["block"].is_monotonic_increasing
    assert trials.blocks["experiment"].tolist() == [0, 0, 1, 1] * 2


def test_without_a_block_column_each_participant_and_experiment_is_one_block():
    trials = read_trials(small(task=[1, 1, 1, 2, 2, 2] * 2), experiment="task")
    assert len(trials.blocks) == 4
    assert len(read_trials(small()).blocks) == 2


def test_rows_of_a_block_need_not_be_contiguous_when_trials_are_numbered():
    frame = small()
    pd.testing.assert_frame_equal(read(frame.sort_values("trial")).frame, read(frame).frame)


def test_inputs_are_numeric_columns_under_their_own_names():
    trials = read(small(rt=[0.4] * 11 + [np.nan]), inputs=["rt"])
    assert trials.inputs == ("rt",)
    assert trials.frame["rt"].dtype == np.float64
    assert trials.record["n_missing_inputs"] == {"rt": 1}


def test_the_index_of_the_frame_does_not_matter():
    frame = small().set_index(pd.Index([5] * 12))
    pd.testing.assert_frame_equal(read(frame).frame, read(small()).frame)


def test_reading_does_not_change_the_frame_given():
    frame = small()
    read(frame, reward_scaling="minmax")
    pd.testing.assert_frame_equal(frame, small())


@pytest.mark.parametrize(
    ("typed", "match"), [("Left", r"'Left' \(chosen 1x\), 'left' \(chosen 239x\)"), ("lfet", r"'lfet' \(chosen 1x\)")]
)
@pytest.mark.filterwarnings("error")
def test_mistyped_choices_are_noticed(typed, match):
    labels = np.array(["left", "right"] * 240, dtype=object)
    trials = pd.DataFrame({"participant": np.arange(480) // 12, "choice": labels, "reward": 1.0})
    read_trials(trials)
    labels[6] = typed
    with pytest.warns(SuspiciousDataWarning, match=match):
        assert read_trials(trials.assign(choice=labels)).n_actions == 3
    assert read_trials(trials.assign(choice=labels), actions=["left", "right", typed]).n_actions == 3


# --- rewards --------------------------------------------------------------------------------------------------------


def test_rewards_are_not_scaled_unless_asked():
    rewards = [-1, 5, np.nan] + [3] * 9
    plain = read(small(reward=rewards))
    scaled = read(small(reward=rewards), reward_scaling="minmax")
    assert plain.record["reward_scaling"] == {"method": "none"}
    assert plain.record["reward_range"] == scaled.record["reward_range"] == [-1, 5]
    assert scaled.record["reward_scaling"] == {"method": "minmax", "min": -1, "max": 5}
    columns = ["reward_0", "reward_1"]
    np.testing.assert_allclose(scaled.frame[columns], (plain.frame[columns] + 1) / 6)


def test_a_table_comes_back_in_the_unit_of_the_data():
    frame = small(reward=[0, 50, np.nan, 25] * 3)
    for scaling in (None, "minmax"):
        table = read(frame, reward_scaling=scaling)
        np.testing.assert_allclose(table.to_frame()["reward"], frame["reward"].iloc[table.rows])


# --- covariates -----------------------------------------------------------------------------------------------------


def test_constant_columns_are_covariates_and_varying_ones_are_listed():
    trials = read(small(age=[30] * 6 + [40] * 6, task="bandit", rt=range(12), gap=[1, None] * 6))
    assert trials.covariates == ("age", "task")
    assert trials.people["age"].tolist() == [40, 30]
    assert trials.record["varying"] == ["rt", "gap"]


def test_named_covariates_are_exactly_those():
    assert read(small(age=[30] * 6 + [40] * 6, sex="f"), covariates=["sex"]).covariates == ("sex",)
    assert read(small(age=30), covariates=[]).covariates == ()


def test_a_covariate_that_varies_is_named_with_participant_and_rows():
    frame = small(age=[30] * 6 + [40, 40, 41, 40, 40, 40])
    with pytest.raises(CovariateError, match=r"'age' varies within participant a.*row 7 .*age=40.*row 9 .*age=41"):
        read(frame, covariates=["age"])


def test_people_come_from_a_second_table_whatever_the_type_of_the_ids(tmp_path):
    people = pd.DataFrame({"participant": ["2", "1", "3"], "age": [20, 10, 30]})
    frame = small(participant=[1] * 6 + [2] * 6, age=[10.0] * 6 + [20.0] * 6, sex="f")
    trials = read(frame, people=people)
    assert trials.people.to_dict("list") == {"participant": [1, 2], "age": [10, 20], "sex": ["f", "f"]}
    assert trials.people["age"].dtype == np.int64
    assert trials.record["n_people_unused"] == 1
    people.to_csv(tmp_path / "people.csv", index=False)
    assert read(frame, people=tmp_path / "people.csv", covariates=["age"]).covariates == ("age",)


@pytest.mark.parametrize("twice", [[1, "1"], ["p1", " p1 "], ["Zo\u00eb", "Zoe\u0308"], ["p1", "\ufeffp1"]])
def test_ids_that_say_the_same_are_one_participant_and_a_warning(twice):
    ids = pd.Series([twice[0]] * 6 + [twice[1]] * 6 + ["other"] * 6, dtype=object)
    frame = pd.concat([small(), small().iloc[:6]], ignore_index=True).assign(participant=ids)
    frame["block"] = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 1, 1, 1, 2, 2, 2]
    people = pd.DataFrame({"participant": [twice[1], "other"], "age": [10, 20]})
    with pytest.warns(SuspiciousDataWarning, match="taken for one: "):
        trials = read(frame, people=people)
    assert trials.people["age"].tolist() == (
        [10, 20] if twice[0] == 1 or trials.participants[0] != "other" else [20, 10]
    )
    assert trials.n_participants == 2


def test_participants_without_a_row_get_missing_covariates():
    people = pd.DataFrame({"participant": ["a"], "age": [20]})
    with pytest.warns(ExclusionWarning, match="1 of 2 participants have no row .*: b"):
        trials = read(small(), people=people)
    np.testing.assert_array_equal(trials.people["age"], [20, np.nan])
    assert trials.record["without_people_row"] == ["b"]


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({"participant": ["a", "b", "a"], "age": [1, 2, 3]}, r"one row per participant.*row 1 .*row 3 "),
        ({"participant": ["a", None], "age": [1, 2]}, r"missing values.*row 2 "),
        ({"participant": ["a", "b"], "sex": ["m", "f"]}, "'sex' of participant a differs"),
        ({"participant": ["a", "b"], "choice": [1, 2]}, "'choice' of the people table has another role"),
        ({"participant": ["x", "y"], "age": [1, 2]}, r"no participant.*'x', 'y'.*'a', 'b'"),
    ],
)
def test_people_tables_that_contradict(people, message):
    with pytest.raises(CovariateError, match=message):
        read(small(sex="f"), people=pd.DataFrame(people))


def test_people_tables_need_the_participant_column():
    with pytest.raises(ColumnError, match=r"people table has no column 'participant'.*id, age"):
        read(small(), people=pd.DataFrame({"id": ["a"], "age": [1]}))


def test_an_unknown_covariate_is_named():
    with pytest.raises(ColumnError, match=r"no column 'agee'.*did you mean 'age'"):
        read(small(age=1), covariates=["agee"])


def test_a_covariate_cannot_be_called_participant():
    frame = small(subject=small()["participant"])
    with pytest.raises(CovariateError, match="'participant'"):
        read(frame, participant="subject")
    assert read(frame, participant="subject", covariates=[]).participants == ("a", "b")


# --- response times -------------------------------------------------------------------------------------------------

TIMES = [0.5, 0.6, NAN, 0.8, 0.9, 1.0, 0.4, 0.3, 0.2, 0.7, 0.6, 0.5]


def test_response_times_are_a_column_of_their_own():
    trials = read(small(seconds=TIMES, load=1.5), rt="seconds", inputs=["load"])
    assert list(trials.frame.columns)[-2:] == ["rt", "load"]
    np.testing.assert_array_equal(trials.times, np.roll(TIMES, 6))
    assert trials.record["columns"]["rt"] == "seconds"
    assert trials.record["n_missing_times"] == 1
    assert np.isnan(read(small(seconds=TIMES)).times).all()


def test_times_of_missed_trials_are_not_looked_at():
    trials = read(
        small(choice=[NAN, 2, 1, 2, 2, 1, NAN, 2, 1, 2, 2, 1], rt=[0.0] + [0.5] * 5 + [-1.0] + [0.5] * 5), rt="rt"
    )
    assert np.isnan(trials.times[trials.frame["choice"] < 0]).all()
    assert trials.record["n_missing_times"] == 0


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        ([0.0] + [0.5] * 11, DataError, r"'rt' must be above 0.*row 1 \(rt=0.0\)"),
        ([0.5] * 11 + [-0.1], DataError, r"above 0.*row 12"),
        ([450.0] * 12, DataError, r"'rt' must be in seconds.*450.*divide them by 1000"),
        ([NAN] * 12, DataError, "no trial with a choice has a response time"),
        (["fast"] * 12, ColumnError, "'rt' must be numeric"),
    ],
)
def test_response_times_are_seconds(seconds, error, message):
    with pytest.raises(error, match=message):
        read(small(rt=seconds), rt="rt")


def test_a_very_long_response_time_is_suspicious():
    with pytest.warns(SuspiciousDataWarning, match=r"above 100 seconds: row 3 \(rt=250.0\)"):
        read(small(rt=[0.5, 0.5, 250.0] + [0.5] * 9), rt="rt")


def test_an_input_cannot_take_the_name_of_the_response_time():
    with pytest.raises(ConfigError, match="cannot be called 'rt'"):
        read(small(rt=1.0, seconds=0.5), inputs=["rt"], rt="seconds")
    with pytest.raises(ConfigError, match="used twice"):
        read(small(rt=1.0), inputs=["rt"], rt="rt")
    assert np.isnan(read(small(rt=1.0), inputs=["rt"]).times).all()


def test_response_times_come_back(tmp_path):
    trials = read(small(seconds=TIMES), rt="seconds")
    again = load_trials(trials.save(tmp_path / "trials"))
    same_trials(again, trials)
    np.testing.assert_array_equal(again.times, trials.times)
    np.testing.assert_array_equal(trials.to_frame()["seconds"], trials.times)


def test_older_folders_have_no_response_times(tmp_path):
    folder = read(small()).save(tmp_path / "trials")
    files = read_sealed(folder, "trials")
    manifest = json.loads(files["trials.json"])
    del manifest["record"]["columns"]["rt"]
    again = unpack_trials(files | {"trials.json": json.dumps(manifest).encode()})
    assert np.isnan(again.times).all()
    assert "rt" not in again.to_frame()


# --- participants who cannot be fitted --------------------------------------------------------------------------------


def with_unusable():
    few = pd.DataFrame({"participant": ["few"], "block": 1, "trial": [1], "choice": 1, "reward": 1, "age": 1})
    same = few.assign(participant="a_same", age=2).loc[[0] * 3].assign(trial=[1, 2, 3])
    return pd.concat([small(age=3), few, same], ignore_index=True)


def test_unusable_participants_are_left_out_once_and_recorded():
    with pytest.warns(ExclusionWarning, match="2 of 4 participants") as caught:
        trials = read(with_unusable())
    assert len(caught) == 1
    assert trials.participants == ("a", "b")
    assert trials.record["excluded"] == [
        {"participant": "a_same", "reason": "made the same choice throughout"},
        {"participant": "few", "reason": "has fewer than 2 choices"},
    ]
    assert trials.record["n_rows_read"] - trials.record["n_rows"] == 4
    expected = read(small(age=3))
    pd.testing.assert_frame_equal(trials.frame, expected.frame)
    pd.testing.assert_frame_equal(trials.people, expected.people)
    pd.testing.assert_frame_equal(trials.blocks, expected.blocks)


def test_who_made_the_same_choice_throughout_can_be_kept():
    with (
        pytest.warns(ExclusionWarning, match="1 of 4 participants cannot be fitted and are left out: few has"),
        pytest.warns(
            SuspiciousDataWarning, match="1 of 4 participants made the same choice throughout, and are kept: a_s"
        ),
    ):
        trials = read(with_unusable(), unusable="keep")
    assert trials.participants == ("a", "a_same", "b")
    assert trials.record["constant"] == ["a_same"]
    assert [one["participant"] for one in trials.record["excluded"]] == ["few"]


def test_one_choice_in_each_block_is_nothing_to_keep():
    """Nobody predicts the first choice of a block."""
    firsts = small(age=3).assign(participant="firsts", block=range(12), choice=1)
    with pytest.warns(ExclusionWarning, match="firsts made no choice after the first trial of a block"):
        assert "firsts" not in read(pd.concat([small(age=3), firsts]), unusable="keep").participants


def test_people_on_occasions_are_called_so():
    both = pd.concat(
        [small(drug="no"), small(drug="yes", block=[3] * 12, trial=[1, 2, 3, 4, 5, 6] * 2, choice=[1] * 7 + [2] * 5)]
    )
    with pytest.warns(ExclusionWarning, match="1 of 4 participants on occasions cannot be fitted"):
        read(both, occasion="drug")


def test_unusable_participants_can_be_an_error():
    with pytest.raises(DataError, match=r"a_same made the same choice throughout; few has fewer than 2"):
        read(with_unusable(), unusable="error")


def test_nobody_left_is_an_error():
    with pytest.raises(DataError, match="2 of 2 participants cannot be fitted"):
        read(small(choice=[1] * 6 + [2] * 6))


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "arguments", "error", "message"),
    [
        ({}, {"reward": "rewards"}, ColumnError, r"no column 'rewards'.*did you mean 'reward'"),
        ({}, {"inputs": ["reward"]}, ConfigError, "'reward' is used twice, as reward and as inputs"),
        ({}, {"covariates": ["block"]}, ConfigError, "'block' is used twice, as block and as covariates"),
        ({"choise": 1}, {"choice": "choicee"}, ColumnError, "did you mean 'choice'"),
        ({"reward": ["x"] + [1] * 11}, {}, ColumnError, r"'reward' must be numeric.*row 1 \(reward='x'\)"),
        ({"reward": [1] * 11 + [np.inf]}, {}, ColumnError, r"'reward' must be finite.*row 12 \(reward=inf\)"),
        ({"reward": NAN}, {}, DataError, "no trial with a choice has a reward in column 'reward'"),
        ({"participant": [None] + ["a"] * 11}, {}, DataError, r"'participant' has missing values.*row 1 "),
        ({"block": [1] * 11 + [NAN]}, {}, DataError, r"'block' has missing values.*row 12 \(block=nan\)"),
        ({"task": [1] * 11 + [NAN]}, {"experiment": "task"}, DataError, r"'task' has missing values.*row 12 "),
        ({"trial": [1, 2, NAN] * 4}, {}, ColumnError, r"'trial' has missing values.*row 3 .*and 1 more"),
        ({"trial": ["x", 2, 3] * 4}, {}, ColumnError, r"'trial' must be numeric.*row 1 \(trial='x'\)"),
        ({"trial": [1, 1, 2] * 4}, {}, DataError, r"'trial' numbers two trials.*row 1 .*block=1, trial=1.*row 2 "),
        ({"participant": ["a", "b"] * 6}, {"trial": None}, DataError, r"order.*ambiguous.*row 7 .*block=1\)"),
        ({"participant": ["a", "b"] * 6}, {"trial": None, "block": None}, DataError, r"ambiguous.*row 3 "),
        ({"choice": 1}, {}, DataError, r"'choice' must have at least 2 different choices. Got: 1"),
        ({"choice": NAN}, {}, DataError, r"'choice' must have at least 2.*no choice at all"),
        ({"choice": [1, 2, 3] * 4}, {"actions": [1, 2]}, DataError, r"'choice' has labels.*row 3 \(choice=3\)"),
        ({}, {"actions": [1]}, ConfigError, "at least 2 different labels"),
        ({}, {"actions": [1, 1, 2]}, ConfigError, "at least 2 different labels"),
        ({"r2": 1}, {"reward": ["reward", "r2", "trial2"]}, ColumnError, "no column 'trial2'"),
        ({}, {"reward": ["reward"]}, ConfigError, r"1 columns for 2 actions \(1, 2\)"),
        ({"rt": "slow"}, {"inputs": ["rt"]}, ColumnError, r"'rt' must be numeric.*row 1 \(rt='slow'\)"),
        ({"reward_0": 1}, {"inputs": ["reward_0"]}, ConfigError, "cannot be called 'reward_0'"),
        ({"rt": 1}, {"inputs": "rt"}, ConfigError, r"pass \['rt'\]"),
        ({}, {"reward_scaling": "zscore"}, ConfigError, "'zscore'.*'minmax'"),
        ({"reward": 1}, {"reward_scaling": "minmax"}, DataError, "all equal"),
        ({}, {"unusable": "ignore"}, ConfigError, "'ignore'.*'exclude', 'keep' or 'error'"),
        ({"choice": [[1], [2]] * 6}, {}, ColumnError, "'choice' holds values that cannot be labels"),
    ],
)
def test_bad_input_is_named_with_its_rows(columns, arguments, error, message):
    with pytest.raises(error, match=message):
        read(small(**columns), **arguments)


def test_choices_that_look_continuous_are_refused():
    frame = pd.concat([small()] * 3, ignore_index=True)
    frame["trial"] = range(36)
    frame["choice"] = np.linspace(0, 1, 36)
    with pytest.raises(ColumnError, match="'choice' looks continuous"):
        read(frame)


def test_an_empty_table_and_a_repeated_column():
    with pytest.raises(DataError, match="no rows"):
        read(small().iloc[:0])
    twice = pd.concat([small(), small()[["reward"]]], axis=1)
    with pytest.raises(ColumnError, match="two columns called 'reward'"):
        read(twice)


# --- storage and labels back ------------------------------------------------------------------------------------------


def same_trials(left, right):
    pd.testing.assert_frame_equal(left.frame, right.frame)
    pd.testing.assert_frame_equal(left.blocks, right.blocks)
    pd.testing.assert_frame_equal(left.people, right.people)
    np.testing.assert_array_equal(left.rows, right.rows)
    for name in ("participants", "experiments", "actions", "inputs"):
        assert repr(getattr(left, name)) == repr(getattr(right, name))
    assert left.record == right.record


@pytest.mark.parametrize("ids", [["a", "b"], [1, "x"], [1.5, 2.0], [True, False], ["ä", "日"], [2, 1]])
def test_trials_come_back_from_their_folder(tmp_path, ids):
    column = pd.Series([ids[0]] * 6 + [ids[1]] * 6)
    group = pd.Categorical(["p"] * 6 + ["c"] * 6, categories=["p", "c"])
    trials = read(small(participant=column, age=[1] * 6 + [2] * 6, group=group, rt=1.5), inputs=["rt"])
    same_trials(load_trials(trials.save(tmp_path / "new" / "folder")), trials)


def test_trials_without_covariates_come_back(tmp_path):
    trials = read(small())
    same_trials(load_trials(trials.save(tmp_path)), trials)


def test_unusable_folders_are_storage_errors(tmp_path):
    with pytest.raises(StorageError, match=r"no seal\.json"):
        load_trials(tmp_path)
    folder = read(small()).save(tmp_path / "trials")
    (folder / "people.parquet").unlink()
    with pytest.raises(StorageError, match="is missing"):
        load_trials(folder)
    with pytest.raises(StorageError, match="participants cannot be saved"):
        read(small(participant=pd.Series([("s", 2)] * 6 + [("s", 1)] * 6))).save(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="not a trials folder"):
        read(small()).save(tmp_path / "file")


def test_original_labels_come_back():
    frame = small(task="t", age=[30] * 6 + [40] * 6, rt=1.0, choice=[None, "L", "R", "L", "R", "L"] * 2)
    result = read(frame, experiment="task", inputs=["rt"]).to_frame()
    expected = frame.sort_values(["participant", "block", "trial"], ignore_index=True)
    assert result["trial"].tolist() == [0, 1, 2] * 4
    for name in ("participant", "block", "choice", "task", "age", "rt"):
        assert result[name].fillna("-").tolist() == expected[name].fillna("-").tolist()
    assert result["reward"][1:3].tolist() == [0, 1]


def test_a_column_called_trial_with_another_role_survives():
    frame = small().rename(columns={"block": "trial", "trial": "t"})
    assert read_trials(frame, block="trial", trial="t").to_frame()["trial"].tolist() == [1, 1, 1, 2, 2, 2] * 2


# --- properties -----------------------------------------------------------------------------------------------------


@st.composite
def tables(draw):
    """A valid trial table of 2 or 3 actions with ragged blocks, missed trials and missing rewards."""
    n_actions = draw(st.integers(2, 3))
    rows = []
    for participant in range(draw(st.integers(1, 3))):
        for block in range(draw(st.integers(1, 2))):
            first = [(0, 1.0), (1, 0.0)]  # enough to be usable
            cell = st.tuples(
                st.one_of(st.none(), st.integers(0, n_actions - 1)), st.one_of(st.none(), st.floats(-2, 2, width=16))
            )
            for trial, (choice, reward) in enumerate(first + draw(st.lists(cell, max_size=4))):
                rows.append((participant, block, trial, choice, reward, participant * 10))
    frame = pd.DataFrame(rows, columns=["participant", "block", "trial", "choice", "reward", "age"])
    return frame.astype({"choice": "float64", "reward": "float64"})


@settings(max_examples=40)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(frame, random):
    order = random.sample(range(len(frame)), len(frame))
    left, right = read(frame), read(frame.iloc[order])
    pd.testing.assert_frame_equal(left.frame, right.frame)
    pd.testing.assert_frame_equal(left.people, right.people)
    assert left.rows.tolist() == [order[row] for row in right.rows]


@settings(max_examples=40)
@given(tables(), st.permutations(["left", "right", "up"]), st.permutations(["x", 7, "a"]))
def test_relabelling_changes_labels_only(frame, action_names, person_names):
    renamed = frame.assign(
        choice=frame["choice"].map(dict(enumerate(action_names))),
        participant=frame["participant"].map(dict(enumerate(person_names))).astype(object),
    )
    left, right = read(frame), read(renamed)
    assert left.n_actions == right.n_actions
    to_person = np.array([right.participants.index(person_names[label]) for label in left.participants])
    to_action = np.array([right.actions.index(action_names[label]) for label in left.actions] + [-1])
    original = pd.Series(left.rows).argsort().to_numpy()
    renamed_order = pd.Series(right.rows).argsort().to_numpy()
    a, b = left.frame.iloc[original], right.frame.iloc[renamed_order]
    np.testing.assert_array_equal(to_person[a["participant"]], b["participant"])
    np.testing.assert_array_equal(to_action[a["choice"]], b["choice"])
    np.testing.assert_array_equal(a["trial"], b["trial"])
    for code in range(left.n_actions):
        np.testing.assert_array_equal(a[f"reward_{code}"], b[f"reward_{to_action[code]}"])


@settings(max_examples=25)
@given(tables())
def test_save_and_to_frame_lose_nothing(tmp_path_factory, frame):
    trials = read(frame)
    same_trials(load_trials(trials.save(tmp_path_factory.mktemp("trials"))), trials)
    again = read(trials.to_frame(), actions=trials.actions)
    pd.testing.assert_frame_equal(again.frame, trials.frame)
    pd.testing.assert_frame_equal(again.people, trials.people)
    json.dumps(trials.record, allow_nan=False)


# --- real data ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DEZFOULI.is_file(), reason="the shared data are not here")
def test_real_data():
    trials = read_trials(DEZFOULI, block="block", trial="trial")
    assert (trials.n_participants, len(trials.blocks), len(trials.frame)) == (101, 1212, 132251)
    assert trials.covariates == ("diagnosis", "depression", "mania")
    assert trials.people["diagnosis"].value_counts().to_dict() == {"depression": 34, "healthy": 34, "bipolar": 33}
    assert trials.blocks["n_trials"].agg(["min", "max"]).tolist() == [6, 202]
    assert trials.frame[["reward_0", "reward_1"]].notna().sum().sum() == 132251


def test_blank_text_is_a_missing_choice():
    """R's read.csv() keeps empty cells of a text column as empty text."""
    table = pd.DataFrame({"participant": "a", "choice": ["l", "", "r", " ", "l"], "reward": [1, None, 0, None, 1]})
    trials = read_trials(table)
    assert trials.actions == ("l", "r")
    assert trials.frame["choice"].tolist() == [0, -1, 1, -1, 0]


def test_a_label_that_never_has_a_reward_is_suspicious():
    table = pd.DataFrame({"participant": "a", "choice": ["l", "miss", "r"], "reward": [1, None, 0]})
    with pytest.warns(SuspiciousDataWarning, match="none of the 1 trials with choice 'miss' has a reward"):
        read_trials(table)


def test_some_of_the_trials_are_a_table_of_their_own():
    rows = [(who, block, t % 3, float(t)) for who in "abc" for block in (1, 2) for t in range(4)]
    frame = pd.DataFrame(rows, columns=["participant", "block", "choice", "reward"])
    frame["choice"] = frame["choice"].astype("Int64")
    frame.loc[9, "choice"] = pd.NA
    people = pd.DataFrame({"participant": list("abc"), "age": [20, 30, 40]})
    table = read_trials(frame, block="block", people=people)
    keep = table.frame["participant"].isin([1, 2]).to_numpy() & ~table.frame["block"].eq(2).to_numpy()
    keep[-1] = False
    part = table.select(keep)
    assert part.participants == ("b", "c")
    assert part.people["age"].tolist() == [30, 40]
    assert part.blocks[["participant", "label", "n_trials"]].to_numpy().tolist() == [[0, 2, 4], [1, 1, 4], [1, 2, 3]]
    assert part.rows.tolist() == np.flatnonzero(keep).tolist()
    assert part.record["n_rows"] == 11
    assert part.record["n_missing_choices"] == 0
    assert table.record["n_missing_choices"] == 1
    again = read_trials(frame[keep], block="block", people=people[1:], actions=table.actions)
    pd.testing.assert_frame_equal(part.frame, again.frame)
    pd.testing.assert_frame_equal(part.blocks, again.blocks)
    pd.testing.assert_frame_equal(part.to_frame(), again.to_frame())
