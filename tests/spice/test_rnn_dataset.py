"""DatasetRNN holds sessions in SPICE's layout, cuts windows without losing trials, and never changes its input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.spice.dataset import DatasetRNN
from spicestat.trials.sequences import SequenceDataset

NAN = float("nan")


def sessions(lengths=(7, 5), n_actions=2, n_ids=1, n_inputs=0):
    """Sessions whose reward on step t of session s is 100 s + t, with NaN padding and participant s."""
    n_steps = max(lengths)
    width = 2 * n_actions + n_inputs + n_ids
    xs, ys = np.full((len(lengths), n_steps, width), NAN), np.full((len(lengths), n_steps, n_actions), NAN)
    for row, length in enumerate(lengths):
        choice = np.arange(length) % n_actions
        xs[row, :length, :n_actions] = np.eye(n_actions)[choice]
        xs[row, :length, n_actions : 2 * n_actions] = NAN
        xs[row, np.arange(length), n_actions + choice] = 100 * row + np.arange(length)
        xs[row, :length, 2 * n_actions : width - n_ids] = 0.5
        xs[row, :, width - n_ids :] = 0
        xs[row, :, -1] = row
        ys[row, : length - 1] = np.eye(n_actions)[choice[1:]]
    return xs, ys


def shown(xs, n_actions=2):
    """Rewards of the real steps, in order."""
    rewards = xs[..., n_actions : 2 * n_actions]
    return rewards[~torch.isnan(rewards)].tolist()


# --- what comes in --------------------------------------------------------------------------------------------------


def test_arrays_and_tensors_give_the_same_float32_tensors():
    xs, ys = sessions()
    one, other = DatasetRNN(xs, ys), DatasetRNN(torch.tensor(xs), torch.tensor(ys))
    for dataset in (one, other):
        assert dataset.xs.dtype == dataset.ys.dtype == torch.float32
    assert torch.equal(one.xs.nan_to_num(-9), other.xs.nan_to_num(-9))
    assert torch.equal(one.ys.nan_to_num(-9), other.ys.nan_to_num(-9))
    assert len(one) == 2


def test_items_are_pairs_and_a_data_loader_batches_them():
    dataset = DatasetRNN(*sessions())
    x, y = dataset[1]
    assert x.shape == (7, 5)
    assert y.shape == (7, 2)
    batches = list(DataLoader(dataset, batch_size=2))
    assert batches[0][0].shape == (2, 7, 5)
    assert len(list(dataset)) == 2


def test_two_dimensions_are_one_session():
    xs, ys = sessions()
    dataset = DatasetRNN(xs[0], ys[0])
    assert dataset.xs.shape == (1, 7, 5)
    assert dataset.ys.shape == (1, 7, 2)


def test_tensors_are_copies_that_may_be_changed():
    xs, ys = (torch.tensor(part, dtype=torch.float32) for part in sessions())
    before = xs.clone()
    dataset = DatasetRNN(xs, ys)
    dataset.xs[..., -1] = 0
    assert torch.equal(xs.nan_to_num(-9), before.nan_to_num(-9))
    assert SequenceDataset.from_arrays(dataset.xs, dataset.ys).n_participants == 1


def test_read_only_arrays_are_accepted():
    xs, ys = sessions()
    xs.flags.writeable = ys.flags.writeable = False
    assert len(DatasetRNN(xs, ys, normalize_features=2)) == 2


def test_tensors_with_a_gradient_are_accepted():
    xs, ys = (torch.tensor(part) for part in sessions())
    assert not DatasetRNN(xs.requires_grad_(), ys).xs.requires_grad


@pytest.mark.parametrize(
    ("xs_shape", "ys_shape"),
    [((2, 7, 5), (2, 7)), ((2, 7, 5), (2, 6, 2)), ((2, 7, 5), (3, 7, 2)), ((5,), (2,)), ((2, 0, 5), (2, 0, 2))],
)
def test_wrong_shapes_are_refused(xs_shape, ys_shape):
    with pytest.raises(ShapeError):
        DatasetRNN(np.zeros(xs_shape), np.zeros(ys_shape))


def test_what_is_no_number_is_refused():
    with pytest.raises(DataError, match="numbers"):
        DatasetRNN(np.array([["a", "b"]]), np.zeros((1, 2)))


def test_the_device_is_checked():
    xs, ys = sessions()
    assert DatasetRNN(xs, ys, device="cpu").device == torch.device("cpu")
    assert DatasetRNN(xs, ys, device=torch.device("cpu")).xs.device.type == "cpu"
    with pytest.raises(ConfigError, match="device"):
        DatasetRNN(xs, ys, device="abacus")


# --- windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence_length", [None, -1, 7, 8, 100])
def test_whole_sessions_stay_whole(sequence_length):
    dataset = DatasetRNN(*sessions(), sequence_length=sequence_length)
    assert dataset.xs.shape == (2, 7, 5)
    assert dataset.sequence_length == 7


def test_windows_include_the_last_one():
    """SPICE's set_sequences drops the last window: 100 steps in windows of 20 gave 80 steps."""
    dataset = DatasetRNN(*sessions((100,)), sequence_length=20, stride=20)
    assert dataset.xs.shape == (5, 20, 5)
    assert shown(dataset.xs) == list(range(100))


