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
from spicestat.trials.labels import label_key, labels_to_series, match_labels, tidy_text
from spicestat.trials.missing_codes import notice_alike, notice_covariates

__all__ = ["Covariates", "collect_covariates", "read_people", "row_varies"]


@dataclass(frozen=True)
class Covariates:
    """Covariates of all participants and where they came from.

    Attributes
    ----------
    people : DataFrame, n_participants rows
        Column ``participant`` (labels in code order), then one column per covariate.
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
    roles: Sequence[str],
    id_column: str,
    covariates: Sequence[str] | None,
    people: TableSource | None,
    missing: MissingValues,
) -> Covariates:
    """Collect one row of covariates per participant.

    Parameters
    ----------
    trials : DataFrame
        The trials as read, in file order.
    participant : ndarray of int64, shape (n_rows,)
        Participant code of each row, all of 0..n_participants-1 occurring.
    labels : sequence
        Participant labels in code order.
    roles : sequence of str
        Columns of ``trials`` that have another role.
    id_column : str
        Participant column of both tables.
    covariates : sequence of str, optional
        Exactly these; by default all columns of ``people`` and all unused columns of ``trials``
        that are constant within participants.
    people : DataFrame or path, optional
        A table with one row per participant.
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
    table, marked = (None, {}) if people is None else _people_table(people, id_column, roles, missing)
    offered = [] if table is None else [name for name in table.columns if name != id_column]
    free = [name for name in trials.columns if name not in roles]
    if covariates is not None:
        _require_covariates(covariates, free, offered)
        offered = [name for name in offered if name in covariates]
    constant, varying = _constant_columns(trials, participant, free)
    if covariates is not None:
        for name in covariates:
            if name in varying and name not in offered:
                raise _varies(trials, row_varies(trials[name], participant), name, id_column)
        constant = [name for name in constant if name in covariates]
    _, first = np.unique(participant, return_index=True)
    own = trials[constant].iloc[first].reset_index(drop=True)
    rows = np.full(len(labels), -1, dtype=np.int64)
    if table is not None:
        rows = _match_rows(table[id_column].tolist(), labels, id_column)
        theirs = table[offered].reset_index(drop=True).reindex(rows).reset_index(drop=True)
        _refuse_contradictions(own, theirs, rows >= 0, labels)
        own = pd.concat([theirs, own.drop(columns=offered, errors="ignore")], axis=1)
    if covariates is not None:
        own = own[list(covariates)]
    if "participant" in own.columns:
        raise CovariateError(
            "a covariate cannot be called 'participant': that column holds the ids",
            do="rename it, or name the covariates you want in covariates=[...]",
        )
    notice_covariates(own, missing, used=covariates or ())
    own.insert(0, "participant", labels_to_series(labels))
    without_row = tuple(label for label, row in zip(labels, rows, strict=True) if table is not None and row < 0)
    if without_row:
        warn_user(_without_row_message(without_row, len(labels)), ExclusionWarning)
    return Covariates(
        people=own,
        varying=tuple(name for name in varying if name not in offered),
        without_row=without_row,
        n_unused_rows=0 if table is None else len(table) - int((rows >= 0).sum()),
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
    table = read_table(source, ids=[id_column])
    table.columns = table.columns.map(str)
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise CovariateError(f"column '{twice}' of {what} occurs twice", do="rename one of them")
    require_columns(table, [id_column], what)
    table = table[table.notna().any(axis=1)].reset_index(drop=True)
    table, marked = mark_missing(table, missing, ids=[id_column])
    others = {name: tidy_text(table[name], "covariate") for name in table.columns if name != id_column}
    notice_alike(table[id_column].dropna().unique().tolist(), id_column, "participant")
    return table.assign(**others), marked


def _people_table(
    source: TableSource, id_column: str, roles: Sequence[str], missing: MissingValues
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    table, marked = read_people(source, id_column, missing)
    taken = [name for name in table.columns if name in roles and name != id_column]
    if taken:
        raise CovariateError(
            f"column '{taken[0]}' of the people table has another role in the trials",
            do="rename it in the people table",
        )
    nobody = np.array(
        [label_key(label) == "" for label in table[id_column].astype(object).where(table[id_column].notna(), "")]
    )
    if nobody.any():
        raise CovariateError(
            f"participant column '{id_column}' of the people table has missing values",
            got=first_rows(table, nobody, [id_column]),
            do="fill in the ids or drop these rows",
        )
    repeated = table[id_column].map(label_key).duplicated(keep=False).to_numpy()
    if repeated.any():
        raise CovariateError(
            f"the people table must have one row per participant in column '{id_column}'",
            got=first_rows(table, repeated, [id_column]),
            do="keep one row of each participant",
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


def _match_rows(found: Sequence[Hashable], labels: Sequence[Hashable], id_column: str) -> npt.NDArray[np.int64]:
    """Return the people row of each participant, -1 for none."""
    rows = match_labels(labels, found, here="the trials", there="the people table")
    if len(rows) and rows.max() < 0:
        raise CovariateError(
            f"no participant of the trials is in column '{id_column}' of the people table",
            got=f"{', '.join(map(repr, found[:3]))} in the people table",
            allowed=f"{', '.join(map(repr, labels[:3]))}, ... as in the trials",
            do="use the same ids in both tables",
        )
    return rows


def _refuse_contradictions(
    own: pd.DataFrame, theirs: pd.DataFrame, known: npt.NDArray[np.bool_], labels: Sequence[Hashable]
) -> None:
    for name in own.columns.intersection(theirs.columns):
        left, right = own[name].astype(object)[known], theirs[name].astype(object)[known]
        unequal = (left != right) & ~(left.isna() & right.isna())
        if unequal.any():
            at = unequal.index[unequal.to_numpy()][0]
            raise CovariateError(
                f"covariate '{name}' of participant {labels[at]!s} differs between the two tables",
                got=f"{own[name].iloc[at]!s} in the trials, {theirs[name].iloc[at]!s} in the people table",
                do="correct one of them, or drop the column from one table",
            )


def _without_row_message(without_row: Sequence[Hashable], n_participants: int) -> str:
    shown = ", ".join(map(str, without_row[:10])) + (", ..." if len(without_row) > 10 else "")
    return (
        f"{len(without_row)} of {n_participants} participants have no row in the people table and get missing "
        f"covariates (group models leave them out): {shown}"
    )
