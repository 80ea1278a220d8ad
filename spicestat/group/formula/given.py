"""Designs that were made elsewhere, as R makes them of its own formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd

from spicestat.errors import DataError
from spicestat.group.formula.design import Design, check_matrix
from spicestat.group.formula.random_columns import RandomColumns

__all__ = ["GivenColumns", "given_design"]


@dataclass(frozen=True)
class GivenColumns:
    """What is known of columns that came as they are.

    Attributes
    ----------
    names : tuple of str, length p
    terms : dict of str to tuple of int
        Columns of each term of the formula.
    """

    names: tuple[str, ...]
    terms: dict[str, tuple[int, ...]]

    @property
    def factors(self) -> tuple[()]:
        """No factor, as nothing is known of how columns were made."""
        return ()

    def matrix(self, frame: pd.DataFrame) -> NoReturn:
        """Refuse to make the columns for other participants."""
        raise DataError(
            "the columns of this design were made elsewhere", got=f"{len(frame)} other rows", do="make them there"
        )


def given_design(
    formula: str,
    matrix: np.ndarray,
    terms: dict[str, tuple[int, ...]],
    names: Sequence[str],
    rows: np.ndarray,
    labels: Sequence[object],
    factors: pd.DataFrame,
    random: tuple[RandomColumns, ...] = (),
) -> Design:
    """Return a design from its matrix.

    Parameters
    ----------
    formula : str
        What to call it.
    matrix : ndarray of shape (n, p)
    terms : dict of str to tuple of int
        Columns of each term of the formula.
    names : sequence of str, length p
    rows : int ndarray of shape (n,)
        Positions of the participants in the coefficient table.
    labels : sequence of length n
        The participants, for messages.
    factors : DataFrame of n rows
        Covariates that are factors, within whose levels participants may be permuted.
    random : tuple of RandomColumns, optional
        Random parts, checked.

    Raises
    ------
    FormulaError, CovariateError, DataError
        Columns are not finite or dependent, or participants too few.

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), [20.0, 30.0, 40.0, 45.0]])
    >>> terms = {"(Intercept)": (0,), "age": (1,)}
    >>> design = given_design("~ age", X, terms, ["(Intercept)", "age"], np.arange(4), "abcd", pd.DataFrame())
    >>> design.names, design.terms["age"]
    (('(Intercept)', 'age'), (1,))
    """
    check_matrix(matrix, tuple(names), labels)
    frame = factors.astype(str).astype("category")
    return Design(formula, tuple(names), matrix, rows, frame, GivenColumns(tuple(names), terms), random)
