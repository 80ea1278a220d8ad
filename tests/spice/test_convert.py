"""convert_dataset puts a table of trials into SPICE's layout and keeps missing values missing."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from spicestat.errors import ColumnError, ConfigError, DataError, ExclusionWarning, StorageError
from spicestat.spice.convert import convert_dataset
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

NAN = float("nan")


def table(**columns):
    """Two participants with two blocks; the second one's second block is shorter."""
    base = {
        "session": ["b"] * 6 + ["a"] * 5,
        "block": [3, 3, 3, 5, 5, 5, 3, 3, 3, 5, 5],
        "choice": [1, 2, 1, 2, 2, 1, 1, 2, 1, 2, 1],
        "reward": [1.0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1],
    }
    return pd.DataFrame(base | columns)


def features(dataset):
    return dataset.xs.nan_to_num(-9).tolist()


# --- the layout -----------------------------------------------------------------------------------------------------


def test_columns_stand_where_the_models_expect_them():
    dataset, sessions, _, _ = convert_dataset(table())
    assert dataset.xs.shape == (4, 3, 7)
    assert dataset.ys.shape == (4, 3, 2)
    # participant a comes first; its block 5 has two trials
    assert features(dataset)[1] == [[0, 1, -9, 1, 1, 0, 0], [1, 0, 1, -9, 1, 0, 0], [-9, -9, -9, -9, 1, 0, 0]]
    assert dataset.ys[1].nan_to_num(-9).tolist() == [[1, 0], [-9, -9], [-9, -9]]
    assert len(sessions) == 4


def test_ids_have_a_map():
    """SPICE makes a map of participants and drops it."""
    dataset, *_ = convert_dataset(table())
    assert dataset.participants == ("a", "b")
    assert dataset.actions == (1, 2)
    assert dataset.experiments == (0,)
    assert dataset.xs[:, 0, -1].tolist() == [0, 0, 1, 1]


def test_blocks_are_codes_that_people_share():
    """SPICE maps blocks to 0..1, which are no codes; a single block became 0 / 0."""
    dataset, *_ = convert_dataset(table())
    assert dataset.xs[:, 0, -3].tolist() == [0, 1, 0, 1]
    single, *_ = convert_dataset(table(block=1, session=["b"] * 6 + ["a"] * 5))
    assert single.xs[:, 0, -3].tolist() == [0, 0]
    assert not bool(single.xs[..., -3:].isnan().any())


def test_the_models_read_the_result_like_a_trial_table():
    frame = table(experiment=["x", "x", "x", "y", "y", "y"] + ["x"] * 3 + ["y"] * 2, speed=np.arange(11.0))
    dataset, *_ = convert_dataset(frame, additional_inputs=["speed"])
    mine = SequenceDataset.from_arrays(dataset.xs, dataset.ys)
    theirs = SequenceDataset.from_trials(
        read_trials(frame, participant="session", block="block", experiment="experiment", inputs=["speed"])
    )
    # the last trial of a block, which predicts nothing, is in the arrays only
    assert mine.n_steps == theirs.n_steps + 1
    assert torch.equal(mine.mask[:, :-1], theirs.mask)
    assert torch.equal(mine.targets[:, :-1], theirs.targets)
    assert torch.equal(mine.participant, theirs.participant)
    assert torch.equal(mine.experiment, theirs.experiment)
    for name in ("actions", "rewards", "inputs"):
        one, other = getattr(mine, name)[:, :-1], getattr(theirs, name)
        assert torch.equal(one[theirs.valid].nan_to_num(-9), other[theirs.valid].nan_to_num(-9)), name


def test_sessions_hold_the_trials_without_padding():
    _, sessions, _, _ = convert_dataset(table())
    assert [session.n_trials for session in sessions] == [3, 2, 3, 3]
    assert sessions[1].choices.tolist() == [1, 0]
    assert np.nan_to_num(sessions[1].rewards, nan=-9).tolist() == [[-9, 1], [1, -9]]
    assert [session.session.tolist() for session in sessions] == [[0, 0, 0], [0, 0], [1, 1, 1], [1, 1, 1]]


def test_the_table_comes_back_as_it_was_read():
    """SPICE returns it with missing values as -1 and choices renumbered."""
    frame = table(reward=[1.0, NAN] * 5 + [0.0])
    before = frame.copy()
    *_, original, _ = convert_dataset(frame)
    pd.testing.assert_frame_equal(original, before)
    pd.testing.assert_frame_equal(frame, before)
    assert original is not frame


def test_files_are_read(tmp_path):
    table().to_csv(tmp_path / "trials.csv", index=False)
    dataset, *_ = convert_dataset(str(tmp_path / "trials.csv"))
    assert features(dataset) == features(convert_dataset(table())[0])
    with pytest.raises(StorageError, match="no file"):
        convert_dataset(str(tmp_path / "nothing.csv"))


