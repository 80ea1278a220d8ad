import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ColumnError, ConfigError, CovariateError, DataError
from spicestat.trials import read_trials
from spicestat.trials.table import load_trials

COLUMNS = {"participant": "subject", "block": "block", "trial": "trial"}


def trials(n_people=3, drop=()):
    """Two sessions of two blocks per drug; ``drop`` has (person, drug) pairs that were not seen."""
    rng = np.random.default_rng(1)
    rows = [
        (f"s{person}", drug, 2 * place + block, trial, rng.integers(2), rng.integers(2), "KB"[person % 2])
        for person in range(1, n_people + 1)
        for place, drug in enumerate(["placebo", "active"])
        for block in range(2)
        for trial in range(8)
        if (person, drug) not in drop
    ]
    return pd.DataFrame(rows, columns=["subject", "drug", "block", "trial", "choice", "reward", "site"])


def test_everybody_is_one_participant_per_occasion_that_occurs():
    table = read_trials(trials(drop=[(2, "active")]), **COLUMNS, occasion="drug")
    assert table.participants == ("s1:active", "s1:placebo", "s2:placebo", "s3:active", "s3:placebo")
    assert table.people["person"].tolist() == ["s1", "s1", "s2", "s3", "s3"]
    assert table.people["drug"].tolist() == ["active", "placebo", "placebo", "active", "placebo"]
    assert len(table.blocks) == 10
    assert table.record["columns"]["occasion"] == ["drug"]


def test_the_table_gives_the_columns_back_as_they_were():
    given = trials()
    again = read_trials(given, **COLUMNS, occasion=["drug"]).to_frame()
    assert set(again.columns) == set(given.columns)
    counts = [frame.groupby(["subject", "drug", "site"]).size().to_dict() for frame in (again, given)]
    assert counts[0] == counts[1]


def test_several_columns_and_a_categorical_keep_their_order(tmp_path):
    frame = trials().assign(session=lambda table: table["block"] % 2 + 1)
    frame["drug"] = pd.Categorical(frame["drug"], ["placebo", "active"])
    table = read_trials(frame, **COLUMNS, occasion=["drug", "session"])
    assert table.participants[:4] == ("s1:placebo:1", "s1:placebo:2", "s1:active:1", "s1:active:2")
    assert list(table.people["drug"].cat.categories) == ["placebo", "active"]
    again = load_trials(table.save(tmp_path / "trials"))
    pd.testing.assert_frame_equal(again.people, table.people)


def test_without_blocks_each_occasion_is_one():
    frame = trials().drop(columns=["block"])
    table = read_trials(frame.drop(columns="trial"), participant="subject", occasion="drug")
    assert table.blocks["n_trials"].tolist() == [16] * 6
    same = read_trials(frame.drop(columns="trial"), participant="subject", block="drug", occasion="drug")
    assert same.participants == table.participants and len(same.blocks) == 6


def test_blocks_and_trials_may_be_numbered_anew_on_each_occasion():
    frame = trials()
    anew = frame.assign(block=frame["block"] % 2)
    found = read_trials(anew, participant="subject", block="block", trial="trial", occasion="drug")
    expected = read_trials(frame, occasion="drug", **COLUMNS)
    assert found.participants == expected.participants
    assert found.blocks["n_trials"].tolist() == expected.blocks["n_trials"].tolist()
    assert found.frame.equals(expected.frame)
    # a block whose trials go on is one block, on whose occasions people cannot have learned differently
    on = anew.assign(trial=anew["trial"] + 100 * (anew["drug"] == anew["drug"].iloc[0]))
    with pytest.raises(DataError, match="varies within a block"):
        read_trials(on, participant="subject", block="block", trial="trial", occasion="drug")


