"""The column protocol returns what was sent, for every type, with and without missing values."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicestat.errors import ColumnError, DataError
from spicestat.r.columns import decode_table, encode_table

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
PLAIN = (dict, list, str, int, float, bool)


def round_trip(frame: pd.DataFrame) -> pd.DataFrame:
    """Send a frame there and back through JSON, which only plain objects survive."""
    return decode_table(json.loads(json.dumps(encode_table(frame))))


def assert_plain(value: object) -> None:
    assert type(value) in PLAIN
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        assert_plain(item)


def values_of(frame: pd.DataFrame) -> list[object]:
    return [None if pd.isna(value) else value for value in frame["x"]]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=5))
def test_floats_keep_every_bit(values: list[float | None]) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype="float64")})
    assert values_of(round_trip(frame)) == values


@given(st.lists(st.integers(-(2**53), 2**53), max_size=5))
def test_integers_up_to_2_to_the_53(values: list[int]) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype="int64")})
    assert values_of(round_trip(frame)) == values


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31) + 1, 2**31 - 1)), max_size=5))
def test_missing_integers_become_floats_as_in_read_csv(values: list[int | None]) -> None:
    received = round_trip(pd.DataFrame({"x": pd.array(values, dtype="Int64")}))
    assert values_of(received) == values
    assert received["x"].dtype == ("float64" if None in values else "int64")


@given(st.lists(st.one_of(st.none(), st.booleans()), max_size=5))
def test_booleans(values: list[bool | None]) -> None:
    assert values_of(round_trip(pd.DataFrame({"x": pd.array(values, dtype="boolean")}))) == values


@given(st.lists(st.one_of(st.none(), TEXT), max_size=5))
def test_text_of_any_script(values: list[str | None]) -> None:
    assert values_of(round_trip(pd.DataFrame({"x": pd.Series(values, dtype=object)}))) == values


@given(st.lists(TEXT, unique=True, min_size=1, max_size=4), st.booleans(), st.data())
def test_categories_keep_levels_order_and_unused_ones(levels: list[str], ordered: bool, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(-1, len(levels) - 1), max_size=5))
    column = pd.Categorical.from_codes(codes, categories=pd.Index(levels, dtype=object), ordered=ordered)
    received = round_trip(pd.DataFrame({"x": column}))["x"]
    assert received.cat.categories.tolist() == levels
    assert received.cat.ordered == ordered
    assert received.cat.codes.tolist() == codes


@given(st.lists(st.one_of(st.none(), st.dates()), max_size=5))
def test_dates(values: list[dt.date | None]) -> None:
    assert values_of(round_trip(pd.DataFrame({"x": pd.Series(values, dtype=object)}))) == values


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "America/St_Johns"])
def test_date_times_keep_instant_and_zone(zone: str | None) -> None:
    clock = pd.to_datetime(["2020-07-01 10:00:00.123456", None, "1950-01-01 00:00:00.0"]).tz_localize(zone)
    received = round_trip(pd.DataFrame({"x": clock}))["x"]
    assert received[0] == clock[0]
    assert received[2] == clock[2]
    assert pd.isna(received[1])
    assert str(received.dt.tz) == str(clock.tz)


FRAMES = {
    "double": pd.Series([0.5, np.nan]),
    "integer": pd.Series([1, 2]),
    "missing integer": pd.Series([1, None], dtype="Int64"),
    "logical": pd.Series([True, False]),
    "missing logical": pd.Series([True, None], dtype="boolean"),
    "text": pd.Series(["a", None], dtype=object),
    "category": pd.Series(pd.Categorical([None, "b"])),
    "number category": pd.Series(pd.Categorical([3, 1])),
    "date": pd.Series([dt.date(2026, 1, 31), None], dtype=object),
    "time": pd.Series(pd.to_datetime(["2026-01-31", None])),
    "objects": pd.Series([1, 2], dtype=object),
}


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_few_rows_cross_as_plain_objects(n_rows: int) -> None:
    frame = pd.DataFrame(FRAMES).iloc[:n_rows]
    sent = encode_table(frame)
    assert_plain(sent)
    received = decode_table(sent)
    assert received.shape == (n_rows, len(FRAMES))
    assert received.isna().to_numpy().tolist() == frame.isna().to_numpy().tolist()


def test_a_table_without_columns_keeps_its_rows() -> None:
    assert len(round_trip(pd.DataFrame(index=range(3)))) == 3


def test_whole_numbers_beyond_r_integers_are_sent_as_doubles() -> None:
    assert encode_table(pd.DataFrame({"x": [2**31]}))["columns"][0]["type"] == "double"
    assert encode_table(pd.DataFrame({"x": [2**31 - 1]}))["columns"][0]["type"] == "integer"


@pytest.mark.parametrize(
    "values",
    [[2**53 + 1], [-(2**63)], [[1, 2]], [1, "a"], ["a\0b"], ["\ud800"], [b"bytes"]],
    ids=["2^53", "-2^63", "lists", "mixed", "NUL", "surrogate", "bytes"],
)
def test_what_r_cannot_hold_is_refused(values: list[object]) -> None:
    with pytest.raises(ColumnError, match="column 'x'"):
        encode_table(pd.DataFrame({"x": pd.Series(values, dtype=object)}))


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(ColumnError, match="same name"):
        encode_table(pd.DataFrame([[1, 2]], columns=["x", "x"]))


@pytest.mark.parametrize(
    ("column", "error"),
    [
        ({"type": "complex", "values": [1]}, ColumnError),
        ({"type": "double", "values": [1, 2]}, DataError),
        ({"type": "string", "values": [2], "levels": ["a"]}, DataError),
    ],
)
def test_malformed_columns_are_refused(column: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match="column 'x'"):
        decode_table({"nrow": 1, "columns": [{"name": "x", "na": [], **column}]})
