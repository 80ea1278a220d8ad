"""Reading, writing and checking tables."""

from __future__ import annotations

import csv
import difflib
import gzip
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.atomic import check_file_target, shortened, write_file
from spicestat._files.missing_values import remedy
from spicestat._files.spreadsheet_text import as_cells
from spicestat._files.table_formats import READABLE, frame_of_parquet, read_files, table_paths
from spicestat.errors import ColumnError, StorageError

__all__ = [
    "TableSource",
    "check_numeric",
    "check_table_target",
    "csv_text",
    "first_rows",
    "frame_of_parquet",
    "names_file",
    "parquet_bytes",
    "read_table",
    "require_columns",
    "write_table",
]


class _ArrowTable(Protocol):
    """A table of pyarrow, polars or another library that offers its columns by Arrow's C interface."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


TableSource = pd.DataFrame | _ArrowTable | str | Path | Sequence[str | Path]
"""A data frame (of pandas, polars or pyarrow), or the path of a file in one of the formats in `READABLE`; a pattern
such as ``"data/*.csv"`` or a list of paths names several files with the same columns, one for each participant."""

_WRITABLE = ".csv, .csv.gz, .tsv, .tsv.gz or .parquet"


def read_table(source: TableSource, *, ids: Sequence[str] = (), labels: Collection[str] = ()) -> pd.DataFrame:
    """Return a copy of a data frame, or read it from files chosen by their endings.

    In text files and workbooks, separators (comma, semicolon, tab, ``|``), decimal commas, encodings, comment lines
    and empty rows are found out. A blank cell is missing, and so is, except in ids, one of ``NA``, ``NaN`` and
    ``n/a``.

    Parameters
    ----------
    source : DataFrame, path, pattern, or list of paths
        A data frame (copied; also of pyarrow, or of polars 1.3 or later) or files ending in ``.csv``, ``.tsv``,
        ``.txt`` (also with ``.gz``), ``.xlsx`` or ``.parquet``.
    ids : sequence of str, default ()
        Columns with ids, which stay text exactly as written. Where there are several files and none has the first of
        these columns, the ids are taken from the names of the files.
    labels : collection of str, default ()
        Further columns that stay text. The others become numbers or truth values where all their cells are.

    Raises
    ------
    StorageError
        A file does not exist, has another ending or cannot be parsed.
    ColumnError
        Two columns have the same name.

    Examples
    --------
    >>> read_table(pd.DataFrame({"a": [1, 2]})).shape
    (2, 1)
    """
    if isinstance(source, pd.DataFrame):
        return source.copy()
    if hasattr(source, "__arrow_c_stream__"):
        # not at the top: R's column protocol works in a Python without it
        import pyarrow as pa

        frame: pd.DataFrame = pa.table(source).to_pandas()
        return frame
    paths = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    if not all(isinstance(path, str | Path) for path in paths):
        raise StorageError("a table must be a data frame or a path", got=type(source).__name__, allowed=READABLE)
    return read_files(table_paths(source), ids, labels)


def write_table(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a data frame as CSV, TSV or Parquet, chosen by the file's ending; a failure leaves an older file.

    In CSV and TSV, texts that a spreadsheet would run as formulas get an apostrophe in front, which `read_table`
    takes away again; see `spicestat._files.spreadsheet_text`.

    Raises
    ------
    StorageError
        The file has another ending or cannot be written, or a column of Parquet is of mixed types.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_table(write_table(pd.DataFrame({"a": [1, 2]}), f"{folder}/t.csv")).shape
    (2, 1)
    """
    target = Path(path)
    kind = _written_kind(target)
    if kind == ".parquet":
        content = parquet_bytes(frame, target.name)
    else:
        content = csv_text(frame, "\t" if kind == ".tsv" else ",").encode(errors="surrogatepass")
    write_file(target, gzip.compress(content, mtime=0) if target.suffix.lower() == ".gz" else content)
    return target


