"""Tables are read and written by their ending, and bad columns are named with their first rows."""

import csv
import errno
import gzip
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from spicestat._files.atomic import save_or_rescue
from spicestat._files.tables import (
    check_numeric,
    check_table_target,
    first_rows,
    read_table,
    require_columns,
    write_table,
)
from spicestat.errors import ColumnError, StorageError

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
        ("bytes.csv", bytes(range(256))),
        ("t.xlsx", b""),
        ("t.xlsx", b"PK\x03\x04 and no more"),
        ("renamed.csv", b"PK\x03\x04 a workbook"),
    ],
)
def test_damaged_files_are_storage_errors_that_name_the_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StorageError, match=name.replace(".", r"\.")):
        read_table(path)


def test_unwritable_tables_are_storage_errors(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="unknown kind"):
        write_table(TABLE, tmp_path / "t.xlsx")
    with pytest.raises(StorageError, match="cannot write"):
        write_table(TABLE, tmp_path / "file" / "t.csv")
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


# --- writing all or nothing -----------------------------------------------------------------------------------------

ENDINGS = ["csv", "csv.gz", "tsv", "parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_the_older_table(tmp_path, monkeypatch, ending):
    path = write_table(TABLE, tmp_path / f"t.{ending}")

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("spicestat._files.atomic.write_synced", full_disk)
        with pytest.raises(StorageError, match="No space left"):
            write_table(pd.concat([TABLE] * 100), path)
    pd.testing.assert_frame_equal(read_table(path), TABLE)
    assert [file.name for file in tmp_path.iterdir()] == [f"t.{ending}"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    code = (
        "import os, sys, signal, pandas as pd, spicestat._files.atomic as files\n"
        "files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from spicestat._files.tables import write_table\n"
        "write_table(pd.DataFrame({'a': [1]}), sys.argv[1])\n"
    )
    path = write_table(TABLE, tmp_path / "t.csv")
    subprocess.run([sys.executable, "-c", code, path], check=False)
    pd.testing.assert_frame_equal(read_table(path), TABLE)
    assert len(list(tmp_path.iterdir())) == 2
    write_table(TABLE, path)
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "file/t.csv", "t.xyz", "folder.csv"])
def test_an_impossible_target_is_found_before_the_work(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(StorageError) as caught:
        check_table_target(tmp_path / name)
    assert len(str(caught.value)) < 500
    with pytest.raises(StorageError):
        write_table(TABLE, tmp_path / name)


def test_what_cannot_be_saved_is_saved_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="was saved in '.*/spicestat-rescued-.*/t.csv' instead"):
        save_or_rescue(lambda path: write_table(TABLE, path), tmp_path / "file" / "t.csv")
    (rescued,) = tmp_path.glob("spicestat-rescued-*/t.csv")
    pd.testing.assert_frame_equal(read_table(rescued), TABLE)


def test_an_older_file_keeps_its_rights(tmp_path):
    path = write_table(TABLE, tmp_path / "t.csv")
    path.chmod(0o600)
    write_table(TABLE, path)
    assert path.stat().st_mode & 0o777 == 0o600


# --- spreadsheets ---------------------------------------------------------------------------------------------------

FORMULAS = [
    "=1+1", "+x", "-x", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://x")', "'=x", "''-x", "'x", "-1", "+.5", "x",
]  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_come_back_and_are_no_formulas_in_a_spreadsheet(tmp_path, ending):
    table = pd.DataFrame({"=id": FORMULAS, "level": pd.Categorical(FORMULAS), "number": -1.5})
    path = write_table(table, tmp_path / f"t.{ending}")
    again = read_table(path)
    assert again["=id"].tolist() == again["level"].tolist() == FORMULAS
    assert again["number"].tolist() == [-1.5] * len(FORMULAS)
    if ending == "csv":
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        risky = [cell for cell in cells if cell[0] in "=+-@\t\r"]
        assert all(float(cell) for cell in risky)


# --- damaged Parquet ------------------------------------------------------------------------------------------------


def test_damaged_parquet_is_an_error_of_ours_wherever_the_damage_is(tmp_path):
    path = write_table(TABLE, tmp_path / "t.parquet")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=300):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with suppress(StorageError):
            read_table(path)
