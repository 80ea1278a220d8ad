"""Folds: every choice that follows another one is left out once, and nothing that comes after it is fitted."""

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import DataError
from spicestat.fit.held_out import make_folds
from spicestat.trials.reading import read_trials


def table_of(lengths, missing=(), seed=0):
    """Trials of people with blocks of these lengths; ``missing`` are rows without a choice."""
    rng = np.random.default_rng(seed)
    rows = [
        (person, block, int(rng.integers(2)), float(rng.integers(2)))
        for person, blocks in enumerate(lengths)
        for block, n in enumerate(blocks)
        for _ in range(n)
    ]
    frame = pd.DataFrame(rows, columns=["participant", "block", "choice", "reward"])
    frame["choice"] = frame["choice"].astype("Int64")
    frame.loc[list(missing), "choice"] = pd.NA
    return read_trials(frame, block="block", actions=[0, 1])


def test_every_choice_but_the_first_of_a_block_is_left_out_once():
    table = table_of([[9] * 7, [5] * 4, [6] * 2], missing=[0, 4])
    folds = make_folds(table, n_folds=3)
    rows = np.concatenate([fold.row for fold in folds])
    assert len(rows) == len(set(rows)) == 7 * 8 + 4 * 4 + 2 * 5 - 2
    # the first trial has no choice, so that nothing predicts the second
    assert not {0, 1, 4} & set(rows)
    for fold in folds:
        blocks = set(table.frame["block"][fold.row])
        kept = set(table.rows) - set(fold.train.rows)
        assert kept == set(table.rows[table.frame["block"].isin(blocks)])
        assert fold.train.participants == (0, 1, 2)
        pd.testing.assert_series_equal(
            fold.test.frame["choice"][fold.held], table.frame["choice"][fold.row], check_index=False
        )
        assert [fold.train.participants[code] for code in fold.known] == list(fold.test.participants)


def test_the_last_fifth_of_an_only_block_is_left_out_once_and_what_comes_before_is_shown():
    table = table_of([[21], [16], [3], [6, 6]], missing=[18])
    first, second = make_folds(table, n_folds=2)
    frame = table.frame.iloc[first.row]
    of_single = frame.loc[frame["participant"] < 3, ["participant", "trial"]].to_numpy().tolist()
    assert of_single == [[0, 17], [0, 19], [0, 20], [1, 13], [1, 14], [1, 15]]
    train = first.train.frame
    assert train.groupby("participant").size().tolist() == [17, 13, 3, 6]
    assert first.test.frame.groupby("participant").size().tolist() == [21, 16, 6]
    assert set(table.frame["participant"].iloc[second.row]) == {3}
    assert second.train.frame.groupby("participant").size().tolist() == [21, 16, 3, 6]


def test_with_one_block_each_there_is_one_fold():
    (only,) = make_folds(table_of([[20]] * 4), n_folds=5)
    assert len(only.row) == 4 * 3
    assert len(only.train.frame) == 4 * 17


def test_people_are_left_out_with_all_they_did():
    table = table_of([[6] * 2] * 7)
    folds = make_folds(table, "people", n_folds=3)
    left_out = [set(fold.test.participants) for fold in folds]
    assert sorted(label for part in left_out for label in part) == list(range(7))
    for fold, labels in zip(folds, left_out, strict=True):
        assert not labels & set(fold.train.participants)
        assert (fold.known == -1).all()


def test_the_order_of_blocks_is_the_seeds():
    table = table_of([[6] * 9] * 3)

    def dealt(seed):
        return [sorted(set(table.frame["block"][fold.row])) for fold in make_folds(table, n_folds=3, seed=seed)]

    assert dealt(1) == dealt(1)
    assert dealt(1) != dealt(2)
    # the same blocks of everybody
    assert all({block % 9 for block in part[:3]} == {block % 9 for block in part} for part in dealt(1))


def test_what_cannot_be_left_out_is_refused():
    with pytest.raises(DataError, match="fewer people than folds"):
        make_folds(table_of([[5] * 2] * 2), "people", n_folds=3)
    with pytest.raises(DataError, match="nobody has two blocks"):
        make_folds(table_of([[4], [5]]))
