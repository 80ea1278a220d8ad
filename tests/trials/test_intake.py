"""Exports as other software leaves them are read as they are meant, or refused and noticed with the remedy."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from spicestat import read_trials, spice_group
from spicestat._files.missing_values import as_missing, mark_missing
from spicestat._files.tables import read_table
from spicestat.errors import (
    ColumnError,
    ConfigError,
    CovariateError,
    DataError,
    ExclusionWarning,
    StorageError,
    SuspiciousDataWarning,
)
from spicestat.trials.labels import label_key, match_labels
from spicestat.trials.missing_codes import notice_numbers

SHARED = Path("../shared")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not here")


def trials(n=4, blocks=2, t=15, seed=3):
    """People p1.. with choices 1 and 2, rewards 0 and 1."""
    rng = np.random.default_rng(seed)
    keys = [(f"p{i}", b, k) for i in range(1, n + 1) for b in range(1, blocks + 1) for k in range(1, t + 1)]
    frame = pd.DataFrame(keys, columns=["participant", "block", "trial"])
    return frame.assign(choice=rng.integers(1, 3, len(frame)), reward=rng.integers(0, 2, len(frame)))


def coefficients(n=24, seed=5):
    """A coefficient of n people that rises by .01 per year, and their ages and groups."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, n).round(1)
    people = pd.DataFrame({"participant": [f"s{i}" for i in range(n)], "age": age, "grp": ["con", "pat"] * (n // 2)})
    estimate = 0.5 + 0.01 * (age - 40) + rng.normal(0, 0.1, n)
    table = {"participant": people["participant"], "module": "m", "term": "1", "estimate": estimate, "std_error": 0.05}
    return pd.DataFrame(table), people


def some(frame, step=10):
    """Mark every ``step``-th row."""
    return pd.Series(np.arange(len(frame)) % step == 3)


def same_numbers(left, right):
    pd.testing.assert_frame_equal(left.frame, right.frame)
    assert list(map(label_key, left.participants)) == list(map(label_key, right.participants))
    assert list(map(label_key, left.actions)) == list(map(label_key, right.actions))


# --- files ----------------------------------------------------------------------------------------------------------

CSV = trials().assign(reward=lambda d: d["reward"] + 0.5).to_csv(index=False)
ROWS = CSV.splitlines()


def as_text(**settings):
    return trials().assign(reward=lambda d: d["reward"] + 0.5).to_csv(index=False, **settings)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", CSV),
        ("t.txt", CSV),
        ("semicolons.csv", as_text(sep=";", decimal=",")),
        ("tabs.csv", as_text(sep="\t")),
        ("tabs.txt", as_text(sep="\t")),
        ("pipes.txt", as_text(sep="|")),
        ("quoted.csv", as_text(quoting=2)),
        ("blanks.csv", CSV.replace(",", ", ")),
        ("excel.csv", CSV + ",,,,\n" * 3),
        ("sep.csv", "sep=;\n" + as_text(sep=";")),
        ("comments.csv", "# written by a task\n# version 2, build 7\n\n" + CSV + "# end\n"),
        ("spare.csv", "\n".join(f"{row},," for row in ROWS)),
        ("trailing.csv", "\n".join([ROWS[0], *(f"{row}," for row in ROWS[1:])])),
        ("middle.csv", "\n".join(row.replace(",", ",,", 1) for row in ROWS)),
        ("windows.csv", CSV.replace("\n", "\r\n")),
        ("utf8.csv", CSV.encode("utf-8-sig")),
        ("utf16.csv", CSV.encode("utf-16")),
        ("utf16le.csv", CSV.encode("utf-16-le")),
        ("utf16be.txt", CSV.encode("utf-16-be")),
        ("utf32.csv", CSV.encode("utf-32")),
        ("write_table.txt", "\n".join([ROWS[0], *(f"r{i},{row}" for i, row in enumerate(ROWS[1:]))]).replace(",", " ")),
        ("write_table.tsv", "\n".join([ROWS[0], *(f"{i},{row}" for i, row in enumerate(ROWS[1:]))]).replace(",", "\t")),
    ],
)
def test_text_files_of_other_software_are_read_alike(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    expected = read_trials(trials().assign(reward=lambda d: d["reward"] + 0.5), block="block", trial="trial")
    same_numbers(read_trials(path, block="block", trial="trial"), expected)


def test_latin_letters_and_a_commented_header(tmp_path):
    (tmp_path / "latin.csv").write_bytes("id,näme\n1,Zoë\n".encode("latin-1"))
    assert read_table(tmp_path / "latin.csv").to_dict("list") == {"id": [1], "näme": ["Zoë"]}
    (tmp_path / "numpy.txt").write_text("# a b\n1.5 2\n2.5 3\n")
    assert read_table(tmp_path / "numpy.txt").to_dict("list") == {"a": [1.5, 2.5], "b": [2, 3]}


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        (CSV + "p9,1,16,1,0.5,7\n", StorageError, "line 122 of .* has 6 cells, and the header has 5"),
        (CSV + "p9,1,1", StorageError, "line 122 of .* has 3 cells"),
        (CSV.replace("p2,1,4,", 'p2,1,"4,'), StorageError, "cells, and the header has 5"),
        ("\n".join([ROWS[0], *(f"{i},{row}" for i, row in enumerate(ROWS[1:]))]), StorageError, "has 6 cells"),
        ("My study\n" + CSV, StorageError, "line 1 .*names one column.*Got: My study.*remove the lines above"),
        ("My study,,,,\n" + CSV, StorageError, "line 1 .*names one column.*Got: My study.*remove the lines above"),
        ("a,b,a\n1,2,3\n", ColumnError, "same name. Got: a"),
        ("", StorageError, "empty"),
    ],
)
def test_shifted_columns_and_repeated_names_are_refused(tmp_path, content, error, match):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(error, match=match):
        read_trials(tmp_path / "t.csv", block="block", trial="trial")


