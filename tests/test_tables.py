"""Tables are read and written by their ending, and bad columns are named with their first rows."""

import gzip

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ColumnError, StorageError
from spicestat.tables import check_numeric, first_rows, read_table, require_columns, write_table

TABLE = pd.DataFrame({"id": ["a", "b"], "x": [1.5, np.nan]})


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz", "t.parquet"])
def test_a_table_comes_back_from_every_kind_of_file(tmp_path, name):
    pd.testing.assert_frame_equal(read_table(write_table(TABLE, tmp_path / name)), TABLE)


def test_a_frame_is_copied():
    copy = read_table(TABLE)
    copy.loc[0, "x"] = 99
    assert TABLE["x"].iloc[0] == 1.5


@pytest.mark.parametrize("source", ["absent.csv", 3, None])
def test_unreadable_sources_are_storage_errors(source):
    with pytest.raises(StorageError):
        read_table(source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("bad.parquet", b"no parquet"),
        ("bad.csv.gz", b"no gzip"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 500, mtime=0)[:30]),
        ("latin.csv", b"a\n\xff\xfe\n"),
        ("t.xlsx", b""),
    ],
)
def test_damaged_files_are_storage_errors_that_name_the_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StorageError, match=name.replace(".", r"\.")):
        read_table(path)


def test_unwritable_tables_are_storage_errors(tmp_path):
    with pytest.raises(StorageError, match="unknown kind"):
        write_table(TABLE, tmp_path / "t.xlsx")
    with pytest.raises(StorageError, match="cannot write"):
        write_table(TABLE, tmp_path / "absent" / "t.csv")
    with pytest.raises(StorageError, match="cannot write"):
        write_table(pd.DataFrame({"mixed": [1, "a"]}), tmp_path / "t.parquet")


def test_a_missing_column_is_named_with_the_most_similar_one():
    with pytest.raises(ColumnError, match=r"no column 'rewrd'.*Allowed: reward, choice.*did you mean 'reward'"):
        require_columns(pd.DataFrame(columns=["reward", "choice"]), ["rewrd"], "the trials")


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series(["1", None, "3"], dtype=object),
        pd.Series([1.0, np.nan, 3.0]),
    ],
)
def test_numbers_are_float64_with_nan(values):
    result = check_numeric(pd.DataFrame({"x": values}), "x", "input")
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, [1, np.nan, 3])


def test_booleans_are_numbers():
    series = pd.Series([True, None, False], dtype="boolean")
    np.testing.assert_array_equal(check_numeric(pd.DataFrame({"x": series}), "x", "reward"), [1, np.nan, 0])


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(pd.to_datetime(["2026-01-01"])),
        pd.Series(pd.to_timedelta(["1s"])),
        pd.Series(["a"], dtype="category"),
        pd.Series([1j]),
        pd.Series(["nan"]),
    ],
)
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ColumnError, match="'x' must be numeric"):
        check_numeric(pd.DataFrame({"x": values}), "x", "input")


def test_infinite_values_are_refused_with_their_row():
    with pytest.raises(ColumnError, match=r"'x' must be finite.*row 2 \(x=inf\)"):
        check_numeric(pd.DataFrame({"x": [1, np.inf]}), "x", "input")


def test_rows_are_counted_from_one_and_cut_off():
    frame = pd.DataFrame({"x": range(6)}, index=[9] * 6)
    text = first_rows(frame, np.array([False, True, True, True, True, True]), ["x"])
    assert text == "row 2 (x=1); row 3 (x=2); row 4 (x=3) and 2 more"