def test_windows_are_cut_from_the_dataset_only():
    dataset, sessions, _, dynamics = convert_dataset(table(), sequence_length=2)
    assert dataset.xs.shape == (7, 2, 7)
    assert dataset.participants == ("a", "b")
    assert len(sessions) == 4
    assert dynamics.probs_choice.shape == (4, 3, 2)


def test_rows_of_a_session_may_be_apart():
    frame = table().assign(row=range(11)).sort_values("row", key=lambda row: row % 3, kind="stable")
    dataset, *_ = convert_dataset(frame.drop(columns="row"))
    assert dataset.xs.shape == (4, 3, 7)
    mine = [session.choices.tolist() for session in convert_dataset(frame)[1]]
    assert mine[0] == [0, 1, 0]


def test_the_device_is_handed_on():
    assert convert_dataset(table(), device="cpu")[0].device.type == "cpu"
    with pytest.raises(ConfigError, match="device"):
        convert_dataset(table(), device="abacus")


# --- missing values -------------------------------------------------------------------------------------------------


def test_a_missing_reward_does_not_move_the_others():
    """SPICE wrote -1 before it mapped the range to 0..1, so that one missing reward turned 0 and 1 into .5 and 1."""
    dataset, *_ = convert_dataset(table(reward=[1.0, NAN, 1, 1, 0, 0, 0, 1, 0, 1, 1]))
    rewards = dataset.xs[..., 2:4]
    assert set(rewards[~rewards.isnan()].tolist()) == {0.0, 1.0}
    assert int((~rewards.isnan()).sum()) == 10


@pytest.mark.parametrize("missing", [NAN, -1])
def test_a_missed_trial_has_no_action(missing):
    """SPICE gave it the last action: np.eye(n)[-1]."""
    choice = [1, missing, 1, 2, 2, 1, 1, 2, 1, 2, 1]
    dataset, sessions, _, _ = convert_dataset(table(choice=choice))
    assert dataset.actions == (1, 2)
    assert features(dataset)[2][1] == [0, 0, -9, -9, 0, 0, 1]
    assert bool(dataset.ys[2, 0].isnan().all())
    assert sessions[2].choices.tolist() == [0, -1, 0]
    data = SequenceDataset.from_arrays(dataset.xs, dataset.ys)
    assert bool(data.valid[2, 1])
    assert data.mask[2].tolist() == [False, True, False]


def test_minus_one_may_be_one_of_two_actions():
    dataset, *_ = convert_dataset(table(choice=[-1, 1, -1, 1, 1, -1, -1, 1, -1, 1, -1]))
    assert dataset.actions == (-1, 1)
    assert not bool((dataset.xs[..., :2].nan_to_num(1).sum(dim=-1) == 0).any())


def test_participants_without_information_are_left_out_and_counted():
    with pytest.warns(ExclusionWarning, match="same choice"):
        dataset, sessions, frame, dynamics = convert_dataset(table(choice=[1, 2, 1, 2, 2, 1] + [1] * 5))
    assert dataset.participants == ("b",)
    assert dataset.record["excluded"] == [{"participant": "a", "reason": "made the same choice throughout"}]
    assert (len(dataset), len(sessions), len(frame), len(dynamics.probs_choice)) == (2, 2, 11, 2)


# --- rewards --------------------------------------------------------------------------------------------------------


def test_rewards_are_mapped_to_zero_and_one():
    dataset, *_ = convert_dataset(table(reward=[-10, 0, 10, 0, 0, 0, 0, 10, 0, -10, 5]))
    rewards = dataset.xs[..., 2:4]
    assert set(rewards[~rewards.isnan()].tolist()) == {0.0, 0.5, 0.75, 1.0}
    assert dataset.record["reward_scaling"] == {"method": "minmax", "min": -10.0, "max": 10.0}


def test_equal_rewards_stay_as_they_are():
    """SPICE divided 0 by 0."""
    dataset, *_ = convert_dataset(table(reward=1.0))
    rewards = dataset.xs[..., 2:4]
    assert set(rewards[~rewards.isnan()].tolist()) == {1.0}


def test_rewards_of_all_actions():
    """SPICE took every column whose name contains "reward" for one, also reward_value."""
    frame = table().drop(columns="reward")
    frame = frame.assign(reward_0=np.linspace(0, 5, 11), reward_1=np.linspace(10, 0, 11), reward_value=77.0)
    dataset, sessions, _, _ = convert_dataset(frame)
    np.testing.assert_allclose(sessions[2].rewards[0], [0.0, 1.0])
    assert dataset.xs[2, 0, 2:4].tolist() == [0.0, 1.0]
    assert dataset.record["feedback"] == "counterfactual"


def test_actions_with_rewards_count_although_never_chosen():
    frame = table().assign(reward_0=0.0, reward_1=1.0, reward_2=0.5).drop(columns="reward")
    dataset, *_ = convert_dataset(frame)
    assert dataset.actions == (1, 2, 3)
    assert dataset.xs.shape[-1] == 9


