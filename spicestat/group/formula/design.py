"""Design matrices: a Wilkinson formula on a participant table, with R's coefficient names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spicestat.errors import CovariateError, DataError, ExclusionWarning, FormulaError, warn_user
from spicestat.group.formula.functions import categorised_column, level_word
from spicestat.group.formula.matrix import FormulaModel, model_of
from spicestat.group.formula.random_columns import RandomColumns, group_columns, random_columns
from spicestat.group.formula.syntax import EXAMPLE
from spicestat.group.formula.terms import RandomTerms, Term, read_formula, read_random

if TYPE_CHECKING:
    from spicestat.group.formula.given import GivenColumns

__all__ = [
    "Design",
    "build_design",
    "check_matrix",
    "covariate_names",
    "design_rank",
    "name_some",
    "rebuild_design",
    "too_few",
]

# names of coefficients and their estimates, and columns that `augment` puts beside the covariates
# fmt: off
_RESERVED = frozenset((
    "participant", "module", "sparse_term", "component", "coefficient", "estimate", "std_error", "observed", "used",
    "fitted", "fitted_std_error", "residual", "std_residual", "hat", "cooks_distance", "posterior_mean",
    "posterior_std_error", "fitted_natural", "posterior_natural", "(Intercept)",
))
# fmt: on


@dataclass(frozen=True)
class Design:
    """Design matrix of a group model.

    Attributes
    ----------
    formula : str
        The formula as given.
    names : tuple of str, length p
        Coefficient names in R's convention: ``(Intercept)``, ``age``, ``diagnosishealthy``.
    matrix : ndarray of shape (n, p)
        One row per participant that has all covariates.
    rows : ndarray of int, shape (n,)
        Positions of these participants in the table the design was built from.
    frame : DataFrame of n rows, or None
        The covariates that the formula uses: numbers as float64, everything else as categories.
    spec : FormulaModel, GivenColumns or None
        How the columns were made (levels, contrasts, centres of ``scale()``), for `design_for`; what is known of them
        where they were made elsewhere.
    random : tuple of RandomColumns
        The formula's random parts, row by row; files do not keep them.

    Examples
    --------
    >>> people = pd.DataFrame({"participant": [1, 2, 3, 4, 5], "age": [20.0, 30, 40, 50, 35],
    ...                        "diagnosis": ["healthy", "bipolar", "healthy", "bipolar", "healthy"]})
    >>> design = build_design("~ diagnosis + age", people)
    >>> design.design_for(pd.DataFrame({"diagnosis": ["bipolar", "healthy"], "age": 30.0})).tolist()
    [[1.0, 0.0, 30.0], [1.0, 1.0, 30.0]]
    >>> design.terms
    {'(Intercept)': (0,), 'diagnosis': (1,), 'age': (2,)}
    """

    formula: str
    names: tuple[str, ...]
    matrix: np.ndarray
    rows: np.ndarray
    frame: pd.DataFrame | None = field(default=None, repr=False)
    spec: FormulaModel | GivenColumns | None = field(default=None, repr=False)
    random: tuple[RandomColumns, ...] = field(default=(), repr=False)

    @property
    def has_random_parts(self) -> bool:
        """Whether the formula has random parts, also where they were not kept."""
        return bool(self.random) or (isinstance(self.spec, FormulaModel) and bool(read_random(self.formula)))

    @cached_property
    def levels(self) -> dict[str, tuple[Any, ...]]:
        """Values of each covariate that is a factor: categories, and numbers inside ``C()`` or ``factor()``."""
        frame, _ = self._model()
        found: dict[str, tuple[Any, ...]] = {}
        for name in frame.columns:
            if isinstance(frame[name].dtype, pd.CategoricalDtype):
                found[str(name)] = tuple(frame[name].cat.categories)
            elif name in self._coerced:
                found[str(name)] = tuple(sorted(frame[name].unique().tolist()))
        return found

    @cached_property
    def terms(self) -> dict[str, tuple[int, ...]]:
        """Columns that belong to each term of the formula, such as all levels of a factor."""
        return self._model()[1].terms

    @property
    def term_of(self) -> dict[str, str]:
        """The term of the formula that each column belongs to."""
        return {self.names[column]: term for term, columns in self.terms.items() for column in columns}

    @cached_property
    def column_scales(self) -> np.ndarray:
        """Standard deviation (n - 1) of the numeric part of each column, shape (p,).

        1 where a column has no numeric part: there a unit is the difference between two levels. In an
        interaction of a factor with a number it is the number's.
        """
        frame, spec = self._model()
        numeric = spec.matrix(frame).numeric
        return np.where((numeric == 1.0).all(axis=0), 1.0, np.std(numeric, axis=0, ddof=1))

    def design_for(self, new: pd.DataFrame) -> np.ndarray:
        """Return the design matrix of new participants, shape (m, p), with this design's levels and centres.

        Parameters
        ----------
        new : DataFrame of m rows
            All covariates of the formula, without missing values; others are ignored.

        Raises
        ------
        CovariateError
            A covariate is absent, missing, infinite, or has a level that was not in the data.
        DataError
            The design was built without its formula (by hand).
        """
        frame, spec = self._model()
        absent = [str(name) for name in frame.columns if name not in new.columns]
        if absent:
            raise CovariateError(
                f"new data lack the covariate {', '.join(map(repr, absent))}",
                allowed=", ".join(map(str, frame.columns)),
            )
        rows = new.reset_index(drop=True)
        prepared = pd.DataFrame({name: self._prepare_new(rows[name], str(name)) for name in frame.columns})
        try:
            matrix = spec.matrix(prepared if len(frame.columns) else pd.DataFrame(index=rows.index)).matrix
        except FormulaError as error:
            raise CovariateError(f"the formula cannot be evaluated for the new data: {error}") from error
        if not np.isfinite(matrix).all():
            bad = [name for name, column in zip(self.names, matrix.T, strict=True) if not np.isfinite(column).all()]
            raise CovariateError(f"the formula's {', '.join(map(repr, bad))} is not finite for the new data")
        return matrix

    def of_some(self, places: np.ndarray, labels: Sequence[object]) -> Design:
        """Return the design of some of its participants, made as if there were no others.

        Parameters
        ----------
        places : int ndarray of shape (m,)
            Rows of `matrix`.
        labels : sequence of length m
            The participants, for messages.

        Raises
        ------
        FormulaError, CovariateError, DataError
            These participants do not suffice for the formula.
        """
        if len(places) == len(self.matrix):
            return self
        random = tuple(part.of(places) for part in self.random)
        if self.frame is None or not isinstance(self.spec, FormulaModel):
            check_matrix(self.matrix[places], self.names, labels)
            frame = None if self.frame is None else self.frame.iloc[places].reset_index(drop=True)
            return replace(self, matrix=self.matrix[places], rows=self.rows[places], frame=frame, random=random)
        frame = self.frame.iloc[places].reset_index(drop=True)
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].cat.remove_unused_categories()
        spec = _model(read_formula(self.formula), frame)
        matrix = spec.matrix(frame).matrix
        check_matrix(matrix, spec.names, labels)
        return Design(self.formula, spec.names, matrix, self.rows[places], frame, spec, random)

    @cached_property
    def _coerced(self) -> frozenset[str]:
        """Variables that a factor of the formula makes categorical, as in ``C(visit)``."""
        named = [categorised_column(factor.node) for factor in self._model()[1].factors]
        return frozenset(name for name in named if name is not None)

    def _model(self) -> tuple[pd.DataFrame, FormulaModel | GivenColumns]:
        if self.frame is None or self.spec is None:
            raise DataError("this design knows no formula and no covariates", do="make it by `build_design`")
        return self.frame, self.spec

    def _prepare_new(self, column: pd.Series[Any], name: str) -> pd.Series[Any]:
        if column.isna().any():
            raise CovariateError(f"covariate '{name}' is missing in the new data")
        if name not in self.levels:
            values = pd.to_numeric(column, errors="coerce").astype("float64")
            if not np.isfinite(values).all():
                raise CovariateError(f"covariate '{name}' must be a finite number", got=column.tolist()[:5])
            return values
        levels = self.levels[name]
        numeric = name in self._coerced and not isinstance(levels[0], str)
        words = column.astype("float64") if numeric else column.map(_level_word)
        if not words.isin(levels).all():
            unknown = [word for word in dict.fromkeys(words.tolist()) if word not in levels]
            raise CovariateError(
                f"covariate '{name}' has a level that was not in the data",
                got=", ".join(map(repr, unknown[:5])),
                allowed=", ".join(map(repr, levels)),
            )
        return words if numeric else pd.Series(pd.Categorical(words, list(levels)), index=column.index)


def build_design(
    formula: str, people: pd.DataFrame, *, varying: Iterable[str] = (), aliases: Mapping[str, str] | None = None
) -> Design:
    """Turn a one-sided formula and a participant table into a design matrix.

    Text, boolean and categorical covariates get treatment contrasts. The reference is the first
    level: the first category of a pandas Categorical, otherwise the first in sorted order
    (by code point; R sorts by locale). Boolean levels are called ``FALSE`` and ``TRUE`` as in R.

    A formula is a small language of its own and is never run as code: sums, ``:``, ``*``, ``/`` and powers of columns;
    columns by name, in backticks where a name is not plain (```BDI total` ``); arithmetic and comparisons in ``I()``;
    ``log``, ``log2``, ``log10``, ``log1p``, ``exp``, ``exp2``, ``exp10``, ``expm1``, ``sqrt``, ``abs``; ``center``,
    ``scale``, ``standardize``, ``poly(age, 2)``, the splines ``bs``, ``cr``, ``cc``; and ``C(visit)``, the same as
    ``factor(visit)``, with ``levels=`` and the contrasts ``contr.treatment(base)``, ``contr.sum``, ``contr.helmert``,
    ``contr.poly``, ``contr.diff``, ``contr.SAS``. Random parts are lme4's: ``(1 | site)``, ``(drug | participant)``,
    ``(1 + drug || participant)``, ``(1 | clinic/ward)``.

    Parameters
    ----------
    formula : str
        Right-hand side of a Wilkinson formula.
    people : DataFrame
        One row per participant.
    varying : iterable of str
        Variables known to vary within participants; naming one gives an error that says so.
    aliases : mapping of str to str, optional
        Columns that groupings may call by other names, such as ``{"participant": "person"}``.

    Returns
    -------
    Design
        Participants with a missing covariate that the formula uses are left out.

    Raises
    ------
    FormulaError
        The formula cannot be read, names an unknown variable, or its columns are linearly dependent.
    CovariateError
        A covariate is infinite, of an unusable type, a factor with a single level, or called like a column of results.
    DataError
        Not more participants than coefficients.

    Warns
    -----
    ExclusionWarning
        Participants with a missing covariate are left out.

    Examples
    --------
    >>> people = pd.DataFrame({"participant": [1, 2, 3, 4, 5], "age": [20.0, 30, 40, 50, 35],
    ...                        "diagnosis": ["healthy", "bipolar", "healthy", "bipolar", "healthy"]})
    >>> build_design("~ diagnosis + age", people).names
    ('(Intercept)', 'diagnosishealthy', 'age')
    """
    terms = read_formula(formula)
    if not terms:
        raise FormulaError(f"the formula '{formula}' has no coefficients", allowed=EXAMPLE)
    people = _with_text_names(people)
    parts = read_random(formula)
    own = _columns_of(terms)
    variables = tuple(dict.fromkeys((*own, *(name for part in parts for name in _columns_of(part.terms)))))
    _check_known(variables, people, set(varying))
    groups = group_columns(parts, people.columns, aliases or {})
    labels = people["participant"]
    everything = tuple(dict.fromkeys((*variables, *(name for names in groups.values() for name in names))))
    used = people[list(everything)].reset_index(drop=True)
    rows = np.flatnonzero(~used.isna().any(axis=1).to_numpy())
    if len(rows) == 0:
        raise DataError("no participant has all the covariates of the formula", got=formula)
    kept = labels.iloc[rows].tolist()
    if len(rows) < len(people):
        _warn_missing(used, everything, labels)
    columns = {name: _prepare(used[name].iloc[rows], name, kept) for name in variables}
    prepared = pd.DataFrame(columns, index=rows).reset_index(drop=True)
    spec = _model(terms, prepared[own])
    matrix = spec.matrix(prepared).matrix
    check_matrix(matrix, spec.names, kept)
    used = used.iloc[rows].reset_index(drop=True)
    random = tuple(_random(part, prepared, used[names]) for part, names in groups.items())
    return Design(formula, spec.names, matrix, rows, prepared[own], spec, random)


def covariate_names(formula: str) -> list[str]:
    """Return the columns that a formula's fixed and random effects are made of, groupings apart.

    Examples
    --------
    >>> covariate_names("~ drug * log(anxiety) + (drug | participant)")
    ['drug', 'anxiety']
    """
    parts = read_random(formula)
    return _columns_of([*read_formula(formula), *(term for part in parts for term in part.terms)])


def _columns_of(terms: Sequence[Term]) -> list[str]:
    return list(dict.fromkeys(name for term in terms for factor in term for name in factor.columns))


def _random(part: RandomTerms, prepared: pd.DataFrame, groups: pd.DataFrame) -> RandomColumns:
    own = prepared[_columns_of(part.terms)]
    return random_columns(part, _model(part.terms, own), own, groups)


def rebuild_design(formula: str, frame: pd.DataFrame, matrix: np.ndarray, rows: np.ndarray) -> Design:
    """Return a design that was kept as its formula, its prepared covariates, its matrix and its rows.

    How columns are made (levels, centres) follows from the formula and the covariates, as it did the first time.

    Raises
    ------
    FormulaError, DataError
        The formula is none, or does not go with the covariates.

    Examples
    --------
    >>> design = build_design("~ scale(age)", pd.DataFrame({"participant": [1, 2, 3], "age": [20.0, 30, 50]}))
    >>> again = rebuild_design(design.formula, design.frame, design.matrix, design.rows)
    >>> again.names == design.names, bool((again.spec.matrix(design.frame).matrix == design.matrix).all())
    (True, True)
    """
    spec = _model(read_formula(formula), frame)
    return Design(formula, spec.names, matrix, rows, frame, spec)


def design_rank(matrix: np.ndarray) -> int:
    """Return the numerical rank of a design matrix of shape (n, p), whatever its columns' units."""
    length = np.linalg.norm(matrix, axis=0)
    return int(np.linalg.matrix_rank(matrix / np.where(length > 0, length, 1.0), tol=1e-9))