def csv_text(frame: pd.DataFrame, separator: str = ",") -> str:
    """Return a data frame as `write_table` writes it into a CSV file."""
    cells = as_cells(frame)
    text: str = cells.to_csv(index=False, sep=separator, lineterminator="\n")
    if "\r" in text:
        # the csv module does not see that a return ends a line, too
        text = cells.to_csv(index=False, sep=separator, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text


def check_table_target(path: str | Path) -> None:
    """Check before a long computation that `write_table` will be able to write a table there.

    Raises
    ------
    StorageError
        The ending is none that can be written, or nothing can be written there.
    """
    _written_kind(Path(path))
    check_file_target(path)


def names_file(path: str | Path) -> bool:
    """Whether a name is that of a file, as it has an ending, and not that of a folder.

    Examples
    --------
    >>> names_file("a/group.csv.gz"), names_file("group.xlsx"), names_file("group"), names_file("v0.2")
    (True, True, False, False)
    """
    return Path(path).suffix[1:2].isalpha()


def _written_kind(path: Path) -> str:
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    for kind in (".csv", ".tsv"):
        if plain.endswith(kind):
            return kind
    if name.endswith(".parquet"):
        return ".parquet"
    raise StorageError(f"unknown kind of table file '{shortened(path.name)}'", allowed=_WRITABLE)


def parquet_bytes(frame: pd.DataFrame, name: str) -> bytes:
    """Return a data frame as a Parquet file.

    Raises
    ------
    StorageError
        A column is of mixed types.
    """
    try:
        content: bytes = frame.to_parquet(None, index=False)
    except (TypeError, ValueError) as error:  # pyarrow raises one or the other
        raise StorageError(f"cannot write '{name}': {error}", do="give every column one type") from error
    return content


def require_columns(
    frame: pd.DataFrame, columns: Iterable[str], what: str, do: str = "name the column that holds it"
) -> None:
    """Raise `ColumnError` naming every column of ``columns`` that ``frame`` lacks, and what to ``do`` about it."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        similar = difflib.get_close_matches(str(missing[0]), list(map(str, frame.columns)), n=1)
        raise ColumnError(
            f"{what} has no column {', '.join(map(repr, missing))}",
            allowed=", ".join(map(str, frame.columns)) or "(the table has no columns)",
            do=f"did you mean '{similar[0]}'?" if similar else do,
        )


def check_numeric(frame: pd.DataFrame, column: str, what: str) -> pd.Series[Any]:
    """Return a column as float64 (missing values as NaN); name the first rows that are not numbers."""
    series = frame[column]
    # to_numeric would turn dates and durations into nanoseconds
    if isinstance(series.dtype, pd.CategoricalDtype) or series.dtype.kind in "mMc":
        raise ColumnError(f"{what} column '{column}' must be numeric", got=str(series.dtype), do="recode it as numbers")
    numbers = pd.to_numeric(series, errors="coerce")
    bad = numbers.isna() & series.notna()
    if bad.any():
        raise ColumnError(
            f"{what} column '{column}' must be numeric",
            got=first_rows(frame, bad.to_numpy(), [column]),
            do=f"correct these cells, or, where they stand for missing values, pass "
            f"{remedy(column, series[bad].map(str).unique()[:5].tolist())}",
        )
    values = numbers.astype("float64")
    infinite = np.isinf(values.to_numpy())
    if infinite.any():
        raise ColumnError(f"{what} column '{column}' must be finite", got=first_rows(frame, infinite, [column]))
    return values


def first_rows(frame: pd.DataFrame, where: npt.NDArray[np.bool_], columns: Sequence[str], limit: int = 3) -> str:
    """Describe the first offending rows, numbered from 1 as R and spreadsheets count them."""
    positions = np.flatnonzero(where)
    shown = []
    for position in positions[:limit]:
        values = {name: frame[name].iloc[position] for name in columns}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        shown.append(f"row {position + 1} ({', '.join(f'{name}={value!r}' for name, value in plain.items())})")
    more = f" and {len(positions) - limit} more" if len(positions) > limit else ""
    return "; ".join(shown) + more
