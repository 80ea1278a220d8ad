"""Readers for the table files of other software; text is kept exactly as written."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spicestat._files.atomic import DAMAGE
from spicestat._files.spreadsheet_text import from_cells
from spicestat.errors import ColumnError, StorageError, SuspiciousDataWarning, warn_user

__all__ = ["ABSENT", "READABLE", "as_numbers", "frame_of_parquet", "read_files", "table_paths", "whole_numbers"]

READABLE = ".csv, .tsv, .txt (also with .gz), .xlsx or .parquet"
ABSENT = ("NA", "NaN", "nan", "n/a", "N/A", "#N/A")
"""How R, pandas, BIDS and spreadsheets write a missing value into a file; in ids they are names like any other."""

_DELIMITERS = (",", ";", "\t", "|")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|Inf|INF)")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d*,\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_LEADING_ZERO = re.compile(r"[+-]?0\d")
_TRUTH = {"TRUE": True, "True": True, "true": True, "FALSE": False, "False": False, "false": False}
_EXACT = 2**53
_ENTITY = re.compile(r"(?:^|_)(sub|ses|run)-([A-Za-z0-9]+)")
# what a damaged workbook raises, whose parts are XML in an archive
_DAMAGED_BOOK = (OSError, KeyError, ValueError, TypeError, AttributeError, SyntaxError, zipfile.BadZipFile, zlib.error)


def table_paths(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files that a path, a pattern such as ``"data/*.csv"`` or a list of paths names.

    Raises
    ------
    StorageError
        A pattern matches nothing, or the list is empty.
    """
    if not isinstance(source, str | Path):
        paths = [Path(path) for path in source]
        if not paths:
            raise StorageError("the list of files is empty", do="name at least one file")
        return paths
    pattern = Path(source)
    if pattern.exists() or not re.search(r"[*?\[]", str(source)):
        return [pattern]
    root = Path(pattern.anchor)
    found = [path for path in root.glob(str(pattern.relative_to(root))) if path.is_file()]
    if not found:
        raise StorageError(f"no file matches '{source}'", do="check the pattern; it is relative to the working folder")
    return sorted(found, key=lambda path: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", str(path))])


def read_files(paths: Sequence[Path], ids: Sequence[str] = (), labels: Collection[str] = ()) -> pd.DataFrame:
    """Read one file, or several with the same columns below each other.

    Parameters
    ----------
    paths : sequence of Path
        Where there are several, and none has the column ``ids[0]``, it is made from their names: ``sub-01`` where
        all names have such a part (as in BIDS), else the name without its ending. Session and run are taken from
        such names, too. Where several files still have rows of one id, a column ``file`` tells them apart.
    ids : sequence of str, default ()
        Columns in which only a blank cell is missing. Elsewhere the words in `ABSENT` are missing, too.
    labels : collection of str, default ()
        Further columns that stay text. All others are numbers or truth values where all their cells are.
    """
    tables = [_read_file(path, ids) for path in paths]
    if len(tables) > 1:
        _tell_other_columns(paths, tables)
        table = pd.concat(tables, ignore_index=True)
        if ids:
            _add_named_parts(table, paths, [len(own) for own in tables], ids[0])
    else:
        table = tables[0]
    commas = all(own.attrs.get("decimal_comma", False) for own in tables)
    for name in table.columns:
        if name in labels:
            table[name] = _whole_labels(table[name])
        elif name not in ids:
            table[name] = as_numbers(table[name], decimal_comma=commas)
    table.attrs = {}
    return table


def _tell_other_columns(paths: Sequence[Path], tables: Sequence[pd.DataFrame]) -> None:
    every = list(dict.fromkeys(name for table in tables for name in table.columns))
    lacking = {
        path.name: [str(name) for name in every if name not in table.columns]
        for path, table in zip(paths, tables, strict=True)
    }
    lacking = {name: columns for name, columns in lacking.items() if columns}
    if lacking:
        shown = "; ".join(f"'{name}' lacks {', '.join(columns[:5])}" for name, columns in list(lacking.items())[:3])
        warn_user(
            f"{len(lacking)} of {len(paths)} files lack columns that others have, which are missing values there: "
            f"{shown}",
            SuspiciousDataWarning,
        )


def _add_named_parts(table: pd.DataFrame, paths: Sequence[Path], lengths: Sequence[int], id_column: str) -> None:
    """Add what names of files say; and which file a row is of, where nothing else tells files of one id apart."""
    parts = _named_parts(paths, id_column)
    for name, values in parts.items():
        if name not in table.columns:
            table.insert(0, name, np.repeat(values, lengths).tolist())
    files = [path.name for path in paths]
    pairs = table[list(parts)].assign(file=np.repeat(files, lengths)).drop_duplicates()
    if "file" not in table.columns and pairs.duplicated(list(parts)).any():
        table.insert(1, "file", np.repeat(files, lengths).tolist())


def _named_parts(paths: Sequence[Path], id_column: str) -> dict[str, list[str]]:
    """Return the id, and session and run where all names have them, from the names of files."""
    stems = [re.sub(r"(\.\w+)(\.gz)?$", "", path.name) for path in paths]
    entities = [dict(_ENTITY.findall(stem)) for stem in stems]
    if not all("sub" in found for found in entities):
        return {id_column: stems}
    parts = {id_column: [f"sub-{found['sub']}" for found in entities]}
    for short, name in (("ses", "session"), ("run", "run")):
        if all(short in found for found in entities):
            parts[name] = [found[short] for found in entities]
    return parts


def _read_file(path: Path, ids: Collection[str]) -> pd.DataFrame:
    if path.is_dir():
        raise StorageError(f"'{path}' is a folder", do=f"name its files, for example '{path}/*.csv'")
    if not path.is_file():
        raise StorageError(f"no file '{path}'", do="check the path; it is relative to the working folder")
    name = path.name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return frame_of_parquet(path.read_bytes(), path)
        if name.endswith(".xlsx"):
            return _as_table(_sheet(path), path, ids)
        if name.endswith((".csv", ".tsv", ".txt")) or name != path.name.lower():
            return from_cells(_as_table(_checked_rows(_text(path), path), path, ids))
    except (OSError, ValueError, EOFError, zlib.error, csv.Error) as error:
        if isinstance(error, ColumnError):
            raise
        raise StorageError(f"cannot read '{path}' as a table: {error}", do="check that it is complete") from error
    raise StorageError(f"unknown kind of table file '{path.name}'", allowed=READABLE)


def frame_of_parquet(content: bytes, name: str | Path) -> pd.DataFrame:
    """Read a Parquet file that is in memory.

    Raises
    ------
    StorageError
        It is none, or damaged.

    Examples
    --------
    >>> frame_of_parquet(pd.DataFrame({"a": [1, 2]}).to_parquet(None), "file").shape
    (2, 1)
    """
    # not at the top: R's column protocol works in a Python without it
    import pyarrow as pa

    try:
        return pd.read_parquet(io.BytesIO(content))
    except (*DAMAGE, MemoryError, pa.ArrowException) as error:
        raise StorageError(f"cannot read '{name}' as a table: {error}", do="check that it is complete") from error


# text ---------------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    """Return what a file says, whatever its encoding: UTF-8, UTF-16, or Windows' and ISO's Latin letters."""
    data = path.read_bytes()
    if path.name.lower().endswith(".gz") or data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    if data.startswith(b"PK\x03\x04"):
        raise StorageError(f"'{path}' is a workbook or an archive, not text", do="give it the extension .xlsx")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    head = data[:4096]
    if b"\0" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if max(even, odd) < len(head) / 8 or min(even, odd) > len(head) / 50:
            raise StorageError(f"'{path}' is not a text file", allowed=READABLE)
        return data.decode("utf-16-be" if even > odd else "utf-16-le")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _checked_rows(text: str, path: Path) -> tuple[list[list[str]], bool]:
    """Return header and rows of equal length, and whether a comma may be a decimal one."""
    lines = text.splitlines(keepends=True)
    start, comment, forced = 0, "", None
    for line in lines:
        plain = line.strip()
        if re.fullmatch(r"sep=.", plain):
            forced = plain[-1]
        elif plain.startswith(("#", "%")):
            comment = plain.lstrip("#% \t")
        elif plain.strip(',;|\t "'):
            break
        start += 1
    if start == len(lines):
        raise StorageError(f"'{path}' is empty", do="check that it is complete")
    delimiter = forced or _delimiter(lines[start], lines[start + 1] if start + 1 < len(lines) else "", path)
    reader = csv.reader(io.StringIO("".join(lines[start:]), newline=""), delimiter=delimiter, skipinitialspace=True)
    rows = [(start + reader.line_num, row) for row in reader]
    header = rows.pop(0)[1]
    named = next(csv.reader([comment], delimiter=delimiter, skipinitialspace=True), [])
    if len(named) == len(header) > 1 and any(map(_is_number, header)) and not any(map(_is_number, named)):
        # NumPy writes the header as a comment
        rows.insert(0, (start + 1, header))
        header = named
    if header[0].strip() and not any(map(str.strip, header[1:])) and any(len(row) > 2 for _, row in rows):
        raise StorageError(
            f"line {start + 1} of '{path}' names one column, and other lines have more cells",
            got=header[0],
            do="remove the lines above the header, or begin them with #",
        )
    # where commas part the cells, a surplus one may be a decimal comma
    if delimiter != "," and _has_row_names(rows, len(header)):
        rows = [(number, row[1:]) for number, row in rows]
    return [header, *_equal_rows(rows, len(header), path)], delimiter != ","


def _has_row_names(rows: Sequence[tuple[int, list[str]]], width: int) -> bool:
    """Say whether each row begins with a name of its own, for which R's write.table() writes no header."""
    filled = [row for _, row in rows if any(map(str.strip, row))]
    named = bool(filled) and all(len(row) == width + 1 for row in filled) and any(row[-1].strip() for row in filled)
    return named and len({row[0] for row in filled}) == len(filled)


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _delimiter(header: str, second: str, path: Path) -> str:
    """Return what parts the most names of the header; blanks do where nothing else parts anything."""
    order = ("\t", *_DELIMITERS) if ".tsv" in path.name.lower() else _DELIMITERS
    count = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in order}
    best = max(order, key=lambda mark: count[mark])
    if count[best] > 1 or " " not in header.strip():
        return best
    by_blanks = [
        len(next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True), [])) for line in (header, second)
    ]
    # R's write.table() has no header for the names of rows
    return " " if by_blanks[1] - by_blanks[0] in (0, 1) else best