def name_some(labels: Sequence[object], limit: int = 5) -> str:
    """Name the first few participants and count the others.

    Examples
    --------
    >>> name_some(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    more = f" and {len(labels) - limit} more" if len(labels) > limit else ""
    plain = [label.item() if isinstance(label, np.generic) else label for label in labels[:limit]]
    return ", ".join(map(repr, plain)) + more


def too_few(n: int, p: int, kind: str = "", having: str = "") -> str:
    """Say that n participants are too few for p coefficients.

    Examples
    --------
    >>> too_few(1, 2, kind="usable ")
    '1 usable participant is too few for 2 coefficients'
    """
    who = "participant" if n == 1 else "participants"
    what = "coefficient" if p == 1 else "coefficients"
    return f"{n} {kind}{who}{having} {'is' if n == 1 else 'are'} too few for {p} {what}"


def _warn_missing(used: pd.DataFrame, variables: Sequence[str], labels: pd.Series[Any]) -> None:
    missing = used.isna()
    columns = [name for name in variables if missing[name].any()]
    lost = labels[missing.any(axis=1).to_numpy()]
    who = list(dict.fromkeys(lost))
    lacking = " or ".join(map(repr, columns))
    # a person's occasions are rows of their own
    on = "and are" if labels.is_unique else f"on {len(lost)} occasions, which are"
    warn_user(
        f"{len(who)} of {labels.nunique()} participants lack {lacking} {on} left out: {name_some(who)}.",
        ExclusionWarning,
    )


def _with_text_names(people: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its columns' names as text, which is what formulas can name."""
    names = [str(name) for name in people.columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise CovariateError(f"several columns are called {name_some(twice)}", do="give each column a name of its own")
    return people if names == list(people.columns) else people.set_axis(names, axis=1)


def _check_known(variables: Sequence[str], people: pd.DataFrame, varying: set[str]) -> None:
    for name in variables:
        if name in _RESERVED:
            raise CovariateError(
                f"a covariate cannot be called '{name}': results have a column of that name", do=f"rename '{name}'"
            )
        if name in people.columns:
            continue
        if name in varying:
            raise CovariateError(
                f"'{name}' varies within participants, so it cannot be a covariate of participants",
                do=f"aggregate '{name}' to one value per participant and pass that table as `data`, or, where it is "
                f"constant within blocks, fit with occasion=['{name}'] and add (1 | participant) to the formula",
            )
        available = [str(column) for column in people.columns if column != "participant"]
        raise FormulaError(
            f"the formula names the unknown variable '{name}'",
            allowed=", ".join(available) or "(no covariates were given)",
            do="correct the name, or pass the table that holds it as `data`",
        )


def _prepare(column: pd.Series[Any], name: str, labels: Sequence[object]) -> pd.Series[Any]:
    """Return a numeric (float or int) or a categorical column without unused levels."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.rename_categories(
            [str(level) for level in column.cat.categories]
        ).cat.remove_unused_categories()
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        words = np.where(column.to_numpy(dtype=bool), "TRUE", "FALSE")
        return pd.Series(pd.Categorical(words, ["FALSE", "TRUE"]), index=column.index).cat.remove_unused_categories()
    if kind in {"integer", "floating", "mixed-integer-float", "decimal"}:
        values = column.to_numpy(dtype="float64")
        if not np.isfinite(values).all():
            bad = [label for label, value in zip(labels, values, strict=True) if not np.isfinite(value)]
            raise CovariateError(f"covariate '{name}' is infinite for participants {name_some(bad)}")
        return pd.Series(values, index=column.index)
    if kind in {"string", "mixed", "mixed-integer"}:
        text = column.astype(str).to_numpy(dtype=object)
        return pd.Series(pd.Categorical(text, sorted(set(text))), index=column.index)
    raise CovariateError(
        f"covariate '{name}' has an unusable type",
        got=kind,
        allowed="numbers, text, booleans, categories",
        do=f"turn '{name}' into numbers, such as years for a date, or into text for categories",
    )


def _level_word(value: object) -> str:
    """Return a level as `_prepare` writes it: booleans in R's words, everything else as text."""
    return str(value).upper() if isinstance(value, bool | np.bool_) else str(value)


def _model(terms: tuple[Term, ...], prepared: pd.DataFrame) -> FormulaModel:
    spec, levels = model_of(terms, prepared)
    for factor, own in levels.items():
        if len(own) < 2:
            raise CovariateError(
                f"the factor '{factor}' has a single level",
                got=", ".join(repr(level_word(level)) for level in own),
                do=f"leave '{factor}' out of the formula, or add participants of another level",
            )
    twice = [name for name in dict.fromkeys(spec.names) if spec.names.count(name) > 1]
    if twice:
        raise FormulaError(
            f"several coefficients would be called {name_some(twice)}", do="rename a covariate or a level"
        )
    return spec


def check_matrix(matrix: np.ndarray, names: tuple[str, ...], labels: Sequence[object]) -> None:
    """Refuse a design matrix that is not finite, has dependent columns, or as many columns as participants.

    Parameters
    ----------
    matrix : ndarray of shape (n, p)
    names : tuple of str, length p
    labels : sequence of length n
        The participants, for messages.

    Raises
    ------
    FormulaError, CovariateError, DataError
    """
    n, p = matrix.shape
    for column, name in enumerate(names):
        bad = [label for label, value in zip(labels, matrix[:, column], strict=True) if not np.isfinite(value)]
        if bad:
            raise CovariateError(
                f"the formula's '{name}' is missing or infinite for participants {name_some(bad)}",
                do="check the transformation, for example the logarithm of zero",
            )
    if n <= p:
        raise DataError(
            f"{too_few(n, p)} ({', '.join(names[:8])}{', ...' if p > 8 else ''})",
            allowed=f"at least {p + 1} participants",
            do="use a simpler formula",
        )
    if design_rank(matrix) < p:
        kept = [0] if design_rank(matrix[:, :1]) else []
        for column in range(1, p):
            if design_rank(matrix[:, [*kept, column]]) > len(kept):
                kept.append(column)
        redundant = [names[column] for column in range(p) if column not in kept]
        raise FormulaError(
            f"the columns of the formula are linearly dependent: {', '.join(redundant)}",
            do="leave out covariates that are constant or follow from the others",
        )
