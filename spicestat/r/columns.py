"""The column protocol: the only form in which tables cross between Python and R.

A table is ``{"nrow": n, "columns": [column, ...]}`` and a column is a dict of plain
Python objects:

=========  ====================================================  =====================
type       values                                                also
=========  ====================================================  =====================
double     floats                                                -
integer    whole floats, at most 2^31 - 1 in size                -
logical    0.0 or 1.0                                            -
string     1-based codes                                         levels
factor     1-based codes                                         levels, ordered
date       ISO text such as ``2026-11-22``                       -
datetime   seconds since 1970 UTC                                tz (empty: wall clock)
=========  ====================================================  =====================

``na`` lists the 0-based positions of missing values; what stands in ``values`` there is a
filler. The reason is that neither reticulate nor numpy can be trusted with the rest: with
reticulate 1.28 an integer NA becomes -2147483648, a logical NA becomes TRUE, an integer
above 2^31 becomes 0, and numpy 2 arrays are not converted at all, all without an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spicestat.errors import ColumnError, DataError

__all__ = ["Column", "Table", "decode_table", "encode_table"]

Column = dict[str, Any]
"""One column in protocol form."""

Table = Mapping[str, Any]
"""One table in protocol form."""

_INT32_MAX = 2**31 - 1
_EXACT_MAX = 2**53
_EPOCH = pd.Timestamp(0)


def encode_table(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a data frame in protocol form, with nothing but plain Python objects in it.

    Parameters
    ----------
    frame : DataFrame
        Any number of rows; the index is not sent. Missing values of every kind (NaN, NaT,
        None, ``pd.NA``) become positions in ``na``, hence NA in R.

    Raises
    ------
    ColumnError
        A column holds something that R has no column for, such as lists, whole numbers
        beyond 2^53 or text with a NUL character; or two columns have the same name.

    Examples
    --------
    >>> encode_table(pd.DataFrame({"x": [0.5, None]}))
    {'nrow': 2, 'columns': [{'name': 'x', 'type': 'double', 'values': [0.5, 0.0], 'na': [1]}]}
    """
    names = [str(name) for name in frame.columns]
    _refuse_duplicates(names)
    columns = [{"name": name, **_encode(frame.iloc[:, i], name)} for i, name in enumerate(names)]
    return {"nrow": len(frame), "columns": columns}


def decode_table(table: Table) -> pd.DataFrame:
    """Return the data frame that a table in protocol form describes.

    Columns get the type that `pandas.read_csv` would give them: whole numbers with missing
    values become float64, so that an R data frame and its CSV file give the same fit.
    Logical columns with missing values become ``boolean``.

    Parameters
    ----------
    table : mapping
        As `encode_table` or R's ``encode_table()`` makes it.

    Raises
    ------
    ColumnError
        A column has an unknown type, or two have the same name.
    DataError
        A column does not have ``nrow`` values, or a code has no level.

    Examples
    --------
    >>> decode_table({"nrow": 2, "columns": [
    ...     {"name": "g", "type": "string", "values": [1, 0], "na": [1], "levels": ["a"]}]})["g"].isna().tolist()
    [False, True]
    """
    n_rows = int(table["nrow"])
    names = [str(column["name"]) for column in table["columns"]]
    _refuse_duplicates(names)
    decoded = {name: _decode(column, n_rows) for name, column in zip(names, table["columns"], strict=True)}
    return pd.DataFrame(decoded, index=pd.RangeIndex(n_rows), columns=pd.Index(names, dtype=object))


