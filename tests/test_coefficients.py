"""The coefficient table is a contract: any program may write it, and reading it completes and checks it."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from spicestat.coefficients import COLUMNS, OPTIONAL, CoefficientTable, read_coefficients
from spicestat.errors import ColumnError, DataError, ShapeError, StorageError, SuspiciousDataWarning


def minimal(**changes):
    base = {
        "participant": ["b", "b", "a", "a"],
        "module": ["x_value", "beta", "x_value", "beta"],
        "term": ["1", "x_value", "1", "x_value"],
        "estimate": [0.3, 3.0, 0.5, 2.0],
        "std_error": [0.1, 0.4, 0.2, 0.3],
    }
    return pd.DataFrame(base | changes)


def same(left, right):
    pd.testing.assert_frame_equal(left.frame, right.frame)
    assert left.terms == right.terms
    assert left.participants == right.participants


# --- contract -------------------------------------------------------------------------------------------------------


def test_columns_are_those_of_the_contract(tiny_fit):
    table = tiny_fit.coefficients
    assert tuple(name for name in table.frame.columns if name not in OPTIONAL) == COLUMNS
    assert set(OPTIONAL) < set(table.frame.columns)
    assert len(table.frame) == len(table.participants) * len(table.terms)
    assert table.frame["participant"].tolist() == [who for who in table.participants for _ in range(len(table.terms))]


def test_excluded_terms_are_zero_without_a_standard_error(tiny_fit):
    out = tiny_fit.coefficients.frame.query("not selected")
    assert len(out)
    assert (out["estimate"] == 0).all()
    assert out["std_error"].isna().all()
    assert out[["conf_low", "conf_high"]].isna().all(axis=None)


def test_free_terms_have_wald_intervals_from_the_covariance(tiny_fit):
    table = tiny_fit.coefficients
    free = table.frame["std_error"].notna().to_numpy()
    assert free.any()
    variance = np.diagonal(table.covariance, axis1=1, axis2=2).ravel()
    np.testing.assert_allclose(table.frame["std_error"][free] ** 2, variance[free], rtol=1e-12)
    margin = 1.959963984540054 * table.frame["std_error"][free]
    np.testing.assert_allclose(table.frame["conf_low"][free], table.frame["estimate"][free] - margin, rtol=1e-12)
    np.testing.assert_allclose(table.frame["conf_high"][free], table.frame["estimate"][free] + margin, rtol=1e-12)


def test_inverse_temperatures_are_module_beta(tiny_fit):
    assert tiny_fit.coefficients.terms[-1] == ("beta", "x_value_reward")


def test_minimal_columns_are_completed():
    table = CoefficientTable.from_frame(minimal())
    assert tuple(table.frame.columns) == COLUMNS
    assert table.participants == ("b", "a")
    assert table.terms == (("x_value", "1"), ("beta", "x_value"))
    assert table.frame["selected"].all()
    assert table.frame["converged"].all()
    assert not table.frame["at_bound"].any()
    assert table.share_unidentified == 0.0


def test_absent_terms_are_added_as_not_selected():
    table = CoefficientTable.from_frame(minimal().iloc[:3])
    added = table.frame.iloc[3]
    assert (added["participant"], added["module"]) == ("a", "beta")
    assert added["estimate"] == 0
    assert np.isnan(added["std_error"])
    assert not added["selected"]


def test_beta_comes_last_and_order_of_rows_does_not_matter():
    table = CoefficientTable.from_frame(minimal().iloc[[1, 0, 3, 2]])
    same(table, CoefficientTable.from_frame(minimal()))


def test_not_selected_rows_may_lack_an_estimate():
    frame = minimal(selected=[True, True, False, True], estimate=[0.3, 3.0, np.nan, 2.0])
    table = CoefficientTable.from_frame(frame)
    excluded = table.frame.query("not selected")
    assert len(excluded) == 1
    assert (excluded["estimate"] == 0).all()  # the contract: excluded terms have estimate 0


@pytest.mark.parametrize(
    "words", [["TRUE", "FALSE", "TRUE", "TRUE"], [1, 0, 1, 1], ["True", "false", "1", "1.0"], [1.0, 0.0, 1.0, 1.0]]
)
def test_truth_values_of_r_and_csv(words):
    table = CoefficientTable.from_frame(minimal(converged=words))
    assert table.frame["converged"].tolist() == [True, False, True, True]
    assert table.share_unidentified == 0.5


def test_other_words_for_truth_are_refused():
    with pytest.raises(ColumnError, match="'selected' must be true or false.*row 2"):
        CoefficientTable.from_frame(minimal(selected=["TRUE", "yes", "TRUE", "TRUE"]))


def test_share_unidentified_counts_participants():
    assert CoefficientTable.from_frame(minimal(at_bound=[True, True, False, False])).share_unidentified == 0.5


@pytest.mark.parametrize("column", ["participant", "module", "term", "estimate", "std_error"])
def test_required_columns_are_named(column):
    with pytest.raises(ColumnError, match=column):
        CoefficientTable.from_frame(minimal().drop(columns=column))


def test_duplicates_are_refused():
    with pytest.raises(DataError, match="duplicate rows.*row 5"):
        CoefficientTable.from_frame(pd.concat([minimal(), minimal().iloc[:1]]))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"std_error": [0.1, -0.4, 0.2, 0.3]}, DataError, "negative standard errors.*row 2"),
        ({"estimate": [0.1, np.nan, 0.2, 0.3], "selected": True}, DataError, "without an estimate.*row 2"),
        ({"participant": ["b", None, "a", "a"]}, DataError, "without a participant"),
        ({"estimate": ["a", "1", "2", "3"]}, ColumnError, "numeric"),
        ({"estimate": [np.inf, 1, 2, 3]}, ColumnError, "finite"),
    ],
)
def test_impossible_values_are_refused(changes, error, match):
    with pytest.raises(error, match=match):
        CoefficientTable.from_frame(minimal(**changes))


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="no rows"):
        CoefficientTable.from_frame(minimal().iloc[:0])


def test_input_is_not_changed():
    frame = minimal(converged=["TRUE"] * 4)
    before = frame.copy()
    CoefficientTable.from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("pair", [("b", "a"), (2, 1), (2.5, 1.0), (True, False)])
def test_labels_of_any_type(pair):
    labels = [pair[0], pair[0], pair[1], pair[1]]
    table = CoefficientTable.from_frame(minimal(participant=labels))
    assert table.participants == (labels[0], labels[2])
    assert table.wide().loc[labels[2], ("x_value", "1")] == 0.5


def test_wide_is_in_table_order():
    wide = CoefficientTable.from_frame(minimal()).wide("std_error")
    assert wide.index.tolist() == ["b", "a"]
    assert wide.to_numpy().tolist() == [[0.1, 0.4], [0.2, 0.3]]
    with pytest.raises(ColumnError):
        CoefficientTable.from_frame(minimal()).wide("p_value")


# --- covariance -----------------------------------------------------------------------------------------------------


def with_covariance():
    covariance = np.array([[[0.01, 0.02], [0.02, 0.16]], [[0.04, np.nan], [np.nan, 0.09]]])
    return CoefficientTable.from_frame(minimal(), covariance)


def test_covariance_round_trip_in_any_order():
    table = with_covariance()
    long = table.covariance_frame()
    assert len(long) == 6
    again = CoefficientTable.from_frame(minimal()).with_covariance_frame(long.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(again.covariance, table.covariance)


def test_without_a_covariance_its_table_is_empty():
    assert CoefficientTable.from_frame(minimal()).covariance_frame().empty


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"participant": "z"}, "unknown participants"), ({"row": 2}, "outside"), ({"column": -1}, "outside")],
)
def test_covariances_of_something_else_are_refused(changes, match):
    long = with_covariance().covariance_frame().assign(**changes)
    with pytest.raises(DataError, match=match):
        CoefficientTable.from_frame(minimal()).with_covariance_frame(long)


def test_covariance_of_the_wrong_shape_is_refused():
    with pytest.raises(ShapeError):
        CoefficientTable.from_frame(minimal(), np.zeros((2, 3, 3)))


# --- files ----------------------------------------------------------------------------------------------------------


def test_csv_with_the_minimal_columns(tmp_path):
    minimal().to_csv(tmp_path / "c.csv", index=False)
    same(read_coefficients(tmp_path / "c.csv"), CoefficientTable.from_frame(minimal()))


@pytest.mark.parametrize(("kept", "noticed"), [(12, False), (11, True), (10, True), (9, False)])
def test_a_file_that_was_cut_off_is_noticed(tmp_path, kept, noticed):
    rows = pd.MultiIndex.from_product([["a", "b", "c", "d"], ["x", "y", "z"]], names=["participant", "module"])
    table = rows.to_frame(index=False).assign(term="1", estimate=0.5, std_error=0.1)
    table.iloc[:kept].to_csv(tmp_path / "c.csv", index=False)
    if noticed:
        with pytest.warns(SuspiciousDataWarning, match=r"'d', has [12] rows, and all others have 3: was the file cut"):
            read_coefficients(tmp_path / "c.csv")
    else:
        assert len(read_coefficients(tmp_path / "c.csv").frame) == kept


def test_folder_round_trip(tmp_path):
    people = pd.DataFrame({"participant": ["b", "a"], "age": [30, 40]})
    table = CoefficientTable.from_frame(minimal(), with_covariance().covariance, people, {"model": "x"})
    again = read_coefficients(table.save(tmp_path / "new" / "folder"))
    same(again, table)
    np.testing.assert_array_equal(again.covariance, table.covariance)
    pd.testing.assert_frame_equal(again.people, people)
    assert again.info == {"model": "x"}


def test_folder_of_a_fit_is_read(tiny_fit, tmp_path):
    tiny_fit.save(tmp_path / "fit")
    table = read_coefficients(tmp_path / "fit")
    same(table, tiny_fit.coefficients)
    np.testing.assert_array_equal(table.covariance, tiny_fit.coefficients.covariance)


def test_saving_again_without_a_covariance_leaves_no_old_one(tmp_path):
    with_covariance().save(tmp_path)
    CoefficientTable.from_frame(minimal(participant=["y", "y", "z", "z"])).save(tmp_path)
    table = read_coefficients(tmp_path)
    assert table.participants == ("y", "z")
    assert table.covariance is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("coefficients.json", b"{"),
        ("coefficients.json", b"[]"),
        ("seal.json", b'{"format": 99}'),
        ("coefficients.json", b"\xff\xfe"),
        ("coefficients.parquet", b"PAR1"),
        ("coefficients.parquet", b""),
        ("covariance.parquet", b"nonsense"),
        ("people.parquet", b"nonsense"),
    ],
)
def test_damaged_files_are_storage_errors(name, content, tmp_path):
    people = pd.DataFrame({"participant": ["b", "a"], "age": [30, 40]})
    CoefficientTable.from_frame(minimal(), with_covariance().covariance, people).save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StorageError):
        read_coefficients(tmp_path)


@pytest.mark.parametrize("name", ["coefficients.json", "coefficients.parquet", "covariance.parquet", "people.parquet"])
def test_missing_files_are_storage_errors(name, tmp_path):
    people = pd.DataFrame({"participant": ["b", "a"], "age": [30, 40]})
    CoefficientTable.from_frame(minimal(), with_covariance().covariance, people).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(StorageError):
        read_coefficients(tmp_path)


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        with_covariance().save(tmp_path / "file")


def test_manifest_names_the_columns(tmp_path):
    with_covariance().save(tmp_path)
    manifest = json.loads((tmp_path / "coefficients.json").read_text())
    assert manifest["columns"] == list(COLUMNS)


def test_reading_a_csv_imports_neither_torch_nor_pysindy(tmp_path):
    minimal().to_csv(tmp_path / "c.csv", index=False)
    code = (
        "import sys, spicestat; spicestat.read_coefficients(sys.argv[1]); "
        "sys.exit(bool({'torch', 'pysindy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "c.csv")], check=False).returncode == 0
