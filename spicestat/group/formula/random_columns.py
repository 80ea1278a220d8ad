"""The columns of a formula's random parts: what each level of a grouping has for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from spicestat.errors import DataError, FormulaError
from spicestat.group.formula.matrix import FormulaModel
from spicestat.group.formula.terms import RandomTerms
from spicestat.trials.labels import label_key

__all__ = ["RandomColumns", "check_random", "group_columns", "random_columns"]


@dataclass(frozen=True, eq=False)
class RandomColumns:
    """One random part, row by row of a design.

    Attributes
    ----------
    text : str
        The part as in the formula.
    group : str
        The grouping in R's convention: ``participant``, ``site:participant``.
    names : tuple of str, length r
        The columns, as those of fixed effects are called.
    matrix : ndarray of shape (n, r)
    codes : int ndarray of shape (n,)
        The level of each row, from 0, all occurring.
    correlated : bool
        Whether effects may be correlated.
    """

    text: str
    group: str
    names: tuple[str, ...]
    matrix: np.ndarray
    codes: np.ndarray
    correlated: bool

    def of(self, places: np.ndarray) -> RandomColumns:
        """Return the part of some of the rows."""
        codes = np.unique(self.codes[places], return_inverse=True)[1]
        return replace(self, matrix=self.matrix[places], codes=codes)


def group_columns(
    parts: Sequence[RandomTerms], known: Iterable[str], aliases: Mapping[str, str]
) -> dict[RandomTerms, list[str]]:
    """Return the columns of each part's grouping.

    Parameters
    ----------
    parts : sequence of RandomTerms
    known : iterable of str
        Columns of the table.
    aliases : mapping of str to str
        Columns that formulas call by other names, such as ``{"participant": "person"}``.

    Raises
    ------
    FormulaError
        A grouping is by an unknown column.
    """
    offered = dict.fromkeys([*aliases, *known])
    found = {}
    for part in parts:
        unknown = [name for name in part.groups if name not in offered]
        if unknown:
            raise FormulaError(
                f"'{part.text}' groups by the unknown column '{unknown[0]}'",
                allowed=", ".join(offered),
                do="correct the name, or pass the table that holds it",
            )
        found[part] = [aliases.get(name, name) for name in part.groups]
    return found


def random_columns(
    part: RandomTerms, model: FormulaModel, prepared: pd.DataFrame, groups: pd.DataFrame
) -> RandomColumns:
    """Make the columns of a random part.

    Parameters
    ----------
    part : RandomTerms
    model : FormulaModel
        Of its terms.
    prepared : DataFrame of n rows
        The covariates that its terms use.
    groups : DataFrame of n rows
        The columns of its grouping.

    Raises
    ------
    FormulaError
        There is one level, or a slope of something that does not vary within levels.
    DataError
        A column is not finite.
    """
    keys = groups.map(label_key).agg("\x00".join, axis=1)
    codes = pd.factorize(keys)[0].astype("int64")
    matrix = model.matrix(prepared).matrix if len(prepared.columns) else np.ones((len(groups), 1))
    columns = RandomColumns(part.text, ":".join(part.groups), model.names, matrix, codes, part.correlated)
    return check_random(columns)


def check_random(part: RandomColumns) -> RandomColumns:
    """Return a random part that can be estimated.

    Raises
    ------
    FormulaError
        There is one level, or a slope of something that does not vary within levels.
    DataError
        A column is not finite.

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), [0.0, 1.0, 0.0, 1.0]])
    >>> part = RandomColumns("(x | id)", "id", ("(Intercept)", "x"), X, np.array([0, 0, 1, 1]), True)
    >>> check_random(part) is part
    True
    """
    if part.codes.max() == 0:
        raise FormulaError(
            f"'{part.text}' needs groups, and {part.group} has the same value in all rows",
            do=f"leave '{part.text}' out",
        )
    if not np.isfinite(part.matrix).all():
        raise DataError(f"'{part.text}' is missing or infinite for some rows", do="check the transformation")
    for column, own in zip(part.names, part.matrix.T, strict=True):
        if column != "(Intercept)" and not _varies_within(own, part.codes):
            raise FormulaError(
                f"'{column}' does not vary within {part.group}, so that '{part.text}' has no slope to estimate",
                do=f"leave '{column}' out of the random part: the formula's own '{column}' compares levels of "
                f"{part.group}",
            )
    return part


def _varies_within(values: np.ndarray, codes: np.ndarray) -> bool:
    by_level = pd.Series(values).groupby(codes)
    return bool((by_level.max() > by_level.min()).any())