def _equal_rows(rows: Iterable[tuple[int, list[str]]], width: int, path: Path) -> list[list[str]]:
    """Return the rows that hold something; one that is longer or shorter than the header has shifted columns."""
    kept = []
    for number, row in rows:
        if len(row) != width or not row[0]:
            if not any(map(str.strip, row)) or (len(row) < width and row[0].startswith(("#", "%"))):
                continue
            if len(row) < width or any(map(str.strip, row[width:])):
                raise StorageError(
                    f"line {number} of '{path}' has {len(row)} cells, and the header has {width}",
                    do="look for a missing, surplus or unquoted separator there, or a file that was cut off",
                )
            row = row[:width]
        kept.append(row)
    return kept


# workbooks ----------------------------------------------------------------------------------------------------------


def _sheet(path: Path) -> tuple[list[list[str]], bool]:
    """Return the cells of a workbook's only sheet that is not empty, as text."""
    try:
        import openpyxl
    except ImportError as error:
        raise StorageError(
            f"'{path.name}' is a workbook, and the package openpyxl is missing or does not load",
            do="pip install 'spicestat[excel]', or save the sheet as CSV",
        ) from error
    try:
        with warnings.catch_warnings():
            # about styles and validation rules that it drops
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheets = {
                sheet.title: [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
                for sheet in book.worksheets
            }
            book.close()
    except _DAMAGED_BOOK as error:
        raise StorageError(f"cannot read '{path}' as a workbook: {error}", do="check that it is complete") from error
    filled = {title: kept for title, rows in sheets.items() if (kept := [row for row in rows if any(row)])}
    if len(filled) != 1:
        raise StorageError(
            f"'{path.name}' must have one sheet that is not empty",
            got=", ".join(map(repr, filled)) or "none",
            do="save the sheet that you mean as a CSV file",
        )
    rows = next(iter(filled.values()))
    width = max(map(len, rows))
    return [row + [""] * (width - len(row)) for row in rows], False


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if isinstance(value, datetime) and value == datetime(value.year, value.month, value.day):
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else str(value).strip()


# cells --------------------------------------------------------------------------------------------------------------


def _as_table(read: tuple[list[list[str]], bool], path: Path, ids: Collection[str]) -> pd.DataFrame:
    """Return rows of text as a table; blank cells are missing, and columns without name and content left out."""
    (header, *body), decimal_comma = read
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ColumnError(f"two columns of '{path.name}' have the same name", got=", ".join(twice), do="rename one")
    columns: dict[str, list[str | None]] = {}
    cells = list(zip(*body, strict=True)) if body else [()] * len(names)
    for position, (name, values) in enumerate(zip(names, cells, strict=True), start=1):
        absent = () if name in ids else ABSENT
        column = [None if not (cell := value.strip()) or cell in absent else value for value in values]
        if name or any(value is not None for value in column):
            columns[name or f"column {position}"] = column
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(body)))
    table.attrs["decimal_comma"] = decimal_comma
    return table


