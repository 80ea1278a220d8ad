"""Covariates of participants: one row each, from the trials, a second table, or both."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.missing_values import MissingValues, mark_missing
from spicestat._files.tables import TableSource, first_rows, read_table, require_columns
from spicestat.errors import CovariateError, ExclusionWarning, warn_user
from spicestat.trials.joining import Tables, join_tables, named_tables
from spicestat.trials.labels import label_key, labels_to_series, tidy_text
from spicestat.trials.missing_codes import notice_alike, notice_covariates

__all__ = ["PERSON", "Covariates", "collect_covariates", "read_covariates", "read_people", "row_varies"]

PERSON = "person"
"""Column of people's own labels, where a participant is somebody on one occasion."""


@dataclass(frozen=True)
class Covariates:
    """Covariates of all participants and where they came from.

    Attributes
    ----------
    people : DataFrame, n_participants rows
        Column ``participant`` (labels in code order); where there are occasions, ``person`` and their columns; then one
        column per covariate.
    varying : tuple of str
        Unused columns of the trials that vary within participants.
    without_row : tuple
        Participants that the people table does not have; their covariates from it are missing.
    n_unused_rows : int
        Rows of the people table whose participant has no trials.
    marked : dict
        Values of each column of the people table that were made missing, and how often.
    """

    people: pd.DataFrame
    varying: tuple[str, ...]
    without_row: tuple[Hashable, ...]
    n_unused_rows: int
    marked: dict[str, dict[str, int]]


