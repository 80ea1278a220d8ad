"""Bring a table of covariates into the participant order of a coefficient table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from spicestat._files.missing_values import as_missing, mark_missing
from spicestat._files.tables import TableSource, require_columns
from spicestat.coefficients import CoefficientTable
from spicestat.errors import CovariateError, DataError, ExclusionWarning, warn_user
from spicestat.group.formula.design import name_some
from spicestat.trials.covariates import PERSON, read_covariates, read_people
from spicestat.trials.joining import Tables, join_tables, named_tables
from spicestat.trials.labels import label_key, match_labels
from spicestat.trials.missing_codes import notice_covariates

__all__ = ["align_people", "covariates_of", "group_people"]


def covariates_of(
    table: CoefficientTable,
    data: Tables | None,
    column: str,
    *,
    missing: Any = None,
    formula: str | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the covariates of a coefficient table's participants: its own, or those of one or several tables.

    Several tables, and those of people on occasions, are joined; see `join_tables`.

    Parameters
    ----------
    table : CoefficientTable
    data : DataFrame, path or list of these, optional
        Default: the table's own covariates.
    column : str
        Column of ``data`` with the participants' labels.
    missing, formula
        As in `group_people`.

    Returns
    -------
    aligned, positions
        As from `align_people`.
    """
    settled = table.info.get("missing")
    given = named_tables(data, "covariate table")
    if len(given) < 2 and (data is None or not table.occasions):
        only = next(iter(given.values()), None)
        people = group_people(table.people, only, column, missing=missing, settled=settled, formula=formula)
        return align_people(table.participants, people, column if data is not None else "participant")
    absent = as_missing(missing)
    units = _units(table, column)
    tables = {name: read_covariates(one, list(units.columns), absent, name)[0] for name, one in given.items()}
    nothing = pd.DataFrame(index=units.index)
    joined, _ = join_tables(units, tables, list(units.columns), nothing, here="the coefficients")
    if table.occasions and PERSON in joined.columns:
        raise CovariateError(f"a covariate cannot be called '{PERSON}': that column holds the ids", do="rename it")
    used = [name for name in map(str, joined.columns) if formula is None or _in_formula(name, formula)]
    notice_covariates(joined, absent, used=used)
    aligned = joined.drop(columns=[name for name in ("participant",) if name in joined.columns])
    if table.occasions:
        aligned = pd.concat([units.rename(columns={column: PERSON}), aligned], axis=1)
    aligned.insert(0, "participant", list(table.participants))
    return aligned, np.arange(len(aligned))


def _units(table: CoefficientTable, column: str) -> pd.DataFrame:
    if not table.occasions or table.people is None:
        return pd.DataFrame({column: list(table.participants)})
    own = table.people[[PERSON, *table.occasions]].reset_index(drop=True)
    return own.rename(columns={PERSON: column})


def group_people(
    own: pd.DataFrame | None,
    data: TableSource | None,
    column: str,
    *,
    missing: Any = None,
    settled: Any = None,
    formula: str | None = None,
) -> pd.DataFrame | None:
    """Return the covariates of a group model, with missing values missing and suspicious ones noticed.

    Parameters
    ----------
    own : DataFrame or None
        The coefficient table's own covariates, which count where there are no ``data``.
    data : DataFrame or path, optional
    column : str
        Column of ``data`` with the participants' labels.
    missing : value, sequence or mapping, optional
        Values that mean "not there"; see `spicestat.read_trials`.
    settled : value, sequence or mapping, optional
        What was said about missing values when ``own`` was read.
    formula : str, optional
        Its variables must make sense. Default: all covariates are used.

    Raises
    ------
    CovariateError
        A covariate of the formula has a value that can only be a code for a missing one.
    """
    absent = as_missing(settled if missing is None and data is None else missing)
    if data is not None:
        people = read_people(data, column, absent, "the covariate table")[0]
    elif own is not None:
        people = mark_missing(own, absent, ids=["participant"])[0]
    else:
        return None
    covariates = people.drop(columns=[name for name in (column, "participant") if name in people.columns])
    used = [name for name in map(str, covariates.columns) if formula is None or _in_formula(name, formula)]
    # the table's own covariates were looked at when they were read
    notice_covariates(covariates if data is not None else covariates[used], absent, used=used)
    return people


def _in_formula(name: str, formula: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", formula) is not None or formula.strip() == "~ ."


def align_people(
    participants: Sequence[Any], people: pd.DataFrame | None, column: str = "participant"
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the covariates of the given participants, in their order.

    Labels are matched by what they say, so that ``1``, ``1.0`` and ``"1"`` are one participant
    (a CSV file and a fitted data set often disagree on the type). Covariates of people without
    coefficients are ignored.

    Parameters
    ----------
    participants : sequence of length P
        Labels of the coefficient table.
    people : DataFrame or None
        One row per participant; None gives a table without covariates.
    column : str, default "participant"
        Column of ``people`` with the labels.

    Returns
    -------
    aligned : DataFrame of m rows
        Covariates of the participants that were found; column ``participant`` has the
        labels of the coefficient table.
    positions : ndarray of int, shape (m,)
        Their positions among ``participants``.

    Raises
    ------
    CovariateError
        A participant has more than one row.
    DataError
        None of the participants is in the covariate table.

    Warns
    -----
    ExclusionWarning
        Some participants have no row.

    Examples
    --------
    >>> table, positions = align_people(["2", "1"], pd.DataFrame({"participant": [1, 2], "age": [20, 30]}))
    >>> table["age"].tolist()
    [30, 20]
    """
    keys = [label_key(label) for label in participants]
    if len(set(keys)) < len(keys):
        twice = [label for label, key in zip(participants, keys, strict=True) if keys.count(key) > 1]
        raise DataError(f"participants of the coefficient table read the same: {name_some(twice)}")
    if people is None:
        return pd.DataFrame({"participant": list(participants)}), np.arange(len(keys))
    require_columns(people, [column], "the covariate table", f"pass participant=... (now {column!r})")
    known = people[people[column].map(label_key, na_action="ignore").fillna("") != ""]
    _refuse_twice(known[column].tolist())
    rows = match_labels(participants, known[column].tolist(), here="the coefficients", there="the covariate table")
    positions = np.flatnonzero(rows >= 0).astype("int64")
    missing = [label for label, row in zip(participants, rows.tolist(), strict=True) if row < 0]
    if len(positions) == 0:
        raise DataError(
            "no participant of the coefficient table is in the covariate table",
            got=f"{name_some(list(participants), 3)} in the coefficients and "
            f"{name_some(people[column].tolist(), 3)} in column '{column}' of the covariates",
            do="use the same labels in both tables",
        )
    if missing:
        warn_user(
            f"{len(missing)} of {len(keys)} participants have no row in the covariate table and are left out: "
            f"{name_some(missing)}.",
            ExclusionWarning,
        )
    aligned = known.iloc[rows[positions]].reset_index(drop=True)
    aligned = aligned.drop(columns=[name for name in (column, "participant") if name in aligned.columns])
    aligned.insert(0, "participant", [participants[index] for index in positions])
    return aligned, positions


def _refuse_twice(labels: Sequence[Any]) -> None:
    keys = pd.Series([label_key(label) for label in labels], dtype=object)
    repeated = keys[keys.duplicated()].drop_duplicates()
    twice = [labels[row] for row in repeated.index]
    if twice:
        raise CovariateError(
            f"{len(twice)} participants have more than one row in the covariate table: {name_some(twice)}",
            do="give one row per participant",
        )
