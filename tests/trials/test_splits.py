"""Splits lose no trial, leak none, and leave training data to everybody."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import ConfigError, DataError
from spicestat.models.precoded import RescorlaWagnerRNN
from spicestat.spice.dataset import DatasetRNN
from spicestat.spice.dataset_splits import (
    reshape_data_along_participantdim,
    split_data_along_sessiondim,
    split_data_along_timedim,
)
from spicestat.training.evaluate import rnn_logits
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.splits import (
    k_folds,
    split_by_block,
    split_by_participant,
    split_by_session,
    split_by_time,
)

NAN = float("nan")


def sessions(lengths, participants=None, blocks=None):
    """Sessions of so many targets: (xs, ys), with block column where blocks are given, NaN padding."""
    participants = participants or [0] * len(lengths)
    n_steps, n_ids = max(lengths), 1 if blocks is None else 3
    rng = np.random.default_rng(1)
    xs, ys = np.full((len(lengths), n_steps, 4 + n_ids), NAN), np.full((len(lengths), n_steps, 2), NAN)
    for row, length in enumerate(lengths):
        choice = rng.integers(0, 2, length + 1)
        xs[row, :length, :2] = np.eye(2)[choice[:-1]]
        xs[row, np.arange(length), 2 + choice[:-1]] = rng.integers(0, 2, length)
        xs[row, :, -1] = participants[row]
        ys[row, :length] = np.eye(2)[choice[1:]]
        if blocks is not None:
            xs[row, :, -3], xs[row, :, -2] = blocks[row], 0
    return xs, ys


def sequences(*args, **options):
    return SequenceDataset.from_arrays(*sessions(*args, **options))


def counts(data):
    return data.mask.sum(dim=1).tolist()


def identities(data):
    """What tells the sequences of a dataset apart: participant, block, and all that happened."""
    return [
        (int(person), int(block), str(xs[real].tolist()))
        for person, block, xs, real in zip(data.participant, data.block, data.xs, data.valid, strict=True)
    ]


# --- by time --------------------------------------------------------------------------------------------------------


def test_the_first_part_of_each_sequence_trains():
    train, test = split_by_time(sequences([120, 10]), 0.8)
    assert counts(train) == [96, 8]
    assert counts(test) == [24, 2]
    assert train.lengths.tolist() == [96, 8]


def test_a_ratio_of_one_trains_on_everything():
    """SPICE lost the last trial of every session: 100 gave 99."""
    data = sequences([100, 40])
    train, test = split_by_time(data, 1.0)
    assert counts(train) == [100, 40]
    assert counts(test) == [0, 0]
    xs, ys = sessions([100, 40])
    train_rnn, test_rnn = split_data_along_timedim(DatasetRNN(xs, ys), 1.0)
    assert int((train_rnn.ys > 0).sum()) == 140
    assert int((test_rnn.ys > 0).sum()) == 0


@given(
    lengths=st.lists(st.integers(1, 15), min_size=1, max_size=4),
    ratio=st.floats(0.0, 1.0, exclude_min=True),
)
@settings(max_examples=60)
def test_parts_in_time_share_no_target_and_lose_none(lengths, ratio):
    data = sequences(lengths)
    train, test = split_by_time(data, ratio)
    kept = torch.zeros_like(data.mask)
    kept[:, : train.n_steps] = train.mask
    assert not bool((kept & test.mask).any())
    assert torch.equal(kept | test.mask, data.mask)
    # nothing of the test part is in the training features: they end with the last training target
    assert train.lengths.tolist() == counts(train)
    assert min(counts(train)) >= 1


def test_the_test_part_does_not_start_cold():
    """SPICE cut the test part out, so that models predicted it from their initial state."""
    data = sequences([50, 30])
    torch.manual_seed(0)
    model = RescorlaWagnerRNN(n_actions=2, n_participants=0)
    whole = rnn_logits(model, data)
    test = split_by_time(data, 0.6).test
    assert torch.equal(rnn_logits(model, test)[test.mask], whole[test.mask])
    dataset = DatasetRNN(*sessions([50, 30]))
    _, test_rnn = split_data_along_timedim(dataset, 0.6)
    again = SequenceDataset.from_arrays(test_rnn.xs, test_rnn.ys)
    assert torch.equal(again.mask, test.mask)
    assert torch.equal(rnn_logits(model, again)[again.mask], whole[again.mask])


def test_training_in_time_is_the_same_for_both_kinds_of_dataset():
    xs, ys = sessions([50, 30], participants=[0, 1], blocks=[0, 0])
    train_rnn, _ = split_data_along_timedim(DatasetRNN(xs, ys), 0.6)
    train = split_by_time(SequenceDataset.from_arrays(xs, ys), 0.6).train
    again = SequenceDataset.from_arrays(train_rnn.xs, train_rnn.ys)
    assert torch.equal(again.xs.nan_to_num(-9), train.xs.nan_to_num(-9))
    assert torch.equal(again.ys.nan_to_num(-9), train.ys.nan_to_num(-9))


def test_minus_one_padding_is_split_too():
    xs, ys = sessions([6, 3])
    train, test = split_data_along_timedim(DatasetRNN(np.nan_to_num(xs, nan=-1), np.nan_to_num(ys, nan=-1)), 0.5)
    assert [int(part) for part in (train.ys > 0).sum(dim=(1, 2))] == [3, 2]
    assert [int(part) for part in (test.ys > 0).sum(dim=(1, 2))] == [3, 1]


def test_missed_choices_are_no_targets():
    xs, ys = sessions([10])
    ys[0, 2:6] = NAN
    train, test = split_by_time(SequenceDataset.from_arrays(xs, ys), 0.5)
    assert (counts(train), counts(test)) == ([3], [3])


@pytest.mark.parametrize("ratio", [0, -0.1, 1.5, NAN, "half", None, True])
def test_ratios_are_checked(ratio):
    with pytest.raises(ConfigError, match="ratio"):
        split_by_time(sequences([5]), ratio)


def test_splits_leave_the_dataset_alone():
    dataset = DatasetRNN(*sessions([6, 3]))
    xs, ys = dataset.xs.clone(), dataset.ys.clone()
    train, test = split_data_along_timedim(dataset, 0.5)
    for part in (train, test):
        part.xs[:], part.ys[:] = 7, 7
    assert torch.equal(dataset.xs.nan_to_num(-9), xs.nan_to_num(-9))
    assert torch.equal(dataset.ys.nan_to_num(-9), ys.nan_to_num(-9))


# --- by session -----------------------------------------------------------------------------------------------------

FOUR_EACH = {"lengths": [5, 6, 7, 8] * 2, "participants": [0] * 4 + [1] * 4, "blocks": [0, 1, 2, 3] * 2}


def test_listed_sessions_are_tested():
    train, test = split_by_session(sequences(**FOUR_EACH), [1, 7])
    assert [(int(p), int(b)) for p, b in zip(test.participant, test.block, strict=True)] == [(0, 1), (1, 3)]
    assert train.n_sequences == 6
    assert counts(test) == [6, 8]


def test_every_kth_session_of_each_participant_is_tested():
    test = split_by_session(sequences(**FOUR_EACH), every=2).test
    assert test.participant.tolist() == [0, 0, 1, 1]
    assert test.block.tolist() == [1, 3, 1, 3]


def test_a_ratio_of_sessions_is_drawn_within_participants():
    data = sequences(**FOUR_EACH)
    train, test = split_by_session(data, ratio=0.75, seed=3)
    assert test.participant.tolist() == [0, 1]
    assert train.participant.tolist() == [0] * 3 + [1] * 3
    assert identities(split_by_session(data, ratio=0.75, seed=3).test) == identities(test)
    drawn = {tuple(identities(split_by_session(data, ratio=0.75, seed=seed).test)) for seed in range(20)}
    assert len(drawn) > 5


@pytest.mark.parametrize("how", [{"every": 2}, {"ratio": 0.1}])
def test_everybody_keeps_training_data(how):
    data = sequences([5] * 6, participants=[0, 0, 0, 1, 2, 2])
    train, test = split_by_session(data, **how)
    assert set(train.participant.tolist()) == {0, 1, 2}
    assert set(test.participant.tolist()) == {0, 2}


def test_a_list_that_takes_everything_of_somebody_is_refused():
    with pytest.raises(DataError, match=r"no training data.*\[1\]"):
        split_by_session(sequences([5] * 4, participants=[0, 0, 0, 1]), [0, 3])


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"test": [0], "every": 2},
        {"every": 1},
        {"ratio": 1.0},
        {"ratio": 0.0},
        {"test": [8]},
        {"test": [-1]},
        {"every": 9},
        {"ratio": 0.5, "seed": -1},
    ],
    ids=str,
)
def test_ways_to_choose_sessions_are_checked(how):
    with pytest.raises(ConfigError):
        split_by_session(sequences(**FOUR_EACH), **how)


# --- by block and participant ---------------------------------------------------------------------------------------


def test_blocks_are_counted_within_participants(small_data):
    """Blocks of a TrialTable have codes that are unique over the table."""
    train, test = split_by_block(small_data, [1])
    assert test.participant.tolist() == [0, 1, 2]
    assert test.block.tolist() == [1, 4, 7]
    assert train.n_sequences == 6


def test_windows_of_a_block_stay_together():
    windows = DatasetRNN(*sessions(**FOUR_EACH), sequence_length=3, stride=2)
    train, test = split_by_block(SequenceDataset.from_arrays(windows.xs, windows.ys), [0, 3])
    assert set(train.block.tolist()) == {1, 2}
    assert set(test.block.tolist()) == {0, 3}
    assert train.n_sequences + test.n_sequences == len(windows)


def test_unknown_blocks_are_refused():
    with pytest.raises(ConfigError, match="0 to 3"):
        split_by_block(sequences(**FOUR_EACH), [4])


def test_participants_are_parted():
    data = sequences(**FOUR_EACH)
    train, test = split_by_participant(data, [1])
    assert (set(train.participant.tolist()), set(test.participant.tolist())) == ({0}, {1})
    assert train.n_participants == test.n_participants == 2
    train, test = split_by_participant(sequences([4] * 10, list(range(10))), ratio=0.7, seed=1)
    assert (train.n_sequences, test.n_sequences) == (7, 3)


@pytest.mark.parametrize(
    "how", [{}, {"test": [0], "ratio": 0.5}, {"test": [2]}, {"test": [0, 1]}, {"test": []}, {"ratio": 0.9}], ids=str
)
def test_ways_to_choose_participants_are_checked(how):
    with pytest.raises(ConfigError):
        split_by_participant(sequences(**FOUR_EACH), **how)


# --- folds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "n_folds"), [("session", 3), ("block", 2), ("block", 4), ("participant", 2)])
def test_folds_test_every_sequence_once(by, n_folds):
    data = sequences(**FOUR_EACH)
    folds = k_folds(data, n_folds, by=by, seed=5)
    assert len(folds) == n_folds
    tested = [identity for fold in folds for identity in identities(fold.test)]
    assert sorted(tested) == sorted(identities(data))
    for fold in folds:
        assert sorted(identities(fold.train) + identities(fold.test)) == sorted(identities(data))
    sizes = [fold.test.n_sequences for fold in folds]
    assert max(sizes) - min(sizes) <= (4 if by == "participant" else 1)


def test_folds_in_time_test_every_target_once():
    data = sequences([10, 7])
    folds = k_folds(data, 3, by="time")
    total = sum(fold.test.mask.int() for fold in folds)
    assert torch.equal(total, data.mask.int())
    for fold in folds:
        assert torch.equal(fold.train.mask ^ fold.test.mask, data.mask)
        assert not bool((fold.train.mask & fold.test.mask).any())
    assert [counts(fold.test) for fold in folds] == [[4, 3], [3, 2], [3, 2]]


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    n_folds=st.integers(2, 4),
    by=st.sampled_from(["session", "block"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_folds_leave_training_data_to_everybody(sizes, n_folds, by, seed):
    participants = [person for person, size in enumerate(sizes) for _ in range(size)]
    blocks = [block for size in sizes for block in range(size)]
    data = sequences([4] * len(blocks), participants, blocks)
    try:
        folds = k_folds(data, n_folds, by=by, seed=seed)
    except ConfigError:
        assert sum(size for size in sizes if size > 1) < n_folds
        return
    for fold in folds:
        assert set(fold.train.participant.tolist()) == set(range(len(sizes)))
    never = {person for person, size in enumerate(sizes) if size == 1}
    tested = {person for fold in folds for person in fold.test.participant.tolist()}
    assert tested == set(range(len(sizes))) - never


def test_blocks_of_two_experiments_are_dealt_together():
    xs, ys = sessions([4] * 4, [0, 0, 1, 1], [0, 0, 0, 0])
    xs[[1, 3], :, -2] = 1
    folds = k_folds(SequenceDataset.from_arrays(xs, ys), 2, by="block")
    assert [fold.test.experiment.tolist() for fold in folds] == [[0, 0], [1, 1]]


def test_folds_depend_on_the_seed_alone():
    data = sequences(**FOUR_EACH)
    one, same, other = (
        [identities(fold.test) for fold in k_folds(data, 4, by="session", seed=seed)] for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    "how",
    [{"n_folds": 1}, {"n_folds": 9}, {"by": "week"}, {"n_folds": 3, "by": "participant"}, {"n_folds": 9, "by": "time"}],
    ids=str,
)
def test_settings_of_folds_are_checked(how):
    with pytest.raises(ConfigError):
        k_folds(sequences(**FOUR_EACH), **how)


# --- sessions of a DatasetRNN ---------------------------------------------------------------------------------------


def test_listed_blocks_of_everybody_are_tested():
    dataset = DatasetRNN(*sessions(**FOUR_EACH))
    dataset.participants = ("ann", "bob")
    train, test = split_data_along_sessiondim(dataset, [1, 3])
    assert test.xs[:, 0, -3].tolist() == [1, 3, 1, 3]
    assert len(train) == 4
    assert train.participants == test.participants == ("ann", "bob")


def test_participants_may_have_different_sessions():
    """SPICE needed every participant to have each session exactly once."""
    dataset = DatasetRNN(*sessions([5] * 5, [0, 0, 0, 1, 1], [0, 0, 1, 0, 2]))
    train, test = split_data_along_sessiondim(dataset, [1, 2])
    assert test.xs[:, 0, -1].tolist() == [0, 1]
    assert len(train) == 3


def test_without_a_block_column_sessions_are_counted():
    """SPICE read a reward column as session."""
    train, test = split_data_along_sessiondim(DatasetRNN(*sessions([5, 6, 7, 8], [0, 0, 1, 1])), [1])
    assert [int(length) for length in (test.ys > 0).sum(dim=(1, 2))] == [6, 8]
    assert len(train) == 2


def test_no_list_is_no_split_and_an_empty_one_tests_nothing():
    """An empty list was a TypeError in SPICE."""
    dataset = DatasetRNN(*sessions(**FOUR_EACH))
    assert split_data_along_sessiondim(dataset) == (dataset, dataset)
    train, test = split_data_along_sessiondim(dataset, [])
    assert (len(train), len(test)) == (8, 0)


def test_lists_of_sessions_are_checked():
    dataset = DatasetRNN(*sessions(**FOUR_EACH))
    with pytest.raises(ConfigError, match=r"\[4\]"):
        split_data_along_sessiondim(dataset, [4])
    with pytest.raises(DataError, match="no training data"):
        split_data_along_sessiondim(dataset, [0, 1, 2, 3])


def test_sessions_are_stacked_by_participant():
    """SPICE forgot to keep the padding it made, so participants with fewer sessions were an error."""
    dataset = DatasetRNN(*sessions([5, 6, 7], [1, 0, 1], [4, 5, 6]))
    table = reshape_data_along_participantdim(dataset)
    assert table.xs.shape == (2, 2, 7, 7)
    assert [int(n) for n in (table.ys > 0).sum(dim=(2, 3)).flatten()] == [6, 0, 5, 7]
    assert table.xs[..., -1].tolist() == [[[0.0] * 7] * 2, [[1.0] * 7] * 2]
    assert bool(table.xs[0, 1, :, :4].isnan().all())
    flat = SequenceDataset.from_arrays(table.xs.flatten(0, 1), table.ys.flatten(0, 1))
    assert flat.trials_per_participant.tolist() == [6, 12]
    # rows of one session each stay as they were
    assert torch.equal(table.xs[1, 0].nan_to_num(-9), dataset.xs[0].nan_to_num(-9))
