"""Trials and arrays become padded sequences without a change of meaning."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import DataError, ShapeError
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

NAN = float("nan")


def ragged_table():
    """Two participants, blocks of 3, 1 and 4 trials, three actions, a missed trial and a missing reward."""
    return pd.DataFrame(
        {
            "participant": ["a", "a", "a", "a", "b", "b", "b", "b"],
            "block": [1, 1, 1, 2, 1, 1, 1, 1],
            "choice": ["left", "mid", "right", "left", "right", None, "left", "mid"],
            "reward": [1.0, NAN, 0.0, 1.0, 0.5, NAN, 1.0, 0.0],
            "load": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, NAN, 0.8],
        }
    )


@pytest.fixture
def ragged():
    return SequenceDataset.from_trials(read_trials(ragged_table(), block="block", inputs=["load"]))


def equal(left, right):
    return torch.equal(torch.nan_to_num(left.double(), nan=-99.0), torch.nan_to_num(right.double(), nan=-99.0))


def arrays(n_extra=1, participants=(0, 1)):
    """SPICE's layout with two actions: (xs, ys) of two sequences with 3 and 2 steps."""
    ids = [[0.0] * n_extra + [4.0, 1.0, float(who)] for who in participants]
    xs = np.array(
        [
            [[1, 0, 1, NAN, *ids[0]], [0, 1, NAN, 0, *ids[0]], [1, 0, 0, NAN, *ids[0]]],
            [[0, 1, NAN, 1, *ids[1]], [1, 0, 1, NAN, *ids[1]], [NAN, NAN, NAN, NAN, *ids[1]]],
        ]
    )
    ys = np.array([[[0, 1], [1, 0], [0, 1]], [[1, 0], [0, 1], [NAN, NAN]]])
    return xs, ys


# --- from trials ----------------------------------------------------------------------------------------------------


def test_ragged_blocks_by_hand(ragged):
    assert (ragged.n_sequences, ragged.n_steps, ragged.n_actions) == (2, 3, 3)
    assert (ragged.n_participants, ragged.n_experiments) == (2, 1)
    assert ragged.actions[ragged.valid].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert ragged.valid.tolist() == [[True, True, False], [True, True, True]]
    assert ragged.mask.tolist() == [[True, True, False], [False, True, True]]
    assert ragged.targets.tolist() == [[1, 2, 0], [0, 0, 1]]
    rewards = [[1, NAN, NAN], [NAN, NAN, NAN], [NAN, NAN, 0.5], [NAN, NAN, NAN], [1, NAN, NAN]]
    assert equal(ragged.rewards[ragged.valid], torch.tensor(rewards))
    np.testing.assert_allclose(ragged.inputs[ragged.valid].squeeze(-1), [0.1, 0.2, 0.5, 0.6, NAN], rtol=1e-6)


def test_blocks_of_one_trial_hold_no_target_and_are_left_out(ragged):
    assert ragged.block.tolist() == [0, 2]
    assert ragged.participant.tolist() == [0, 1]


def test_targets_are_counted_per_participant(ragged):
    assert ragged.trials_per_participant.tolist() == [2, 2]


def test_no_block_with_two_trials_is_an_error():
    table = pd.DataFrame({"participant": ["a", "a"], "block": [1, 2], "choice": [1, 2], "reward": [0, 1]})
    with pytest.raises(DataError, match="no choice after the first trial of a block"):
        SequenceDataset.from_trials(read_trials(table, block="block"))


def test_counterfactual_rewards_are_kept_per_action():
    table = pd.DataFrame(
        {"participant": ["a"] * 3, "choice": [1, 2, 1], "left": [1.0, 0.0, 1.0], "right": [0.25, NAN, 0.5]}
    )
    data = SequenceDataset.from_trials(read_trials(table, reward=["left", "right"]))
    assert equal(data.rewards, torch.tensor([[[1.0, 0.25], [0.0, NAN]]]))


def test_experiments_have_codes():
    table = pd.DataFrame(
        {"participant": ["a"] * 4, "task": ["y", "y", "x", "x"], "choice": [1, 2, 1, 2], "reward": [0, 1, 1, 0]}
    )
    data = SequenceDataset.from_trials(read_trials(table, experiment="task"))
    assert data.n_experiments == 2
    assert sorted(data.experiment.tolist()) == [0, 1]


# --- from arrays ----------------------------------------------------------------------------------------------------


def test_long_layout_is_sliced_by_column():
    data = SequenceDataset.from_arrays(*arrays(n_extra=1))
    assert data.inputs.shape == (2, 3, 1)
    assert data.block.tolist() == [4, 4]
    assert data.experiment.tolist() == [1, 1]
    assert data.participant.tolist() == [0, 1]
    assert (data.n_participants, data.n_experiments) == (2, 2)
    assert data.valid.tolist() == [[True, True, True], [True, True, False]]
    assert data.targets.tolist() == [[1, 0, 1], [0, 1, 0]]