def test_workbooks_are_read(tmp_path):
    frame = trials().assign(participant=lambda d: d["participant"].str.replace("p", "00"))
    frame.loc[3, ["choice", "reward"]] = None
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, index=False, sheet_name="data")
        pd.DataFrame().to_excel(book, index=False, sheet_name="empty")
    found = read_trials(tmp_path / "t.xlsx", block="block", trial="trial")
    same_numbers(found, read_trials(frame, block="block", trial="trial"))
    assert found.participants[0] == "001"
    with pd.ExcelWriter(tmp_path / "two.xlsx") as book:
        for sheet in ("a", "b"):
            frame.to_excel(book, sheet_name=sheet)
    with pytest.raises(StorageError, match="one sheet that is not empty. Got: 'a', 'b'"):
        read_table(tmp_path / "two.xlsx")


def test_workbooks_without_openpyxl_are_an_error_that_says_what_to_install(tmp_path, monkeypatch):
    trials().to_excel(tmp_path / "t.xlsx", index=False)
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(StorageError, match=r"pip install 'spicestat\[excel\]'"):
        read_table(tmp_path / "t.xlsx")


def test_tables_of_polars_and_pyarrow_are_read():
    polars = pytest.importorskip("polars")
    frame = trials()
    expected = read_trials(frame, block="block", trial="trial")
    for table in (pa.Table.from_pandas(frame), polars.DataFrame(frame.to_dict("list"))):
        same_numbers(read_trials(table, block="block", trial="trial"), expected)


def test_one_file_for_each_participant(tmp_path):
    frame = trials()
    expected = read_trials(frame, block="block", trial="trial")
    for person, own in frame.groupby("participant"):
        own.drop(columns="participant").to_csv(tmp_path / f"{person}.csv", index=False)
    same_numbers(read_trials(tmp_path / "*.csv", block="block", trial="trial"), expected)
    same_numbers(read_trials(sorted(tmp_path.glob("*.csv")), block="block", trial="trial"), expected)
    same_numbers(read_trials(f"{tmp_path}/p[1-4].csv", block="block", trial="trial"), expected)
    with pytest.raises(StorageError, match=r"no file matches"):
        read_trials(tmp_path / "*.tsv")
    with pytest.raises(StorageError, match=r"is a folder.*/\*\.csv"):
        read_trials(tmp_path)


def test_several_files_of_one_participant_are_noticed(tmp_path):
    frame = trials(2).drop(columns="trial")
    for (person, block), own in frame.groupby(["participant", "block"]):
        own.drop(columns="block").to_csv(tmp_path / f"{person}-{block}.csv", index=False)
    with pytest.warns(SuspiciousDataWarning, match="column 'file' is there.*pass block='file'"):
        read_trials(tmp_path / "*.csv")
    same_numbers(read_trials(tmp_path / "*.csv", block="file"), read_trials(frame, block="block"))


