"""Bring a table of covariates into the participant order of a coefficient table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from spicestat.errors import CovariateError, DataError, ExclusionWarning, warn_user
from spicestat.group.design import name_some
from spicestat.tables import require_columns

__all__ = ["align_people", "id_key"]


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
    keys = [id_key(label) for label in participants]
    if len(set(keys)) < len(keys):
        twice = [label for label, key in zip(participants, keys, strict=True) if keys.count(key) > 1]
        raise DataError(f"participants of the coefficient table read the same: {name_some(twice)}")
    if people is None:
        return pd.DataFrame({"participant": list(participants)}), np.arange(len(keys))
    require_columns(people, [column], "the covariate table", f"pass participant=... (now {column!r})")
    location = _locations(people, column)
    positions = np.array([index for index, key in enumerate(keys) if key in location], dtype="int64")
    missing = [label for label, key in zip(participants, keys, strict=True) if key not in location]
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
    aligned = people.iloc[[location[keys[index]] for index in positions]].reset_index(drop=True)
    aligned = aligned.drop(columns=[name for name in (column, "participant") if name in aligned.columns])
    aligned.insert(0, "participant", [participants[index] for index in positions])
    return aligned, positions


def id_key(label: object) -> str:
    """Return the text by which a participant label is matched.

    Examples
    --------
    >>> [id_key(label) for label in (1, 1.0, "1", " s01 ", np.int64(7))]
    ['1', '1', '1', 's01', '7']
    """
    plain = label.item() if isinstance(label, np.generic) else label
    if isinstance(plain, float) and plain.is_integer():
        return str(int(plain))
    return str(plain).strip()


def _locations(people: pd.DataFrame, column: str) -> dict[str, int]:
    """Map each label of the covariate table to its row."""
    labels = people[column]
    location: dict[str, int] = {}
    twice: dict[object, None] = {}
    for row, label in enumerate(labels.tolist()):
        if pd.isna(label):
            continue
        if location.setdefault(id_key(label), row) != row:
            twice[label] = None
    if twice:
        raise CovariateError(
            f"{len(twice)} participants have more than one row in the covariate table: {name_some(list(twice))}",
            do="give one row per participant",
        )
    return location
