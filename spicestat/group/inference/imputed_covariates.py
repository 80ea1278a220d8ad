"""Covariates of people, filled in several times from each other and from people's estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat.coefficients import CoefficientTable
from spicestat.errors import CovariateError
from spicestat.group.formula.design import name_some
from spicestat.group.numerics.chained_equations import chained_equations
from spicestat.trials.covariates import PERSON
from spicestat.trials.labels import label_key

__all__ = ["Imputed", "imputed_covariates"]

_SEED = 20261128


@dataclass(frozen=True, eq=False)
class Imputed:
    """Tables without missing covariates.

    Attributes
    ----------
    tables : list of DataFrame
        One per imputation.
    typical : DataFrame
        With the mean of the imputed numbers and the most frequent of the imputed levels.
    text : str
        What was missing.
    """

    tables: list[pd.DataFrame]
    typical: pd.DataFrame
    text: str


def imputed_covariates(
    people: pd.DataFrame,
    variables: Sequence[str],
    table: CoefficientTable,
    positions: np.ndarray,
    n_imputations: int,
) -> Imputed | None:
    """Fill in covariates by `chained_equations`, with people's own estimates among the predictors.

    Estimates enter as a person's mean and, where people were seen on occasions, on each of these, so that what a
    covariate does to a difference within people is kept.

    Parameters
    ----------
    people : DataFrame of n rows
        One row per participant, or per participant and occasion, with ``participant`` and perhaps ``person``.
    variables : sequence of str
        Covariates of the formula.
    table : CoefficientTable
    positions : int ndarray of shape (n,)
        Of the rows in the table's participants.
    n_imputations : int

    Returns
    -------
    Imputed or None
        None where nothing is missing.

    Raises
    ------
    CovariateError
        What is missing varies within people, or is of no type that can be imputed.
    """
    names = [name for name in dict.fromkeys(variables) if name in people.columns]
    gaps = {name: int(people[name].isna().sum()) for name in names if people[name].isna().any()}
    if not gaps:
        return None
    unit = people[PERSON] if PERSON in people.columns and table.occasions else people["participant"]
    person = pd.factorize(unit.map(label_key))[0]
    firsts = {name: _of_people(people[name], person) for name in names}
    within = [name for name in gaps if firsts[name] is None]
    if within:
        raise CovariateError(
            f"{name_some(within)} varies within people, and only covariates of people can be imputed",
            do="leave imputations out, which leaves out the occasions that lack it",
        )
    used = {name: column for name, column in firsts.items() if column is not None}
    coded = [_coded(column, name) for name, column in used.items()]
    filled = chained_equations(
        [column for column, _ in coded],
        [0 if levels is None else len(levels) for _, levels in coded],
        _outcomes(table, positions, person),
        n_imputations,
        _SEED,
    )
    tables = [people.copy() for _ in filled]
    typical = people.copy()
    for place, (name, (_, levels)) in enumerate(zip(used, coded, strict=True)):
        if name not in gaps:
            continue
        draws = np.stack([columns[place] for columns in filled])
        for complete, values in zip(tables, draws, strict=True):
            complete[name] = _decoded(values, levels, people[name])[person]
        middle = draws.mean(axis=0) if levels is None else _commonest(draws, len(levels))
        typical[name] = _decoded(middle, levels, people[name])[person]
    lacking = ", ".join(f"'{name}' of {count}" for name, count in gaps.items())
    return Imputed(tables, typical, f"missing {lacking} of {len(people)} rows")


def _of_people(column: pd.Series[Any], person: np.ndarray) -> pd.Series[Any] | None:
    """Return a covariate of people, one value each; None where it varies within them."""
    first = column.groupby(person, observed=True).first()
    there = column.notna().to_numpy()
    same = first.iloc[person].reset_index(drop=True)[there] == column.reset_index(drop=True)[there]
    return first if same.all() else None


def _coded(column: pd.Series[Any], name: str) -> tuple[np.ndarray, list[object] | None]:
    """Return numbers, or codes with levels."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kept = column.cat.remove_unused_categories()
        return kept.cat.codes.to_numpy(dtype="float64"), list(kept.cat.categories)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in {"integer", "floating", "mixed-integer-float", "decimal"}:
        return column.to_numpy(dtype="float64", na_value=np.nan), None
    if kind in {"boolean", "string", "mixed", "mixed-integer"}:
        levels = sorted(set(column.dropna()), key=str)
        codes = column.map({level: code for code, level in enumerate(levels)})
        return codes.fillna(-1).to_numpy(dtype="float64"), levels
    raise CovariateError(
        f"covariate '{name}' cannot be imputed", got=kind, allowed="numbers, text, booleans, categories"
    )


def _decoded(values: np.ndarray, levels: list[object] | None, like: pd.Series[Any]) -> Any:
    if levels is None:
        return values
    made = np.array(levels, dtype=object)[values.astype("int64")]
    return pd.Categorical(made, like.cat.categories) if isinstance(like.dtype, pd.CategoricalDtype) else made


def _commonest(draws: np.ndarray, n_levels: int) -> np.ndarray:
    counts = (draws[..., None] == np.arange(n_levels)).sum(axis=0)
    return np.asarray(counts.argmax(axis=1))


def _outcomes(table: CoefficientTable, positions: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Everybody's estimates, (N, q), standardised; what is not identified is the mean of those that are."""
    wide = table.wide().to_numpy(dtype="float64")[positions]
    rows = pd.DataFrame(wide).groupby(person)
    outcomes = [rows.mean().to_numpy()]
    if table.occasions and table.people is not None:
        kind = pd.factorize(table.people[list(table.occasions)].iloc[positions].astype(str).agg("\r".join, axis=1))[0]
        for code in range(1, kind.max() + 1):
            own = pd.DataFrame(np.where((kind == code)[:, None], wide, np.nan)).groupby(person).mean().to_numpy()
            outcomes.append(own - outcomes[0])
    found = np.column_stack(outcomes)
    found = found[:, np.isfinite(found).any(axis=0)]
    middle, spread = np.nanmean(found, axis=0), np.nanstd(found, axis=0)
    known = spread > 0
    # a few estimates that ran away must not decide about the others
    scaled = np.clip((found[:, known] - middle[known]) / spread[known], -3.0, 3.0)
    return np.where(np.isfinite(scaled), scaled, 0.0)