def test_short_layout_has_only_the_participant():
    xs, ys = arrays(n_extra=0)
    data = SequenceDataset.from_arrays(np.delete(xs, [4, 5], axis=2), ys)
    assert data.inputs.shape == (2, 3, 0)
    assert data.participant.tolist() == [0, 1]
    assert data.block.tolist() == data.experiment.tolist() == [0, 0]


@pytest.mark.parametrize("with_ids", [True, False])
def test_padding_by_minus_one_equals_padding_by_nan(with_ids):
    xs, ys = arrays()
    by_minus_one = xs.copy()
    by_minus_one[1, 2] = np.where(np.arange(8) < (5 if with_ids else 8), -1.0, by_minus_one[1, 2])
    one = SequenceDataset.from_arrays(xs, ys)
    other = SequenceDataset.from_arrays(by_minus_one, np.nan_to_num(ys, nan=-1.0))
    assert torch.equal(one.valid, other.valid)
    assert torch.equal(one.mask, other.mask)
    assert equal(one.xs, other.xs)
    assert equal(one.ys, other.ys)


def test_a_missed_trial_is_no_padding():
    xs, ys = arrays()
    xs[0, 1, :2] = 0.0
    data = SequenceDataset.from_arrays(xs, ys)
    assert bool(data.valid[0, 1])
    assert data.actions[0, 1].tolist() == [0.0, 0.0]


def test_numbers_of_codes_may_be_larger_than_the_data():
    data = SequenceDataset.from_arrays(*arrays(), n_participants=7, n_experiments=3)
    assert (data.n_participants, data.n_experiments) == (7, 3)
    assert data.trials_per_participant.tolist() == [3, 2, 0, 0, 0, 0, 0]


def test_numbers_of_codes_cannot_be_smaller_than_the_data():
    assert SequenceDataset.from_arrays(*arrays(), n_participants=1).n_participants == 2


def test_tensors_and_read_only_arrays_are_accepted():
    xs, ys = arrays()
    expected = SequenceDataset.from_arrays(xs, ys)
    from_tensors = SequenceDataset.from_arrays(torch.tensor(xs), torch.tensor(ys))
    xs.flags.writeable = ys.flags.writeable = False
    assert equal(expected.xs, from_tensors.xs)
    assert equal(expected.xs, SequenceDataset.from_arrays(xs, ys).xs)
    single = xs.astype("float32")
    single.flags.writeable = False
    assert equal(expected.xs, SequenceDataset.from_arrays(single, ys).xs)


@pytest.mark.parametrize("bad", [-1.0, 0.5, NAN, float("inf")])
def test_participant_codes_must_be_integers_from_zero(bad):
    xs, ys = arrays(participants=(0, 1))
    xs[1, :, -1] = bad
    with pytest.raises(DataError, match="participant code"):
        SequenceDataset.from_arrays(xs, ys)


def test_one_participant_per_sequence():
    xs, ys = arrays()
    xs[0, 1, -1] = 1.0
    with pytest.raises(DataError, match="participant code"):
        SequenceDataset.from_arrays(xs, ys)


@pytest.mark.parametrize(
    ("xs", "ys"),
    [
        (np.zeros((2, 3, 6)), np.zeros((2, 3, 2))),  # 2A + 2 features
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 2))),  # 2A features
        (np.zeros((2, 3, 7)), np.zeros((2, 4, 2))),  # steps differ
        (np.zeros((3, 3, 7)), np.zeros((2, 3, 2))),  # sequences differ
        (np.zeros((3, 7)), np.zeros((3, 2))),  # two dimensions
    ],
)
def test_wrong_shapes_are_refused(xs, ys):
    with pytest.raises(ShapeError):
        SequenceDataset.from_arrays(xs, ys)


@pytest.mark.parametrize("fill", [0.0, -1.0, NAN])
def test_no_target_at_all_is_an_error(fill):
    xs, ys = arrays()
    with pytest.raises(DataError, match="no choice"):
        SequenceDataset.from_arrays(xs, np.full_like(ys, fill))


# --- response times -------------------------------------------------------------------------------------------------


def timed_table():
    return ragged_table().assign(rt=[0.4, 0.5, NAN, 0.6, 0.7, NAN, 0.8, 0.9])


@pytest.fixture
def timed():
    return SequenceDataset.from_trials(read_trials(timed_table(), block="block", inputs=["load"], rt="rt"))


def test_times_are_those_of_the_targets(timed, ragged):
    expected = torch.tensor([[0.5, NAN, NAN], [NAN, 0.8, 0.9]])
    assert equal(timed.times, expected)
    assert timed.has_times
    assert not ragged.has_times
    assert equal(timed.mask, ragged.mask)