def row_varies(values: pd.Series[Any], participant: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark the rows whose value differs from the participant's first; a missing value is a value.

    Examples
    --------
    >>> row_varies(pd.Series([20, 20, 31, 30]), np.array([0, 0, 1, 1])).tolist()
    [False, False, False, True]
    """
    try:
        codes = pd.factorize(values, use_na_sentinel=False)[0]
    except TypeError:  # lists, dicts: nothing that a formula could use
        return np.ones(len(values), dtype=bool)
    _, first, inverse = np.unique(participant, return_index=True, return_inverse=True)
    differs: npt.NDArray[np.bool_] = codes != codes[first][inverse]
    return differs


def collect_covariates(
    trials: pd.DataFrame,
    participant: npt.NDArray[np.int64],
    labels: Sequence[Hashable],
    *,
    units: pd.DataFrame,
    roles: Sequence[str],
    covariates: Sequence[str] | None,
    people: Tables | None,
    missing: MissingValues,
) -> Covariates:
    """Collect one row of covariates per participant, or per participant and occasion.

    Parameters
    ----------
    trials : DataFrame
        The trials as read, in file order.
    participant : ndarray of int64, shape (n_rows,)
        Participant code of each row, all of 0..n_participants-1 occurring.
    labels : sequence
        Participant labels in code order.
    units : DataFrame of n_participants rows
        The column of participants, as it is called in both tables, and those of occasions.
    roles : sequence of str
        Columns of ``trials`` that have another role.
    covariates : sequence of str, optional
        Exactly these; by default all columns of ``people`` and all unused columns of ``trials``
        that are constant within participants.
    people : DataFrame, path or list of these, optional
        Tables of covariates; see `join_tables`.
    missing : MissingValues
        Values of ``people`` that are missing ones; in ``trials`` they are missing already.

    Raises
    ------
    CovariateError
        A named covariate varies within a participant, a participant has two rows in ``people``, or
        the two tables contradict each other.
    ColumnError
        A named covariate is in neither table.
    """
    id_column = str(units.columns[0])
    tables: dict[str, pd.DataFrame] = {}
    marked: dict[str, dict[str, int]] = {}
    for name, source in named_tables(people, "people table").items():
        tables[name], found = _people_table(source, list(units.columns), roles, missing, name)
        marked |= found
    offered = list(dict.fromkeys(name for table in tables.values() for name in table.columns if name not in units))
    free = [name for name in trials.columns if name not in roles]
    if covariates is not None:
        _require_covariates(covariates, free, offered)
    constant, varying = _constant_columns(trials, participant, free)
    if covariates is not None:
        for name in covariates:
            if name in varying and name not in offered:
                raise _varies(trials, row_varies(trials[name], participant), name, id_column)
    _, first = np.unique(participant, return_index=True)
    own = trials[constant].iloc[first].reset_index(drop=True)
    joined, rows = join_tables(units, tables, list(units.columns), own)
    if covariates is not None:
        joined = joined[list(covariates)]
    reserved = {"participant", PERSON} if len(units.columns) > 1 else {"participant"}
    for name in reserved & set(joined.columns):
        raise CovariateError(
            f"a covariate cannot be called '{name}': that column holds the ids",
            do="rename it, or name the covariates you want in covariates=[...]",
        )
    notice_covariates(joined, missing, used=covariates or ())
    if len(units.columns) > 1:
        joined = pd.concat([units.set_axis([PERSON, *units.columns[1:]], axis=1), joined], axis=1)
    joined.insert(0, "participant", labels_to_series(labels))
    lost = np.any([own < 0 for own in rows.values()], axis=0) if rows else np.zeros(len(labels), dtype=bool)
    without_row = tuple(label for label, absent in zip(labels, lost, strict=True) if absent)
    if without_row:
        warn_user(_without_row_message(without_row, len(labels)), ExclusionWarning)
    return Covariates(
        people=joined,
        varying=tuple(name for name in varying if name not in offered),
        without_row=without_row,
        n_unused_rows=sum(len(tables[name]) - len(np.unique(own[own >= 0])) for name, own in rows.items()),
        marked=marked,
    )


def read_people(
    source: TableSource, id_column: str, missing: MissingValues, what: str = "the people table"
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Read a table of people: ids as written, missing values missing, and text without blanks around it.

    Parameters
    ----------
    source : DataFrame or path
    id_column : str
    missing : MissingValues
    what : str
        What the table is called in messages.

    Returns
    -------
    table : DataFrame
        Rows without anything in them are left out; so are, of rows, none whose id is missing.
    marked : dict
        Values of each column that were made missing, and how often.

    Raises
    ------
    ColumnError
        The table has no column of ids, or two columns of the same name.

    Examples
    --------
    >>> from spicestat._files.missing_values import as_missing
    >>> table = pd.DataFrame({"participant": ["01", "02"], "sex": ["f ", ""], "age": ["31", "n.a."]})
    >>> read_people(table, "participant", as_missing({"age": "n.a."}))[0].values.tolist()
    [['01', 'f', 31.0], ['02', nan, nan]]
    """
    table, marked = read_covariates(source, [id_column], missing, what)
    require_columns(table, [id_column], what)
    return table, marked


def read_covariates(
    source: TableSource, keys: Sequence[str], missing: MissingValues, what: str = "the people table"
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Read a table of people, occasions, sites or others as `read_people` does.

    ``keys`` are the columns of ids that it may have, first that of participants.
    """
    table = read_table(source, ids=keys)
    table.columns = table.columns.map(str)
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise CovariateError(f"column '{twice}' of {what} occurs twice", do="rename one of them")
    present = [name for name in keys if name in table.columns]
    table = table[table.notna().any(axis=1)].reset_index(drop=True)
    table, marked = mark_missing(table, missing, ids=present)
    others = {name: tidy_text(table[name], "covariate") for name in table.columns if name not in present}
    for place, name in enumerate(present):
        kind = "participant" if place == 0 and name == keys[0] else "occasion"
        notice_alike(table[name].dropna().unique().tolist(), name, kind)
    return table.assign(**others), marked


def _people_table(
    source: TableSource, keys: Sequence[str], roles: Sequence[str], missing: MissingValues, what: str
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    table, marked = read_covariates(source, keys, missing, what)
    taken = [name for name in table.columns if name in roles and name not in keys]
    if taken:
        raise CovariateError(
            f"column '{taken[0]}' of {what} has another role in the trials", do="rename it in the people table"
        )
    for place, name in enumerate(keys):
        if name not in table.columns:
            continue
        nobody = np.array([pd.isna(label) or label_key(label) == "" for label in table[name].astype(object)])
        if nobody.any():
            raise CovariateError(
                f"{'occasion' if place else 'participant'} column '{name}' of {what} has missing values",
                got=first_rows(table, nobody, [name]),
                do="fill in the ids or drop these rows",
            )
    return table, marked


def _require_covariates(covariates: Sequence[str], free: Sequence[str], offered: Sequence[str]) -> None:
    everything = pd.DataFrame(columns=pd.Index(dict.fromkeys([*offered, *free])))
    require_columns(everything, covariates, "covariates: neither the trials nor the people table")


def _constant_columns(
    trials: pd.DataFrame, participant: npt.NDArray[np.int64], columns: Sequence[str]
) -> tuple[list[str], list[str]]:
    varies = {name: bool(row_varies(trials[name], participant).any()) for name in columns}
    return [name for name in columns if not varies[name]], [name for name in columns if varies[name]]


def _varies(trials: pd.DataFrame, where: npt.NDArray[np.bool_], name: str, id_column: str) -> CovariateError:
    who = trials[id_column].iloc[int(np.argmax(where))]
    both = where | (trials[id_column] == who).to_numpy() & ~trials[id_column].duplicated().to_numpy()
    return CovariateError(
        f"covariate '{name}' varies within participant {who!s}",
        got=first_rows(trials, both, [id_column, name]),
        allowed="one value per participant",
        do=f"correct these rows, or use inputs=['{name}'] if it is meant to change from trial to trial",
    )


def _without_row_message(without_row: Sequence[Hashable], n_participants: int) -> str:
    shown = ", ".join(map(str, without_row[:10])) + (", ..." if len(without_row) > 10 else "")
    return (
        f"{len(without_row)} of {n_participants} participants have no row in the people table and get missing "
        f"covariates (group models leave them out): {shown}"
    )