def _refuse_duplicates(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ColumnError("two columns have the same name", got=", ".join(twice), do="rename one of them")


# Python to R -----------------------------------------------------------------------------


def _encode(series: pd.Series, name: str) -> Column:
    missing = series.isna().to_numpy(dtype=bool)
    column = _encode_values(series, missing, name)
    return {**column, "na": np.flatnonzero(missing).tolist()}


def _encode_values(series: pd.Series, missing: np.ndarray, name: str) -> Column:
    """Choose the encoder by dtype; an object column is judged by what it holds."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _encode_factor(series, name)
    if isinstance(dtype, pd.DatetimeTZDtype) or dtype.kind == "M":
        return _encode_datetime(series, missing)
    if pd.api.types.is_bool_dtype(dtype):
        return {"type": "logical", "values": _filled(series, missing)}
    if pd.api.types.is_integer_dtype(dtype):
        return _encode_integer(series, missing, name)
    if pd.api.types.is_float_dtype(dtype):
        return {"type": "double", "values": _filled(series, missing)}
    return _encode_objects(series, missing, name)


def _filled(series: pd.Series, missing: np.ndarray) -> list[float]:
    """Return floats with 0 where a value is missing, so that no NaN or NA crosses unannounced."""
    values = np.zeros(len(series))
    values[~missing] = series[~missing].to_numpy(dtype="float64")
    return values.tolist()


def _encode_integer(series: pd.Series, missing: np.ndarray, name: str) -> Column:
    present = series[~missing]
    # min and max as Python ints: abs() of the smallest int64 overflows
    largest = max((abs(int(present.min())), abs(int(present.max())))) if len(present) else 0
    if largest > _EXACT_MAX:
        raise ColumnError(
            f"column '{name}' has whole numbers that R cannot hold exactly",
            got=largest,
            allowed="at most 2^53 in size",
            do="turn the column into text",
        )
    kind = "integer" if largest <= _INT32_MAX else "double"
    return {"type": kind, "values": _filled(series, missing)}


def _encode_factor(series: pd.Series, name: str) -> Column:
    categories = series.cat.categories
    if not all(isinstance(label, str) for label in categories):
        categories = categories.map(str)
    codes = (series.cat.codes.to_numpy().astype("int64") + 1).tolist()
    levels = _checked_text(categories.tolist(), name)
    return {"type": "factor", "values": codes, "levels": levels, "ordered": bool(series.cat.ordered)}


def _encode_datetime(series: pd.Series, missing: np.ndarray) -> Column:
    zone = getattr(series.dtype, "tz", None)
    clock = series if zone is None else series.dt.tz_convert("UTC").dt.tz_localize(None)
    seconds = (clock - _EPOCH) / pd.Timedelta(seconds=1)
    return {"type": "datetime", "values": _filled(seconds, missing), "tz": "" if zone is None else str(zone)}


def _encode_objects(series: pd.Series, missing: np.ndarray, name: str) -> Column:
    present = series[~missing]
    kind = pd.api.types.infer_dtype(present, skipna=True)
    if kind in ("string", "empty"):
        return _encode_text(series, missing, name)
    if kind == "boolean":
        return {"type": "logical", "values": _filled(series, missing)}
    if kind == "integer":
        return _encode_integer(series, missing, name)
    if kind in ("floating", "mixed-integer-float"):
        return {"type": "double", "values": _filled(series, missing)}
    if kind == "date":
        return {
            "type": "date",
            "values": ["" if gone else day.isoformat() for day, gone in zip(series, missing, strict=True)],
        }
    raise ColumnError(
        f"column '{name}' cannot be sent to R",
        got=f"{kind} values",
        allowed="numbers, booleans, text, categories, dates",
        do="convert the column or leave it out",
    )


def _encode_text(series: pd.Series, missing: np.ndarray, name: str) -> Column:
    codes, levels = pd.factorize(series.to_numpy(dtype=object), use_na_sentinel=True)
    codes[missing] = -1
    text = _checked_text([str(level) for level in levels], name)
    return {"type": "string", "values": (codes + 1).tolist(), "levels": text}


def _checked_text(levels: list[str], name: str) -> list[str]:
    """Refuse text that R strings cannot hold: reticulate would cut it short without a word."""
    bad = [level for level in levels if "\0" in level or not _is_utf8(level)]
    if bad:
        raise ColumnError(f"column '{name}' has text that R cannot hold", got=repr(bad[0]), do="clean the text")
    return levels


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# R to Python -----------------------------------------------------------------------------


def _decode(column: Mapping[str, Any], n_rows: int) -> pd.Series:
    name, values = column["name"], column["values"]
    if len(values) != n_rows:
        raise DataError(f"column '{name}' has {len(values)} values", allowed=f"{n_rows}, the number of rows")
    decoder = _DECODERS.get(column["type"])
    if decoder is None:
        raise ColumnError(
            f"column '{name}' has an unknown type", got=column["type"], allowed=", ".join(sorted(_DECODERS))
        )
    missing = np.zeros(n_rows, dtype=bool)
    missing[np.asarray(column["na"], dtype="int64")] = True
    return decoder(column, missing)


def _decode_double(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    values = np.array(column["values"], dtype="float64")
    values[missing] = np.nan
    return pd.Series(values)


def _decode_integer(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    if missing.any():
        return _decode_double(column, missing)
    return pd.Series(np.array(column["values"], dtype="float64").astype("int64"))


def _decode_logical(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    values = np.array(column["values"], dtype="float64").astype(bool)
    return pd.Series(pd.arrays.BooleanArray(values, missing)) if missing.any() else pd.Series(values)


def _codes(column: Mapping[str, Any], missing: np.ndarray) -> np.ndarray:
    """Return 0-based codes, -1 where missing."""
    codes = np.array(column["values"], dtype="float64").astype("int64") - 1
    codes[missing] = -1
    outside = (codes[~missing] < 0) | (codes[~missing] >= len(column["levels"]))
    if outside.any():
        raise DataError(f"column '{column['name']}' has codes without a level")
    return codes


def _decode_string(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    codes = _codes(column, missing)
    if missing.all():
        return pd.Series([None] * len(codes), dtype="object")
    # of the type that pandas has for text; code -1 is a missing value there
    return pd.Series(pd.Series(list(column["levels"])).array.take(codes, allow_fill=True))


def _decode_factor(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    codes = _codes(column, missing)
    levels = pd.Index(list(column["levels"]), dtype=object)
    return pd.Series(pd.Categorical.from_codes(codes.tolist(), categories=levels, ordered=bool(column["ordered"])))


def _decode_date(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    days = [None if gone else dt.date.fromisoformat(text) for text, gone in zip(column["values"], missing, strict=True)]
    return pd.Series(days, dtype=object)


def _decode_datetime(column: Mapping[str, Any], missing: np.ndarray) -> pd.Series:
    # microseconds: a double holds present-day seconds to a quarter of one
    micro = np.round(np.array(column["values"], dtype="float64") * 1e6)
    micro[missing] = 0.0
    clock = pd.Series(micro.astype("int64").astype("datetime64[us]")).mask(missing)
    return clock.dt.tz_localize("UTC").dt.tz_convert(column["tz"]) if column["tz"] else clock


_DECODERS: dict[str, Callable[[Mapping[str, Any], np.ndarray], pd.Series]] = {
    "double": _decode_double,
    "integer": _decode_integer,
    "logical": _decode_logical,
    "string": _decode_string,
    "factor": _decode_factor,
    "date": _decode_date,
    "datetime": _decode_datetime,
}