def test_names_of_bids_have_participant_session_and_run(tmp_path):
    frame = trials(2)
    for (person, block), own in frame.groupby(["participant", "block"]):
        (tmp_path / f"sub-{person}").mkdir(exist_ok=True)
        name = f"sub-{person}/sub-{person}_ses-{block}_task-bandit_beh.tsv"
        own[["trial", "choice", "reward"]].to_csv(tmp_path / name, sep="\t", index=False, na_rep="n/a")
    found = read_trials(tmp_path / "sub-*" / "*.tsv", block="session", trial="trial")
    assert found.participants == ("sub-p1", "sub-p2")
    assert found.blocks["label"].tolist() == ["1", "2"] * 2
    pd.testing.assert_frame_equal(found.frame, read_trials(frame, block="block", trial="trial").frame)
    for path in tmp_path.glob("sub-*/*.tsv"):
        path.write_text(path.read_text().replace("\t", "\tp\t").replace("p\tchoice", "participant\tchoice"))
    found = read_trials(tmp_path / "sub-p1" / "*.tsv", block="session", trial="trial")
    assert (found.participants, found.blocks["label"].tolist()) == (("p",), ["1", "2"])


def test_files_that_lack_a_column_are_named(tmp_path):
    trials(1).assign(age=31).to_csv(tmp_path / "a.csv", index=False)
    trials(1).assign(participant="q").to_csv(tmp_path / "b.csv", index=False)
    with pytest.warns(SuspiciousDataWarning, match="'b.csv' lacks age"):
        found = read_trials(tmp_path / "*.csv", block="block", trial="trial")
    np.testing.assert_array_equal(found.people["age"], [31, np.nan])