def test_an_occasion_that_varies_within_a_block_is_named_with_the_block():
    frame = trials()
    frame.loc[3, "drug"] = "active"
    with pytest.raises(DataError, match=r"'drug' varies within a block of column 'block'.*row 4 .*block=0"):
        read_trials(frame, **COLUMNS, occasion="drug")
    mixed = trials().sort_values(["subject", "trial", "block"]).drop(columns=["block", "trial"])
    with pytest.raises(DataError, match=r"rows of an occasion \(drug\).*not next to each other.*block="):
        read_trials(mixed, participant="subject", occasion="drug")


@pytest.mark.parametrize(
    ("occasion", "error", "words"),
    [
        ("dose", ColumnError, "no column 'dose'"),
        ("subject", ConfigError, "cannot tell occasions apart.*'subject'"),
        ("choice", ConfigError, "used twice"),
        (["drug", "drug"], ConfigError, "cannot tell occasions apart"),
        ("person", ConfigError, "'person'"),
    ],
)
def test_columns_that_cannot_be_occasions_are_refused(occasion, error, words):
    with pytest.raises(error, match=words):
        read_trials(trials(), **COLUMNS, occasion=occasion)


def test_missing_occasions_and_labels_that_run_together_are_refused():
    frame = trials()
    frame.loc[:15, "drug"] = None
    with pytest.raises(DataError, match="occasion column 'drug' has missing values"):
        read_trials(frame, **COLUMNS, occasion="drug")
    pairs = pd.DataFrame({"subject": ["a", "a", "a:b", "a:b"], "x": ["b:c", "b:c", "c", "c"]})
    with pytest.raises(DataError, match="told apart by their names"):
        read_trials(pairs.assign(choice=[0, 1, 0, 1], reward=1), participant="subject", occasion="x")


def test_tables_are_joined_on_what_they_share():
    people = pd.DataFrame({"subject": ["s3", "s1", "s2"], "anxiety": [3.0, 1.0, 2.0]})
    sites = pd.DataFrame({"site": ["K", "B"], "beds": [20, 30]})
    doses = pd.DataFrame({"subject": ["s1", "s1", "s2", "s2", "s3", "s3"], "drug": ["active", "placebo"] * 3})
    doses["dose"] = [5.0, 0.0, 6.0, 0.0, 7.0, 0.0]
    table = read_trials(trials(), **COLUMNS, occasion="drug", people=[sites, people, doses]).people
    assert table["anxiety"].tolist() == [1, 1, 2, 2, 3, 3]
    assert table["beds"].tolist() == [30, 30, 20, 20, 30, 30]
    assert table["dose"].tolist() == [5, 0, 6, 0, 7, 0]
    # of a table without people and occasions, sites come from another table
    alone = trials().drop(columns="site")
    linked = read_trials(alone, **COLUMNS, people=[sites, people.assign(site=["B", "B", "K"])]).people
    assert linked["beds"].tolist() == [30, 20, 30]


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        (
            {"site": ["K", "B", "K"], "beds": [20, 30, 21]},
            CovariateError,
            r"several values of 'beds' for one 'site'.*21",
        ),
        ({"site": ["X", "Y"], "beds": [1, 2]}, CovariateError, "no participant of the trials is in column 'site'"),
        ({"ward": ["X", "Y"], "beds": [1, 2]}, ColumnError, "no column 'subject'.*'site'"),
        ({"site": ["K", "B"], "choice": [1, 2]}, CovariateError, "'choice' of the people table has another role"),
        ({"subject": ["s1", "s1"], "mood": [1, 2]}, CovariateError, r"several values of 'mood'.*occasion="),
        ({"subject": ["s1", "s1"], "drug": ["active", None], "mood": [1, 2]}, CovariateError, "occasion column 'drug'"),
        ({"subject": ["s1"], "person": ["x"]}, CovariateError, "cannot be called 'person'"),
    ],
)
def test_tables_that_cannot_be_joined_are_named(table, error, words):
    with pytest.raises(error, match=words):
        read_trials(trials(), **COLUMNS, occasion="drug", people=pd.DataFrame(table))