def as_numbers(column: pd.Series[Any], *, decimal_comma: bool = False) -> pd.Series[Any]:
    """Return a column of text as numbers or truth values where all its cells are; else as it is.

    Cells such as ``007`` are names, and so are whole numbers beyond 2^53, which floats would change. A comma is
    a decimal one where ``decimal_comma`` says so, or where it cannot stand for thousands.

    Examples
    --------
    >>> as_numbers(pd.Series(["1", None, "2.5"])).tolist()
    [1.0, nan, 2.5]
    >>> as_numbers(pd.Series(["007", "12"])).tolist(), as_numbers(pd.Series(["0,5", "12,25"])).tolist()
    (['007', '12'], [0.5, 12.25])
    """
    if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return column
    codes, uniques = pd.factorize(column)
    if not len(uniques) or not all(isinstance(value, str) for value in uniques):
        return column
    texts = [value.strip() for value in uniques]
    if all(text in _TRUTH for text in texts):
        values: list[Any] = [_TRUTH[text] for text in texts]
    elif any(map(_LEADING_ZERO.match, texts)):
        return column
    elif all(map(_NUMBER.fullmatch, texts)):
        values = [float(text) if any(mark in text for mark in ".eEnN") else int(text) for text in texts]
    elif all(map(_DECIMAL_COMMA.fullmatch, texts)) and (decimal_comma or not all(map(_THOUSANDS.fullmatch, texts))):
        values = [float(text.replace(",", ".")) for text in texts]
    else:
        return column
    if any(isinstance(value, int) and abs(value) > _EXACT for value in values):
        return column
    kind = pd.Series(values).dtype
    if (codes < 0).any():
        kind = pd.BooleanDtype() if isinstance(values[0], bool) else np.dtype("float64")
    return pd.Series(pd.Series([*values, None], dtype=object).iloc[codes].to_list(), column.index, kind, column.name)


def whole_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of text as whole numbers where all cells are such, each written in the only way.

    Examples
    --------
    >>> whole_numbers(pd.Series(["1", "20"])).tolist(), whole_numbers(pd.Series(["1", "1.0"])).tolist()
    ([1, 20], ['1', '1.0'])
    """
    numbers = as_numbers(column)
    given = column.dropna()
    if numbers.dtype.kind in "if" and all(
        isinstance(cell, str) and str(int(number)) == cell for cell, number in zip(given, numbers.dropna(), strict=True)
    ):
        return numbers
    return column


def _whole_labels(column: pd.Series[Any]) -> pd.Series[Any]:
    """Write labels such as 1.0 as 1 where all are such: a missing value makes floats of whole numbers."""
    given = column.dropna()
    if len(given) and all(isinstance(cell, str) and re.fullmatch(r"-?\d+\.0", cell.strip()) for cell in given):
        return column.map(lambda cell: cell.strip()[:-2], na_action="ignore")
    return column
