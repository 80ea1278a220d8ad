"""Tables of covariates joined on the columns that they share with participants, occasions and one another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.tables import TableSource, first_rows, require_columns
from spicestat.errors import CovariateError
from spicestat.trials.labels import label_key, match_labels

__all__ = ["Tables", "join_tables", "named_tables"]

Tables = TableSource | Sequence[TableSource]
"""One table of covariates, or several in a list."""

Rows = npt.NDArray[np.int64]


def named_tables(given: Tables | None, what: str) -> dict[str, TableSource]:
    """Return one or several tables by what messages call them; a list of one is that table.

    Examples
    --------
    >>> list(named_tables(["people.csv", "sites.csv"], "people table"))
    ['people table 1', 'people table 2']
    """
    if given is None:
        return {}
    several = given if isinstance(given, list | tuple) else [cast("TableSource", given)]
    if len(several) == 1:
        return {f"the {what}": several[0]}
    return {f"{what} {place}": table for place, table in enumerate(several, start=1)}


def join_tables(
    units: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    keys: Sequence[str],
    own: pd.DataFrame,
    *,
    here: str = "the trials",
) -> tuple[pd.DataFrame, dict[str, Rows]]:
    """Join tables of covariates to the units that were fitted.

    A table that has the column of participants is joined on it and on the columns of occasions that it has; any
    other on all columns that it shares with occasions and covariates, as a table of sites on ``site``. Tables may come
    in any order.

    Parameters
    ----------
    units : DataFrame of n rows
        The columns ``keys``.
    tables : mapping of str to DataFrame
        By what they are called in messages.
    keys : sequence of str
        The column of participants, and those of occasions.
    own : DataFrame of n rows
        Covariates that are known already, which count as columns to join on, and must not contradict the tables.
    here : str
        Where ``units`` are from.

    Returns
    -------
    joined : DataFrame of n rows
        New columns of the tables, in their order, then the columns of ``own`` that no table has.
    rows : dict of str to int ndarray of shape (n,)
        Of each table the row of each unit, -1 for none.

    Raises
    ------
    ColumnError
        A table shares no column.
    CovariateError
        It shares no value, has several different values for one key, or contradicts another table.

    Examples
    --------
    >>> units = pd.DataFrame({"participant": ["a", "a", "b"], "drug": ["yes", "no", "no"]})
    >>> people = pd.DataFrame({"participant": ["b", "a"], "site": ["Bonn", "Kiel"]})
    >>> sites = pd.DataFrame({"site": ["Kiel", "Bonn"], "beds": [20, 30]})
    >>> join_tables(units, {"sites": sites, "people": people}, ["participant", "drug"], pd.DataFrame(index=range(3)))[0]
       beds  site
    0    20  Kiel
    1    20  Kiel
    2    30  Bonn
    """
    found: dict[str, tuple[Rows, pd.DataFrame]] = {}
    waiting = dict(tables)
    known = pd.concat([units, own], axis=1)
    while waiting:
        name = next((name for name, table in waiting.items() if _keys_of(table, keys, known.columns)), "")
        if not name:
            first = next(iter(waiting))
            offered = ", ".join(map(repr, known.columns))
            require_columns(waiting[first], [keys[0]], first, f"or give it one of {offered}, on which it can be joined")
        table = waiting.pop(name)
        on = _keys_of(table, keys, known.columns)
        rows = _rows(known, table, on, name, here)
        theirs = table.drop(columns=on).reindex(rows).reset_index(drop=True)
        _refuse_contradictions(known, theirs, rows >= 0, _named(units), here, name)
        found[name] = rows, theirs
        known = pd.concat([known, theirs[[column for column in theirs.columns if column not in known.columns]]], axis=1)
    columns: dict[str, pd.Series[Any]] = {}
    for name in tables:
        theirs = found[name][1]
        columns |= {column: theirs[column] for column in theirs.columns if column not in (*keys, *columns)}
    columns |= {column: own[column] for column in own.columns if column not in columns}
    return pd.DataFrame(columns, index=known.index), {name: found[name][0] for name in tables}


def _keys_of(table: pd.DataFrame, keys: Sequence[str], known: Sequence[str] | pd.Index) -> list[str]:
    """Return the columns on which a table is joined; none where it shares none yet."""
    offered = keys if keys[0] in table.columns else known
    return [name for name in offered if name in table.columns]


def _rows(known: pd.DataFrame, table: pd.DataFrame, on: list[str], name: str, here: str) -> Rows:
    """Return the row of the table for each unit, -1 for none."""
    theirs, ours = _keys(table, on), _keys(known, on)
    _refuse_ambiguous(table, theirs, on, name)
    first = ~theirs.duplicated().to_numpy()
    if len(on) == 1:
        # single keys that look alike but are not the same are an error there
        labels = known[on[0]].astype(object).where(known[on[0]].notna(), "")
        distinct = labels[~ours.duplicated()].tolist()
        offered = table.loc[first, on[0]].tolist()
        positions = match_labels(distinct, offered, here=here, there=name)
        place = dict(zip(ours[~ours.duplicated()], positions, strict=True))
        rows = np.array([place[key] for key in ours], dtype=np.int64)
    else:
        position = {key: row for row, key in enumerate(theirs[first])}
        rows = np.array([position.get(key, -1) for key in ours], dtype=np.int64)
    if len(rows) and rows.max() < 0:
        what = f"column '{on[0]}'" if len(on) == 1 else f"columns {', '.join(map(repr, on))}"
        raise CovariateError(
            f"no participant of {here} is in {what} of {name}",
            got=f"{_shown(table, on)} in {name}",
            allowed=f"{_shown(known, on)}, ... as in {here}",
            do="use the same ids in both tables",
        )
    return np.where(rows >= 0, np.flatnonzero(first)[rows], -1)


def _keys(table: pd.DataFrame, on: list[str]) -> pd.Series[str]:
    return table[on].map(lambda value: "" if pd.isna(value) else label_key(value)).agg("\x00".join, axis=1)


def _shown(table: pd.DataFrame, on: list[str]) -> str:
    rows = table[on].drop_duplicates().head(3).astype(object).itertuples(index=False, name=None)
    return ", ".join(repr(row[0] if len(on) == 1 else row) for row in rows)


def _refuse_ambiguous(table: pd.DataFrame, theirs: pd.Series[str], on: list[str], name: str) -> None:
    """Raise where a key has several values of a column."""
    others = [column for column in table.columns if column not in on]
    differs = pd.DataFrame({column: _varies(table[column], theirs) for column in others}, index=table.index)
    if not differs.to_numpy().any():
        return
    column = str(differs.any().idxmax())
    where = (theirs == theirs[differs[column]].iloc[0]).to_numpy()
    raise CovariateError(
        f"{name} has several values of '{column}' for one {' and '.join(map(repr, on))}; it must have one row per "
        f"{'participant in column ' if len(on) == 1 else 'combination of '}{', '.join(map(repr, on))}",
        got=first_rows(table, where, [*on, column]),
        do="keep one row of each"
        + ("" if len(on) > 1 else ", or name the columns of occasions in occasion=[...] if it changes over them"),
    )


def _varies(column: pd.Series[Any], keys: pd.Series[str]) -> npt.NDArray[np.bool_]:
    codes = pd.Series(pd.factorize(column, use_na_sentinel=False)[0], index=column.index)
    return (codes != codes.groupby(keys).transform("first")).to_numpy()


def _named(units: pd.DataFrame) -> list[str]:
    return [", ".join(map(str, row)) for row in units.itertuples(index=False, name=None)]


def _refuse_contradictions(
    known: pd.DataFrame,
    theirs: pd.DataFrame,
    matched: npt.NDArray[np.bool_],
    labels: Sequence[Hashable],
    here: str,
    there: str,
) -> None:
    for name in known.columns.intersection(theirs.columns):
        left, right = known[name].astype(object)[matched], theirs[name].astype(object)[matched]
        unequal = (left != right) & ~(left.isna() & right.isna())
        if unequal.any():
            at = unequal.index[unequal.to_numpy()][0]
            raise CovariateError(
                f"covariate '{name}' of participant {labels[at]!s} differs between the two tables",
                got=f"{known[name].iloc[at]!s} in {here}, {theirs[name].iloc[at]!s} in {there}",
                do="correct one of them, or drop the column from one table",
            )
