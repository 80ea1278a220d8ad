"""The matrix of a formula: its terms' factors, coded so that no column is redundant by construction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from spicestat.errors import DataError
from spicestat.group.formula.functions import Categories, Numbers, States, values_of
from spicestat.group.formula.terms import Factor, Term, term_text

__all__ = ["FormulaMatrix", "FormulaModel", "model_of"]

_Values = dict[Factor, Numbers | Categories]


@dataclass(frozen=True)
class _Coded:
    """A factor in a term, with all its columns or with one less."""

    factor: Factor
    full: bool = True


@dataclass(frozen=True)
class FormulaMatrix:
    """A design matrix.

    Attributes
    ----------
    matrix : ndarray of shape (n, p)
    numeric : ndarray of shape (n, p)
        Of each column the part that comes from numbers; 1 where there is none.
    """

    matrix: np.ndarray
    numeric: np.ndarray


@dataclass(frozen=True)
class FormulaModel:
    """How the columns of a design are made, for the same and for other participants.

    Attributes
    ----------
    names : tuple of str, length p
        Names of the columns in R's convention.
    terms : dict of str to tuple of int
        Columns of each term of the formula.
    """

    names: tuple[str, ...]
    terms: dict[str, tuple[int, ...]]
    _structure: tuple[tuple[_Coded, ...], ...] = field(repr=False)
    _states: States = field(repr=False)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors of all terms, each once."""
        return tuple(dict.fromkeys(coded.factor for scope in self._structure for coded in scope))

    def matrix(self, frame: pd.DataFrame) -> FormulaMatrix:
        """Return the design of participants whose covariates are prepared as they were for `model_of`."""
        matrix, numeric = np.ones((2, len(frame), len(self.names)))
        # the logarithm of a negative number is for the caller to find and to name
        with np.errstate(all="ignore"):
            values = {factor: values_of(factor.node, frame, self._states) for factor in self.factors}
            columns = [(scope, choice) for scope in self._structure for choice in _choices(scope, values)]
            for place, (scope, choice) in enumerate(columns):
                for coded, column in zip(scope, choice, strict=True):
                    own = _column(values[coded.factor], coded.full, column)
                    matrix[:, place] *= own
                    if isinstance(values[coded.factor], Numbers):
                        numeric[:, place] *= own
        return FormulaMatrix(matrix, numeric)


def model_of(terms: tuple[Term, ...], frame: pd.DataFrame) -> tuple[FormulaModel, dict[str, tuple[Any, ...]]]:
    """Return how a formula's columns are made, and the levels of its categorical factors by their text.

    Parameters
    ----------
    terms : tuple of Term
        From `read_formula`.
    frame : DataFrame
        The covariates: numbers as float64, everything else as categories.
    """
    states: States = {}
    factors = dict.fromkeys(factor for term in terms for factor in term)
    with np.errstate(all="ignore"):
        values = {factor: values_of(factor.node, frame, states) for factor in factors}
    levels = {factor.short: own.levels for factor, own in values.items() if isinstance(own, Categories)}
    scopes = _scopes(terms, values)
    _check_size(scopes, values, len(frame))
    names = [name for name, _ in _named(scopes, values, short=True)]
    short = len(set(names)) == len(names) and len({term_text(term) for term in terms}) == len(terms)
    named = list(_named(scopes, values, short))
    columns = {
        term_text(term, short): tuple(place for place, (_, own) in enumerate(named) if own == term) for term in terms
    }
    structure = tuple(scope for _, own in scopes for scope in own)
    return FormulaModel(tuple(name for name, _ in named), columns, structure, states), levels


def _check_size(scopes: list[tuple[Term, list[tuple[_Coded, ...]]]], values: _Values, n: int) -> None:
    p = sum(prod(_width(values[coded.factor], coded.full) for coded in scope) for _, own in scopes for scope in own)
    if p > max(n, 1000):
        raise DataError(
            f"{n} participants are too few for {p} coefficients",
            allowed=f"at least {p + 1} participants",
            do="use a simpler formula; a factor should have few levels",
        )


def _named(
    scopes: list[tuple[Term, list[tuple[_Coded, ...]]]], values: _Values, short: bool
) -> Iterable[tuple[str, Term]]:
    """Yield the name and the term of every column; where short names are not unique, long ones tell them apart."""
    for term, own in scopes:
        for scope in own:
            for choice in _choices(scope, values):
                parts = [
                    _part(coded, values[coded.factor], place, short) for coded, place in zip(scope, choice, strict=True)
                ]
                yield ":".join(parts) or "(Intercept)", term


def _part(coded: _Coded, own: Numbers | Categories, place: int, short: bool) -> str:
    suffix = (own.suffixes if isinstance(own, Numbers) else own.coding(coded.full)[1])[place]
    if short:
        return coded.factor.short + suffix
    return coded.factor.text + (f"[{suffix}]" if isinstance(own, Categories) else suffix)


def _choices(scope: tuple[_Coded, ...], values: _Values) -> Iterable[tuple[int, ...]]:
    """Yield the combinations of the factors' columns, the first factor's fastest, as in R."""
    widths = [_width(values[coded.factor], coded.full) for coded in scope]
    return (choice[::-1] for choice in product(*map(range, reversed(widths))))


def _width(own: Numbers | Categories, full: bool) -> int:
    return len(own.suffixes) if isinstance(own, Numbers) else len(own.levels) - (not full)


def _column(own: Numbers | Categories, full: bool, place: int) -> np.ndarray:
    if isinstance(own, Numbers):
        return np.asarray(own.matrix[:, place])
    return np.asarray(own.coding(full)[0][own.codes, place])


def _scopes(terms: tuple[Term, ...], values: _Values) -> list[tuple[Term, list[tuple[_Coded, ...]]]]:
    """Return which factors of each term have all their columns, so that the matrix has full rank by construction.

    A categorical factor with all its columns spans the intercept and itself with one column less. A term adds what
    earlier terms do not span, in as few pieces as possible.
    """
    spanned: set[frozenset[_Coded]] = set()
    found = []
    for term in terms:
        spans: list[tuple[_Coded, ...]] = [()]
        for factor in term:
            if isinstance(values[factor], Categories):
                spans = [span + extra for span in spans for extra in ((_Coded(factor, False),), ())]
            else:
                spans = [(*span, _Coded(factor)) for span in spans]
        new = [span for span in spans if frozenset(span) not in spanned]
        spanned.update(map(frozenset, new))
        found.append((term, _fewest(new)))
    return found


def _fewest(spans: list[tuple[_Coded, ...]]) -> list[tuple[_Coded, ...]]:
    """Replace pairs such as a and a:b (with one column less) by a:b with all its columns, as long as there are any."""
    kept: list[tuple[_Coded, ...]] = []
    for span in sorted(spans, key=len):
        kept = _with(kept, span)
    return kept


def _with(kept: list[tuple[_Coded, ...]], span: tuple[_Coded, ...]) -> list[tuple[_Coded, ...]]:
    for other in kept:
        more = set(span) - set(other)
        if len(more) == 1 and len(span) == len(other) + 1 and not next(iter(more)).full:
            new = next(iter(more))
            filled = tuple(_Coded(coded.factor) if coded == new else coded for coded in span)
            return _fewest([one for one in kept if one != other] + [filled])
    return [*kept, span]