def test_targets_hold_the_times_in_place_of_one(timed):
    """A choice without a time is infinite, as a number would be a time and NaN no choice."""
    assert equal(timed.ys[0, 0], torch.tensor([0.0, 0.5, 0.0]))
    assert equal(timed.ys[0, 1], torch.tensor([0.0, 0.0, torch.inf]))
    again = SequenceDataset.from_arrays(timed.xs, timed.ys)
    assert equal(again.times, timed.times)
    assert torch.equal(again.targets, timed.targets)
    assert torch.equal(again.mask, timed.mask)
    assert equal(again.ys, timed.ys)


def test_ones_are_no_times():
    xs, ys = arrays()
    assert not SequenceDataset.from_arrays(xs, ys).has_times
    ys[0, 0, 1] = 0.75
    data = SequenceDataset.from_arrays(xs, ys)
    assert data.times[data.mask].tolist() == [0.75, 1.0, 1.0, 1.0, 1.0]
    ys[ys == 1] = np.inf
    assert SequenceDataset.from_arrays(xs, ys).times[data.mask].isfinite().tolist() == [True] + [False] * 4


def test_times_go_along(timed):
    assert equal(timed.select([1]).times, timed.times[1:])
    assert equal(timed.thinned(1).times, timed.times)
    assert timed.to(dtype=torch.float64).times.dtype == torch.float64
    assert not timed.with_mask(timed.times.isnan()).has_times


# --- round trips and views ------------------------------------------------------------------------------------------


def test_arrays_of_a_dataset_give_the_dataset_again(ragged):
    again = SequenceDataset.from_arrays(ragged.xs, ragged.ys)
    for name in ("targets", "mask", "valid", "block", "experiment", "participant"):
        assert torch.equal(getattr(ragged, name), getattr(again, name)), name
    where = ragged.valid
    assert torch.equal(ragged.actions[where], again.actions[where])
    assert equal(ragged.rewards[where], again.rewards[where])
    assert equal(ragged.inputs[where], again.inputs[where])
    assert equal(ragged.xs, again.xs)
    assert equal(ragged.ys, again.ys)


@given(
    n_sequences=st.integers(1, 4), n_steps=st.integers(1, 5), n_actions=st.integers(2, 4), seed=st.integers(0, 2**16)
)
@settings(max_examples=30)
def test_round_trip_of_random_arrays(n_sequences, n_steps, n_actions, seed):
    rng = np.random.default_rng(seed)
    choice = rng.integers(0, n_actions, (n_sequences, n_steps))
    length = rng.integers(1, n_steps + 1, n_sequences)
    padding = np.arange(n_steps) >= length[:, None]
    xs = np.full((n_sequences, n_steps, 2 * n_actions + 3), NAN)
    xs[..., :n_actions] = np.where(padding[..., None], NAN, np.eye(n_actions)[choice])
    xs[..., n_actions : 2 * n_actions] = np.where(padding[..., None], NAN, rng.normal(size=(*choice.shape, n_actions)))
    xs[..., -3:] = rng.integers(0, 3, (n_sequences, 1, 3))
    ys = np.where(padding[..., None], NAN, np.eye(n_actions)[choice[:, ::-1]])
    data = SequenceDataset.from_arrays(xs, ys)
    assert equal(data.xs, torch.tensor(xs, dtype=torch.float32))
    assert equal(data.ys, torch.tensor(ys, dtype=torch.float32))
    assert int(data.trials_per_participant.sum()) == length.sum()


def test_select_trims_to_the_longest_sequence(ragged):
    short = ragged.select([0])
    assert (short.n_sequences, short.n_steps, short.n_participants) == (1, 2, 2)
    assert short.participant.tolist() == [0]
    assert equal(short.xs, ragged.xs[:1, :2])
    assert ragged.select(torch.tensor([1, 0])).block.tolist() == [2, 0]


def test_select_keeps_trials_behind_a_gap():
    """A step that looks like padding in the middle does not move the end of the sequence."""
    xs, ys = arrays()
    xs[0, 1, :4] = NAN
    data = SequenceDataset.from_arrays(xs, ys)
    kept = data.select([0])
    assert int(kept.mask.sum()) == int(data.mask[0].sum())


def test_select_of_nothing_is_empty(ragged):
    assert ragged.select([]).n_sequences == 0


def test_with_mask_only_ever_removes_targets(ragged):
    nothing = ragged.with_mask(torch.zeros_like(ragged.mask))
    everything = ragged.with_mask(torch.ones_like(ragged.mask))
    assert int(nothing.mask.sum()) == 0
    assert torch.equal(everything.mask, ragged.mask)


def test_to_changes_only_floating_point_types(ragged):
    double = ragged.to(dtype=torch.float64)
    assert double.actions.dtype == double.rewards.dtype == double.inputs.dtype == torch.float64
    assert double.targets.dtype == torch.int64
    assert double.mask.dtype == torch.bool
    assert ragged.actions.dtype == torch.float32