def test_stride_one_gives_every_window():
    dataset = DatasetRNN(*sessions((6,)), sequence_length=4)
    assert [shown(window) for window in dataset.xs] == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]


def test_a_window_beyond_the_end_is_padded():
    dataset = DatasetRNN(*sessions((7,), n_ids=3, n_inputs=1), sequence_length=3, stride=3)
    assert [shown(window) for window in dataset.xs] == [[0, 1, 2], [3, 4, 5], [6]]
    data = SequenceDataset.from_arrays(dataset.xs, dataset.ys)
    assert data.valid.tolist() == [[True] * 3, [True] * 3, [True, False, False]]
    assert data.mask.tolist() == [[True] * 3, [True] * 3, [False] * 3]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_short_sessions_have_as_many_windows_as_on_their_own(stride):
    lengths = (9, 2, 5, 7)
    alone = [len(DatasetRNN(*sessions((length,)), sequence_length=3, stride=stride)) for length in lengths]
    dataset = DatasetRNN(*sessions(lengths), sequence_length=3, stride=stride)
    assert [dataset.xs[:, 0, -1].tolist().count(row) for row in range(4)] == alone


@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=4),
    length=st.integers(1, 14),
    stride=st.integers(1, 14),
)
@settings(max_examples=60)
def test_no_trial_is_lost(lengths, length, stride):
    xs, ys = sessions(lengths)
    dataset = DatasetRNN(xs, ys, sequence_length=length, stride=min(stride, length))
    assert set(shown(dataset.xs)) == set(shown(DatasetRNN(xs, ys).xs))
    if stride >= length:
        assert sorted(shown(dataset.xs)) == sorted(shown(DatasetRNN(xs, ys).xs))
        assert int((dataset.ys > 0).sum()) == int((ys > 0).sum())


@pytest.mark.parametrize(("name", "value"), [("sequence_length", 0), ("sequence_length", 2.5), ("stride", 0)])
def test_windows_need_whole_numbers(name, value):
    with pytest.raises(ConfigError, match=name):
        DatasetRNN(*sessions(), **{name: value})


def test_a_table_of_sessions_is_kept_but_not_cut():
    xs, ys = sessions()
    dataset = DatasetRNN(xs[None], ys[None])
    assert dataset.xs.shape == (1, 2, 7, 5)
    with pytest.raises(ShapeError, match="windows"):
        DatasetRNN(xs[None], ys[None], sequence_length=3)


# --- normalisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", [2, (2,), [2], np.int64(2), -3])
def test_a_feature_is_mapped_to_zero_and_one(feature):
    """SPICE turned the int into a tuple, which is a TypeError, and wrote into the caller's tensor."""
    xs, ys = (torch.tensor(part, dtype=torch.float32) for part in sessions())
    before = xs.clone()
    dataset = DatasetRNN(xs, ys, normalize_features=feature)
    assert torch.equal(xs.nan_to_num(-9), before.nan_to_num(-9))
    values = dataset.xs[..., 2]
    assert float(values[~values.isnan()].min()) == 0.0
    assert float(values[~values.isnan()].max()) == 1.0
    untouched = [0, 1, 3, 4]
    assert torch.equal(dataset.xs[..., untouched].nan_to_num(-9), before[..., untouched].nan_to_num(-9))


def test_missing_values_and_padding_do_not_count():
    """SPICE took the minimum over NaN (all became NaN) and over the -1 of padding."""
    xs, ys = sessions((6, 3))
    xs[1, 3:, :4] = -1
    dataset = DatasetRNN(xs, ys, normalize_features=[2])
    assert dataset.xs[0, :, 2].nan_to_num(-9).tolist() == pytest.approx([0, -9, 2 / 102, -9, 4 / 102, -9])
    assert dataset.xs[1, :, 2].nan_to_num(-9).tolist() == pytest.approx([100 / 102, -9, 1, -1, -1, -1])


def test_a_constant_feature_is_an_error():
    """SPICE divided 0 by 0."""
    xs, ys = sessions(n_ids=3, n_inputs=1)
    with pytest.raises(DataError, match=r"feature 4.*0\.5"):
        DatasetRNN(xs, ys, normalize_features=4)


@pytest.mark.parametrize("feature", [5, -6, 1.5, "reward"])
def test_unknown_features_are_refused(feature):
    with pytest.raises(ConfigError, match="0 to 4"):
        DatasetRNN(*sessions(), normalize_features=[feature])
