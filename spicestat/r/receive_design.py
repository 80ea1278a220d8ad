"""Designs that R made of its own formulas, and the tables of covariates that it makes them from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spicestat.coefficients import CoefficientTable
from spicestat.errors import DataError
from spicestat.group.formula.design import Design
from spicestat.group.formula.given import given_design
from spicestat.group.formula.random_columns import RandomColumns, check_random
from spicestat.group.inputs.alignment import covariates_of
from spicestat.r.columns import Table, decode_table
from spicestat.trials.labels import match_labels

__all__ = ["people_on_occasions", "received_design"]


def received_design(sent: Mapping[str, Any], table: CoefficientTable) -> Design:
    """Return a design that R sent.

    Parameters
    ----------
    sent : mapping
        ``formula`` (text), ``names`` of the columns, ``terms``, a list of the term of each column, and ``random``, a
        list of mappings with ``text, group, names, matrix, codes`` and ``correlated``; the tables ``matrix`` (one
        column for each of ``names``) and ``factors``, whose first column is ``participant``.
    table : CoefficientTable
        Whose participants its rows are.

    Examples
    --------
    >>> table = CoefficientTable.from_frame(pd.DataFrame(
    ...     {"participant": list("abc"), "module": "x", "term": "1", "estimate": [0.1, 0.2, 0.4], "std_error": 0.1}))
    >>> column = {"name": "V1", "type": "double", "values": [1.0, 1.0], "na": []}
    >>> who = {"name": "participant", "type": "string", "values": [1.0, 2.0], "levels": ["a", "c"], "na": []}
    >>> design = received_design({
    ...     "formula": "~1", "names": ["(Intercept)"], "terms": ["(Intercept)"], "random": [],
    ...     "matrix": {"nrow": 2, "columns": [column]}, "factors": {"nrow": 2, "columns": [who]}}, table)
    >>> design.rows.tolist(), design.matrix.tolist()
    ([0, 2], [[1.0], [1.0]])
    """
    factors = decode_table(sent["factors"])
    who = factors.pop("participant").tolist()
    rows = match_labels(who, list(table.participants), here="the design", there="the coefficients")
    if (rows < 0).any():
        raise DataError("the design has participants without coefficients", do="make both from the same fit")
    terms: dict[str, tuple[int, ...]] = {}
    for place, term in enumerate(sent["terms"]):
        terms[str(term)] = (*terms.get(str(term), ()), place)
    names = [str(name) for name in sent["names"]]
    random = tuple(check_random(_random_part(part)) for part in sent["random"])
    return given_design(str(sent["formula"]), _matrix(sent["matrix"]), terms, names, rows, who, factors, random)


def people_on_occasions(
    table: CoefficientTable, data: Sequence[Table] | None, column: str, missing: Any
) -> pd.DataFrame:
    """Return the covariates of people on occasions, their own or those of tables that R sent, in the table's order."""
    tables = None if data is None else [decode_table(one) for one in data]
    aligned, _ = covariates_of(table, tables, column, missing=missing)
    return aligned


def _random_part(sent: Mapping[str, Any]) -> RandomColumns:
    codes = np.asarray(sent["codes"], dtype="int64")
    names = tuple(str(name) for name in sent["names"])
    return RandomColumns(
        str(sent["text"]), str(sent["group"]), names, _matrix(sent["matrix"]), codes, bool(sent["correlated"])
    )


def _matrix(sent: Table) -> np.ndarray:
    return decode_table(sent).to_numpy(dtype="float64")