def test_more_actions_than_rewards_are_an_error():
    frame = table(choice=[1, 2, 3] * 3 + [1, 2]).assign(reward_0=0.0, reward_1=1.0).drop(columns="reward")
    with pytest.raises(ConfigError, match="2 columns for 3 actions"):
        convert_dataset(frame)


# --- columns --------------------------------------------------------------------------------------------------------


def test_block_and_experiment_may_be_absent_under_their_default_names():
    dataset, *_ = convert_dataset(table().drop(columns="block"))
    assert dataset.xs.shape == (2, 6, 7)
    assert dataset.xs[..., -3:-1].abs().max() == 0


@pytest.mark.parametrize("role", ["df_participant_id", "df_block", "df_experiment_id", "df_choice", "df_reward"])
def test_a_named_column_must_be_there(role):
    with pytest.raises(ColumnError, match="nowhere"):
        convert_dataset(table(), **{role: "nowhere"})


@pytest.mark.parametrize("column", ["session", "choice", "reward"])
def test_the_main_columns_must_be_there(column):
    with pytest.raises(ColumnError, match=column):
        convert_dataset(table().drop(columns=column))


def test_columns_may_have_other_names():
    names = {"session": "subject", "block": "run", "choice": "key", "reward": "points"}
    frame = table().rename(columns=names)
    dataset, *_ = convert_dataset(
        frame, df_participant_id="subject", df_block="run", df_choice="key", df_reward="points"
    )
    assert features(dataset) == features(convert_dataset(table())[0])


def test_additional_inputs_stand_before_the_ids():
    frame = table(trial=range(11), speed=[NAN, *np.linspace(0, 1, 10)])
    names = ["speed", "trial"]
    dataset, *_ = convert_dataset(frame, additional_inputs=names)
    assert dataset.xs.shape == (4, 3, 9)
    assert dataset.xs[2, :, 5].tolist() == [0, 1, 2]
    assert math.isnan(dataset.xs[2, 0, 4])
    assert dataset.record["n_missing_inputs"] == {"speed": 1, "trial": 0}
    assert names == ["speed", "trial"]


def test_unknown_inputs_are_an_error():
    """SPICE warned, left them out, and changed the caller's list."""
    with pytest.raises(ColumnError, match="speed"):
        convert_dataset(table(), additional_inputs=["speed"])
    with pytest.raises(ConfigError, match="list"):
        convert_dataset(table(speed=1.0), additional_inputs="speed")
    with pytest.raises(ColumnError, match="numeric"):
        convert_dataset(table(speed="fast"), additional_inputs=["speed"])


def test_twice_the_same_column_is_an_error():
    frame = pd.concat([table(), table()[["choice"]]], axis=1)
    with pytest.raises(ColumnError, match="two columns"):
        convert_dataset(frame)
    with pytest.raises(ConfigError, match="twice"):
        convert_dataset(table(), df_choice="reward")


def test_no_trials_are_an_error():
    with pytest.raises(DataError, match="no rows"):
        convert_dataset(table().iloc[:0])


# --- dynamics -------------------------------------------------------------------------------------------------------


def test_dynamics_of_simulated_agents_are_read():
    known = {
        f"{name}_{action}": np.arange(11.0) + 100 * action
        for name in ("choice_prob", "action_value", "reward_value", "choice_value")
        for action in (0, 1)
    }
    *_, dynamics = convert_dataset(table(**known))
    probs_choice, values_action, values_reward, values_choice = dynamics
    assert probs_choice.shape == (4, 3, 2)
    # rows 9 and 10 of the file are block 5 of participant a, the second session
    np.testing.assert_array_equal(probs_choice[1], [[9, 109], [10, 110], [NAN, NAN]])
    for values in (values_action, values_reward, values_choice):
        np.testing.assert_array_equal(values, probs_choice)


def test_unknown_dynamics_are_nan():
    *_, dynamics = convert_dataset(table(choice_prob_0=0.25, choice_prob_1=0.75))
    assert np.nanmin(dynamics.probs_choice) == 0.25
    assert np.isnan(dynamics.values_choice).all()
    with pytest.raises(ColumnError, match="choice_prob_1"):
        convert_dataset(table(choice_prob_0=0.25))


@pytest.mark.skipif(not Path("../shared/data/dezfouli2019.csv.gz").exists(), reason="needs the shared data")
def test_real_data():
    dataset, sessions, _, _ = convert_dataset(
        "../shared/data/dezfouli2019.csv.gz", df_participant_id="participant", additional_inputs=["depression"]
    )
    assert len(dataset.participants) == 101
    assert dataset.xs.shape[0] == len(sessions) == 101 * 12
    assert sum(session.n_trials for session in sessions) == 132251
    assert SequenceDataset.from_arrays(dataset.xs, dataset.ys).n_participants == 101