# --- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*zeros around a number")
@pytest.mark.parametrize(
    "ids",
    [
        ["001", "002", "003", "004"],
        ["1.1", "1.10", "1.2", "2.1"],
        ["60e14", "61e4", "6e5", "7e2"],
        ["007", "7", "1e3", "1000"],
        ["NA", "nan", "None", "TRUE"],
        ["0x10", "1_000", "Infinity", "-0"],
        ["9007199254740993", "9007199254740992", "1", "2"],
    ],
)
def test_ids_in_files_stay_as_written(tmp_path, ids):
    frame = trials(blocks=1).assign(participant=np.repeat(ids, 15))
    people = pd.DataFrame({"participant": ids, "age": [20, 30, 40, 50]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    people.to_csv(tmp_path / "people.csv", index=False)
    found = read_trials(tmp_path / "t.csv", people=tmp_path / "people.csv", covariates=["age"])
    assert sorted(found.participants) == sorted(ids)
    assert dict(zip(found.participants, found.people["age"], strict=True)) == dict(
        zip(ids, [20, 30, 40, 50], strict=True)
    )
    table, _ = coefficients(4)
    table.assign(participant=ids).to_csv(tmp_path / "c.csv", index=False)
    group = spice_group(tmp_path / "c.csv", "~ 1", data=tmp_path / "people.csv")
    assert group.table.participants == tuple(ids)


def test_only_a_blank_id_is_missing(tmp_path):
    (tmp_path / "t.csv").write_text("participant,choice,reward\nNA,1,0\nNA,2,1\n,1,1\n")
    with pytest.raises(DataError, match="'participant' has missing values.*row 3"):
        read_trials(tmp_path / "t.csv")


def test_numbers_as_labels_of_actions_and_blocks_keep_their_order(tmp_path):
    frame = trials(2, blocks=11)
    frame["choice"] = np.where(frame["choice"] == 1, 9, 10)
    frame.loc[5, ["choice", "reward"]] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert "10.0" in (tmp_path / "t.csv").read_text()  # what pandas makes of whole numbers with gaps
    found = read_trials(tmp_path / "t.csv", block="block", trial="trial")
    assert found.actions == ("9", "10")
    assert found.blocks["label"].tolist() == [str(block) for block in range(1, 12)] * 2
    same_numbers(read_trials(tmp_path / "t.csv", block="block", trial="trial", actions=[9, 10]), found)


@pytest.mark.parametrize(
    ("here", "there"), [("01", "1"), ("p01", "p1"), ("P1", "p1"), ("1.0", "1"), ("01", 1), ("p 1", "p1")]
)
def test_ids_that_look_alike_but_differ_are_an_error_that_names_both(here, there):
    frame = trials(2).replace({"participant": {"p1": here, "p2": "A4"}})
    people = pd.DataFrame({"participant": [there, "A4"], "age": [20, 30]})
    both = re.escape(f"{here!r} and {there!r}")
    with pytest.raises(CovariateError, match=both):
        read_trials(frame, block="block", trial="trial", people=people)
    table, _ = coefficients(2)
    with pytest.raises(CovariateError, match=both):
        spice_group(table.assign(participant=[here, "A4"]), "~ 1", data=people)


@pytest.mark.parametrize(("here", "there"), [(1, "1"), ("1", 1.0), (" p1", "p1"), ("s0 ", "s0"), (2.5, "2.5")])
def test_one_rule_matches_ids_of_trials_people_and_group_models(here, there):
    frame = trials(2)
    frame["participant"] = frame["participant"].astype(object).map({"p1": here, "p2": "A4"})
    people = pd.DataFrame({"participant": pd.Series([there, "A4"], dtype=object), "age": [20, 30]})
    found = read_trials(frame, block="block", trial="trial", people=people)
    assert found.people.set_index("participant")["age"][here] == 20
    assert match_labels([here], [there], here="a", there="b").tolist() == [0]
    table, people = coefficients(12)
    ids = pd.Series([here, *[f"x{i}" for i in range(11)]], dtype=object)
    people = people.assign(participant=[there, *ids[1:]])
    given = spice_group(table.assign(participant=ids), "~ age", data=people).tidy()
    same = spice_group(table.assign(participant=ids), "~ age", data=people.assign(participant=ids)).tidy()
    pd.testing.assert_frame_equal(given, same)


# --- missing= and codes ---------------------------------------------------------------------------------------------


def coded(code, **columns):
    frame = trials()
    choice = frame["choice"].astype(object) if isinstance(code, int | float) else frame["choice"].map({1: "L", 2: "R"})
    return frame.assign(
        choice=choice.where(~some(frame), code), reward=frame["reward"].where(~some(frame), 0), **columns
    )


@pytest.mark.parametrize("code", [-1, 0, 9, 99, -99, 999, "NR", "n/a", "N/A", ".", "NaN", "missing", "None", "NA"])
def test_codes_among_choices_are_noticed_with_the_line_that_reads_them_right(code):
    frame = coded(code)
    with pytest.warns(SuspiciousDataWarning, match=re.escape(f"missing={{'choice': [{code!r}]}}")):
        assert read_trials(frame, block="block", trial="trial").n_actions == 3
    found = read_trials(frame, block="block", trial="trial", missing={"choice": [code]})
    expected = frame.assign(choice=frame["choice"].where(~some(frame), None))
    same_numbers(found, read_trials(expected, block="block", trial="trial"))
    assert found.record["n_missing_choices"] == some(frame).sum()
    assert found.record["marked_missing"] == {"choice": {str(code): int(some(frame).sum())}}
    assert f"made missing: choice {str(code)!r} {some(frame).sum()}x" in " ".join(repr(found).split())


@pytest.mark.parametrize("code", [-1, "NR"])
def test_codes_among_choices_of_a_file_are_noticed(tmp_path, code):
    coded(code).to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(SuspiciousDataWarning, match=re.escape(f"missing={{'choice': [{str(code)!r}]}}")):
        read_trials(tmp_path / "t.csv", block="block", trial="trial")
    assert read_trials(tmp_path / "t.csv", block="block", trial="trial", missing=code).n_actions == 2


def test_what_r_and_pandas_write_for_missing_choices_is_missing(tmp_path):
    for word in ("", "NA", "NaN", "n/a"):
        coded(word).to_csv(tmp_path / "t.csv", index=False)
        found = read_trials(tmp_path / "t.csv", block="block", trial="trial")
        assert (found.actions, found.record["n_missing_choices"]) == (("L", "R"), 12)


@pytest.mark.parametrize("rt", ["rt", None])
def test_a_choice_without_response_times_is_noticed_whatever_it_is_called(rt):
    frame = coded("zz", rt=0.6)
    frame["reward"] = trials()["reward"]
    frame.loc[some(frame), "rt"] = np.nan
    with pytest.warns(SuspiciousDataWarning, match=r"'zz'.*never have a response time.*missing=\{'choice': \['zz'\]\}"):
        read_trials(frame, block="block", trial="trial", rt=rt)


def test_real_actions_say_nothing():
    frame = trials()
    signs = frame.assign(choice=np.arange(len(frame)) % 3 - 1)  # -1, 0 and 1, which all pay at times
    read_trials(signs, block="block", trial="trial")
    read_trials(frame.replace({"choice": {1: -1, 2: 0}}), block="block", trial="trial")
    never = frame.assign(choice=frame["choice"] - 1, reward=frame["reward"] * (frame["choice"] - 1))
    read_trials(never, block="block", trial="trial")
    read_trials(coded(-1), block="block", trial="trial", missing={"choice": []})
    read_trials(coded(-1), block="block", trial="trial", actions=[-1, 1, 2])


@pytest.mark.parametrize(
    ("column", "code", "role"), [("reward", 99, {}), ("reward", -999, {}), ("reward", 9, {}), ("rt", 99, {"rt": "rt"})]
)
def test_impossible_rewards_and_times_are_refused(column, code, role):
    frame = trials().assign(rt=lambda d: 0.5 + 0.01 * (d["trial"] % 7))
    coded_frame = frame.assign(**{column: frame[column].where(~some(frame), code)})
    n = some(frame).sum()
    with pytest.raises(DataError, match=re.escape(f"'{column}' has the value {code} in {n} of")) as caught:
        read_trials(coded_frame, block="block", trial="trial", **role)
    assert f"missing={{'{column}': [{code}]}}" in str(caught.value)
    found = read_trials(coded_frame, block="block", trial="trial", missing={column: code}, **role)
    expected = frame.assign(**{column: frame[column].where(~some(frame))})
    same_numbers(found, read_trials(expected, block="block", trial="trial", **role))


@pytest.mark.parametrize("rewards", [[0, 1], [-1, 0, 1], [0] * 9 + [1], [0.0, -0.5, 0.5], [1, 2, 3, 9], [9] + [1] * 9])
def test_usual_rewards_say_nothing(rewards):
    notice_numbers(np.resize(np.array(rewards, dtype=float), 200), "reward", "reward", as_missing(None))


POINTS = np.random.default_rng(2).normal(50, 10, 200).round()


@pytest.mark.parametrize(
    ("values", "code"),
    [([0, 1], -1), ([1, 2], 0), ([1, 2], 9), (POINTS, 0), (POINTS, -1), ([0, 1, 2], -1)],
)
def test_rare_codes_outside_of_all_others_are_noticed(values, code):
    numbers = np.resize(np.array(values, dtype=float), 200)
    numbers[::40] = code
    for what in ("reward", "covariate"):
        with pytest.warns(SuspiciousDataWarning, match=re.escape(f"missing={{'x': [{code}]}}")):
            notice_numbers(numbers, "x", what, as_missing(None), refuse=False)


@pytest.mark.parametrize("code", ["NR", "-99", -99, "timeout"])
def test_codes_that_no_option_is_called_are_noticed_whatever_they_pay(code):
    frame = coded(code).assign(reward=trials()["reward"])
    with pytest.warns(SuspiciousDataWarning, match=re.escape(f"missing={{'choice': [{code!r}]}}")):
        read_trials(frame, block="block", trial="trial")


@pytest.mark.parametrize("code", [-99, 999, -9, -1, 0])
def test_codes_among_ages_are_refused_or_noticed(code):
    table, people = coefficients()
    people.loc[4, "age"] = code
    expected = spice_group(table.drop(index=4), "~ age", data=people.drop(index=4)).tidy()
    if abs(code) > 9:
        with pytest.raises(CovariateError, match=re.escape(f"missing={{'age': [{code}]}}")):
            spice_group(table, "~ age", data=people)
    else:
        with pytest.warns(SuspiciousDataWarning, match=re.escape(f"missing={{'age': [{code}]}}")):
            spice_group(table, "~ age", data=people)
    with pytest.warns(ExclusionWarning, match="lack 'age'"):
        found = spice_group(table, "~ age", data=people, missing={"age": [code]}).tidy()
    pd.testing.assert_frame_equal(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spice_group(table, "~ age", data=people, missing={"age": []})  # they are meant


def test_codes_in_covariates_of_a_fit_are_refused_when_they_are_used(tmp_path):
    frame = trials(8).assign(age=lambda d: 30.0 + d["participant"].str[1:].astype(int))
    frame.loc[frame["participant"] == "p3", "age"] = -99
    with pytest.warns(SuspiciousDataWarning, match=r"missing=\{'age': \[-99\]\}"):
        read_trials(frame, block="block", trial="trial")
    with pytest.raises(CovariateError, match=r"missing=\{'age': \[-99\]\}"):
        read_trials(frame, block="block", trial="trial", covariates=["age"])
    found = read_trials(frame, block="block", trial="trial", missing=[-99])
    assert found.people["age"].isna().tolist() == [False, False, True] + [False] * 5


def test_a_blank_category_is_missing():
    table, people = coefficients()
    for blank in ("", "  "):
        for kind in (object, "category"):
            people.loc[3, "grp"] = blank
            with pytest.warns(ExclusionWarning, match="1 of 24 participants lack 'grp'.*'s3'"):
                found = spice_group(table, "~ grp", data=people.astype({"grp": kind})).tidy()
            assert found["term"].tolist() == ["(Intercept)", "grppat"]
            people["grp"] = people["grp"].astype(object)


def test_missing_takes_lists_and_mappings_and_leaves_ids_alone():
    table = pd.DataFrame({"id": ["-99", "b"], "x": [-99.0, 1], "y": ["-99.0", "2"], "z": ["NR", "-99"]})
    marked, counts = mark_missing(table, as_missing([-99, "NR"]), ids=["id"])
    assert marked.isna().sum().to_dict() == {"id": 0, "x": 1, "y": 1, "z": 2}
    assert marked["y"].dtype == np.float64
    assert counts == {"x": {"-99": 1}, "y": {"-99": 1}, "z": {"-99": 1, "NR": 1}}
    assert mark_missing(table, as_missing({"z": "NR"}))[0].isna().sum().sum() == 1
    for bad in ([None], {"x": [None]}, [["a"]]):
        with pytest.raises(ConfigError, match="`missing` holds something"):
            as_missing(bad)


# --- near-duplicates and odd cells ----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["participant", "block", "task", "site"])
@pytest.mark.parametrize("twin", ["A", " a", "a\u200b", "\uff41"])
def test_labels_that_look_alike_are_noticed_in_every_column(column, twin):
    frame = trials(3).assign(site="a", task="a", block=lambda d: d["block"].map({1: "a", 2: "b"}))
    frame["participant"] = frame["participant"].map({"p1": "a", "p2": "b", "p3": "c"})
    frame["trial"] = range(len(frame))
    other = frame["participant"] != "a"
    frame.loc[other, column] = frame.loc[other, column].replace({"b" if column == "participant" else "a": twin})
    with pytest.warns(SuspiciousDataWarning, match=f"column '{column}'"):
        read_trials(frame, block="block", trial="trial", experiment="task")


@pytest.mark.parametrize("pair", [("7", "007"), ("7", "7.0"), ("s1", "s01"), ("B", "b")])
def test_zeros_around_numbers_are_noticed_in_ids_choices_and_categories(pair):
    frame = trials(2).assign(participant=lambda d: d["participant"].map({"p1": pair[0], "p2": pair[1]}))
    with pytest.warns(SuspiciousDataWarning, match="'participant' has labels that differ only"):
        read_trials(frame, block="block", trial="trial")
    frame = trials().assign(choice=lambda d: d["choice"].map({1: pair[0], 2: pair[1]}))
    with pytest.warns(SuspiciousDataWarning, match="'choice' has labels that differ only"):
        read_trials(frame, block="block", trial="trial")
    table, people = coefficients()
    people["grp"] = np.resize([*pair, "c"], 24)
    with pytest.warns(SuspiciousDataWarning, match="'grp' has labels that differ only"):
        spice_group(table, "~ grp", data=people)


@pytest.mark.parametrize("code", ["-99", "99", "NR", "n/a", "."])
def test_codes_among_categories_are_noticed(code):
    table, people = coefficients()
    people.loc[3, "grp"] = code
    for kind in (object, "category"):
        with pytest.warns(SuspiciousDataWarning, match=re.escape(f"missing={{'grp': [{code!r}]}}")):
            spice_group(table, "~ grp", data=people.astype({"grp": kind}))


def test_decimal_commas_that_came_as_text_are_noticed():
    table, people = coefficients()
    people["age"] = people["age"].astype(str).str.replace(".", ",")
    with pytest.warns(SuspiciousDataWarning, match="'age' has numbers that are stored as text"):
        spice_group(table, "~ grp", data=people)


@pytest.mark.parametrize("kind", [str, object])
def test_one_odd_cell_among_numbers_is_noticed_and_refused_where_it_is_used(kind):
    table, people = coefficients()
    expected = people.drop(index=4)
    people["age"] = people["age"].astype(kind)  # text throughout, or numbers and text side by side as in Excel
    people.loc[4, "age"] = "n.a."
    remedy = r"missing=\{'age': \['n.a.'\]\}"
    with pytest.raises(CovariateError, match=rf"'age' is text because of 'n.a.' among 23 numbers.*{remedy}"):
        spice_group(table, "~ age", data=people)
    with pytest.warns(SuspiciousDataWarning, match=remedy):
        spice_group(table, "~ grp", data=people)
    with pytest.warns(ExclusionWarning):
        found = spice_group(table, "~ age", data=people, missing={"age": ["n.a."]}).tidy()
    pd.testing.assert_frame_equal(found, spice_group(table.drop(index=4), "~ age", data=expected).tidy())
    frame = trials(24).merge(people.assign(participant=[f"p{i}" for i in range(1, 25)]), on="participant")
    with pytest.warns(SuspiciousDataWarning, match=r"'age' is text because of 'n.a.'"):
        read_trials(frame, block="block", trial="trial")


# --- columns without a role -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "block",
        "Block",
        "block_number",
        "blockNr",
        "iBlock",
        "sub_block",
        "session",
        "ses_id",
        "expSession",
        "run",
        "visit",
    ],
)
def test_blocks_and_sessions_without_a_role_are_noticed(name):
    frame = trials().rename(columns={"block": name}).drop(columns="trial")
    with pytest.warns(SuspiciousDataWarning, match=f"column '{name}' is there.*pass block='{name}'"):
        read_trials(frame)
    read_trials(frame, block=name)


@pytest.mark.parametrize("name", ["trial", "trial_index", "trials.thisN", "TrialNumber"])
def test_trials_out_of_order_are_noticed(name):
    frame = trials().rename(columns={"trial": name})
    read_trials(frame, block="block")  # the rows are in its order
    shuffled = frame.sort_values(["participant", "block", name], ascending=[True, True, False])
    with pytest.warns(SuspiciousDataWarning, match=re.escape(f"trial='{name}'")):
        read_trials(shuffled, block="block")
    same_numbers(read_trials(shuffled, block="block", trial=name), read_trials(frame, block="block"))


def test_blocks_that_run_over_sessions_are_noticed():
    frame = trials(blocks=4).assign(session=lambda d: (d["block"] - 1) // 2, block=lambda d: (d["block"] - 1) % 2)
    frame["trial"] = frame.groupby("participant").cumcount()
    with pytest.warns(SuspiciousDataWarning, match="make one column of 'block' and 'session'"):
        read_trials(frame, block="block", trial="trial")


def test_several_rows_per_trial_are_refused():
    frame = trials().drop(columns="trial").assign(part="response")
    empty = frame.assign(choice=None, reward=None)
    rows = pd.concat([empty.assign(part="fixation"), frame, empty.assign(part="feedback")]).sort_index(kind="stable")
    twice = trials().loc[lambda d: d.index.repeat(2)]  # the choice stands on both rows
    with pytest.warns(SuspiciousDataWarning, match="120 of 240 rows repeat the number of the row before"):
        read_trials(twice, block="block")
    with pytest.raises(DataError, match="240 of 360 rows have no choice.*those where 'part' is 'response'"):
        read_trials(rows, block="block")
    assert len(read_trials(rows[rows["part"] == "response"], block="block").frame) == 120


def test_gains_and_losses_are_no_rewards_of_two_actions():
    frame = trials().assign(gain=lambda d: d["reward"] * 1.0, loss=lambda d: d["reward"] - 1.0)
    with pytest.raises(ConfigError, match="look like gains and losses"):
        read_trials(frame, block="block", trial="trial", reward=["gain", "loss"])
    renamed = frame.rename(columns={"gain": "a", "loss": "b"})
    with pytest.warns(SuspiciousDataWarning, match="only gains and the other only losses"):
        read_trials(renamed, block="block", trial="trial", reward=["a", "b"])
    named = frame.assign(choice=frame["choice"].map({1: "gain", 2: "loss"}))
    read_trials(named.assign(loss=frame["reward"]), block="block", trial="trial", reward=["gain", "loss"])


def test_every_unused_column_and_row_is_in_the_record_and_printed():
    frame = pd.concat([trials(), pd.DataFrame([{}] * 3)], ignore_index=True)
    frame["note"], frame["key"], frame["age"] = np.nan, np.arange(len(frame)), 30.0
    frame.loc[120:, "age"] = frame.loc[120:, "key"] = np.nan
    extra = trials(1, blocks=1).assign(participant="stuck", choice=1, key=1, age=30)
    with pytest.warns(ExclusionWarning):
        found = read_trials(pd.concat([frame, extra], ignore_index=True), block="block", trial="trial", covariates=[])
    assert found.record["unused_columns"] == {
        "note": "empty",
        "key": "varies within participants",
        "age": "not among the covariates",
    }
    assert found.record["unused_rows"] == {"empty": 3, "of participants who are left out": 15}
    assert found.record["n_rows_read"] == len(found.frame) + 18
    assert "columns not used: note (empty); key (varies within participants); age (not among" in " ".join(
        repr(found).split()
    )
    assert "rows not used: 18 of 138 (3 empty, 15 of participants who are left out)" in " ".join(repr(found).split())


# --- real tables ----------------------------------------------------------------------------------------------------

OUTCOME = {"reward": lambda d: (d.filter(regex="^cho").iloc[:, 0] == "later") * 1.0}  # tasks without feedback
TASKS = {"participant": "subject"}


CARDS = ["card_left", "card_right"]
SIDES = {"left": "stim_left", "right": "stim_right"}
SEEN = {"stimulus": "stimulus", "context": "setsize"}
OFFERS = {"amount": ["amount_sooner", "amount_later"], "delay": ["delay_sooner", "delay_later"]}


@needs_shared
@pytest.mark.filterwarnings("ignore::spicestat.errors.ScaleWarning")
@pytest.mark.parametrize(
    ("name", "columns", "roles"),
    [
        ("data/avoid_restless", {}, {"block": "session", "trial": "trial", "inputs": ["punish", "rt_ms"]}),
        ("data/cards4_many", {}, {"block": "block", "trial": "trial", "rt": "rt", "options": CARDS}),
        ("data/dezfouli2019", {}, {"block": "block", "trial": "trial"}),
        ("data/rlwm_sz", {}, {"block": "block", "rt": "rt", "stimulus": "stimulus", "inputs": ["set_size"]}),
        (
            "data/gainloss_retest",
            {},
            {"block": "session", "reward": "outcome", "stimulus": "pair", "inputs": ["outcome_unchosen", "rt_ms"]},
        ),
        (
            "data/hunger_discounting",
            OUTCOME,
            {"block": "list", "trial": "trial", "attributes": OFFERS, "inputs": ["hunger"]},
        ),
        ("cases/tasks/pst", {}, {"choice": "resp", "reward": "feedback", "options": SIDES, **TASKS}),
        ("cases/tasks/gng", {}, {"choice": "go", "reward": "outcome", "stimulus": "cue", **TASKS}),
        ("cases/tasks/rlwm", {}, {"choice": "key", "reward": "correct", "block": "block", **SEEN, **TASKS}),
        ("cases/tasks/two_step", {}, {"choice": "choice1", "trial": "trial", **TASKS}),
        ("cases/tasks/igt", {}, {"choice": "deck", "reward": "loss", "inputs": ["gain"], **TASKS}),
        ("cases/tasks/discounting", OUTCOME, {"choice": "chose", "attributes": OFFERS, **TASKS}),
    ],
)
def test_real_codes_of_real_tables_say_nothing(tmp_path, name, columns, roles):
    path = SHARED / f"{name}.csv.gz"
    table = pd.read_csv(path)
    if roles.get("block") == "list":
        columns = {**columns, "list": lambda d: d["session"].astype(str) + d["commodity"]}
    read_trials(table.assign(**columns), **roles)
    if not columns:
        same_numbers(read_trials(path, **roles), read_trials(table, **roles))
