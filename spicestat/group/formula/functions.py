"""The functions that a formula may use, and their values: a closed list, computed here and never executed as code."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms import basis_spline, cyclic_cubic_spline, natural_cubic_spline, poly, scale
from formulaic.transforms.contrasts import (
    Contrasts,
    DiffContrasts,
    HelmertContrasts,
    PolyContrasts,
    SASContrasts,
    SumContrasts,
    TreatmentContrasts,
)

from spicestat.errors import CovariateError, FormulaError
from spicestat.group.formula.syntax import Call, Chain, Column, Group, Listing, Node, Number, Power, Sign, Text, written

__all__ = ["Categories", "Numbers", "categorised_column", "columns_of", "level_word", "values_of"]

States = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Numbers:
    """A numeric factor: matrix (n, k), and what follows its name in those of the k columns."""

    matrix: np.ndarray
    suffixes: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Categories:
    """A categorical factor: positions (n,) in its levels, and how these are coded where they are not all shown."""

    codes: np.ndarray
    levels: tuple[Any, ...]
    contrasts: Contrasts

    def coding(self, full: bool) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the columns (levels, k) of the coding, and what follows the factor's name in theirs."""
        levels = list(self.levels)
        if full:
            return np.eye(len(levels)), tuple(map(level_word, levels))
        matrix = np.asarray(self.contrasts.get_coding_matrix(levels, reduced_rank=True), dtype="float64")
        names = self.contrasts.get_coding_column_names(levels, reduced_rank=True)
        return matrix, tuple(map(level_word, names))


def columns_of(node: Node) -> tuple[str, ...]:
    """Return the columns that a factor reads, in order of appearance; nothing is computed.

    Raises
    ------
    FormulaError
        A function, an operator or an argument is not of the language.

    Examples
    --------
    >>> from spicestat.group.formula.syntax import parse_right_side
    >>> columns_of(parse_right_side("I(age / `body weight`)"))
    ('age', 'body weight')
    """
    found = tuple(dict.fromkeys(_checked(node, outermost=True)))
    if not found:
        raise FormulaError(f"'{written(node)}' names no covariate", do="leave it out of the formula")
    return found


def categorised_column(node: Node) -> str | None:
    """Return the column that ``C()`` or ``factor()`` makes a factor of, if the node is such a call."""
    if isinstance(node, Call) and node.function in _CATEGORISERS:
        first = _column(node.arguments[0])
        return None if first is None else first
    return None


def values_of(node: Node, frame: pd.DataFrame, states: States) -> Numbers | Categories:
    """Return the values of a factor.

    Parameters
    ----------
    node : Node
        One that `columns_of` lets pass.
    frame : DataFrame
        Its columns: numbers as float64, everything else as categories.
    states : dict
        What functions learnt from the data of the fit, such as centres, by the text of the call. What is absent is
        learnt here and added.

    Raises
    ------
    FormulaError
        The function cannot be applied to the column.
    CovariateError
        A value is not among the levels.

    Examples
    --------
    >>> from spicestat.group.formula.syntax import parse_right_side
    >>> frame = pd.DataFrame({"age": [20.0, 30.0, 40.0]})
    >>> values_of(parse_right_side("scale(log10(age * 10))"), frame, {}).matrix.ravel().round(2).tolist()
    [-1.05, 0.11, 0.94]
    """
    name = _column(node)
    if name is not None:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            return Categories(column.cat.codes.to_numpy(), tuple(column.cat.categories), TreatmentContrasts())
        return Numbers(column.to_numpy(dtype="float64")[:, None])
    if isinstance(node, Call) and node.function in _CATEGORISERS:
        return _categories(node, frame, states)
    if isinstance(node, Call) and node.function in _BASES:
        return _basis(node, frame, states)
    values = np.asarray(_computed(node, frame, states), dtype="float64")
    return Numbers(np.broadcast_to(values, (len(frame),))[:, None])


def level_word(level: object) -> str:
    """Return a level as it is written in names of coefficients; whole numbers without a decimal point."""
    return level if isinstance(level, str) else f"{level:.15g}" if isinstance(level, float) else str(level)


# what is allowed


def _checked(node: Node, outermost: bool = False) -> Iterator[str]:
    """Yield the columns of a node, or raise if a part of it is not of the language."""
    name = _column(node)
    if name is not None:
        yield name
    elif isinstance(node, Call):
        yield from _checked_call(node, outermost)
    elif isinstance(node, Group | Sign):
        yield from _checked(node.inner if isinstance(node, Group) else node.operand)
    elif isinstance(node, Power):
        yield from _checked(node.base)
        yield from _checked(node.exponent)
    elif isinstance(node, Chain):
        yield from _checked_chain(node)
    elif not isinstance(node, Number):
        raise FormulaError(
            f"'{written(node)}' is neither a covariate nor a number", do="write names of columns without quotes"
        )


def _checked_chain(node: Chain) -> Iterator[str]:
    compares = node.operators[0] in _COMPARISONS
    if not compares and not set(node.operators) <= set(_ARITHMETIC):
        raise FormulaError(
            f"'{node.operators[0]}' cannot stand in '{written(node)}'", allowed="+ - * / ^ and comparisons"
        )
    if compares and len(node.operators) > 1:
        raise FormulaError(f"'{written(node)}' compares more than two values")
    for operand in node.operands:
        if not (isinstance(operand, Text) and node.operators[0] in ("==", "!=")):
            yield from _checked(operand)


def _checked_call(node: Call, outermost: bool) -> Iterator[str]:
    known = (*_MATHS, *_CENTRES, *_BASES, *_CATEGORISERS, "I", "Q")
    name = node.function
    if name.removeprefix("np.") not in known or (name.startswith("np.") and name.removeprefix("np.") not in _MATHS):
        raise FormulaError(
            f"the formula names the unknown function '{name}'",
            allowed=", ".join(sorted(known)),
            do=_advice(name, known),
        )
    if not node.arguments:
        raise FormulaError(f"'{written(node)}' needs a covariate", do=f"write it as in {name}(age)")
    if name in (*_BASES, *_CATEGORISERS) and not outermost:
        raise FormulaError(
            f"'{written(node)}' cannot stand inside another function",
            do="make it a term of its own, or compute the column",
        )
    _arguments(node)
    yield from _checked(node.arguments[0])


def _advice(name: str, known: tuple[str, ...]) -> str:
    if name in _INSTEAD:
        return _INSTEAD[name]
    near = get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else "compute the column in the table first, and name it in the formula"


def _column(node: Node) -> str | None:
    """Return the name if a node is a column: bare, in backticks, or as in Q("name")."""
    if isinstance(node, Column):
        return node.name
    if isinstance(node, Call) and node.function == "Q" and not node.named and len(node.arguments) == 1:
        only = node.arguments[0]
        return only.value if isinstance(only, Text) else None
    return None


def _arguments(node: Call) -> dict[str, Any]:
    """Return the values of a call's arguments after the first."""
    takes = _takes(node.function)
    given = node.arguments[1:]
    if len(given) > len(takes):
        raise FormulaError(f"'{written(node)}' has too many arguments", allowed=", ".join(("a covariate", *takes)))
    pairs = [*zip(takes, given, strict=False), *node.named]
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in takes or name in found:
            raise FormulaError(
                f"'{written(node)}' has an argument that {node.function}() does not take, or twice",
                got=name,
                allowed=", ".join(takes) or "a covariate and nothing else",
            )
        found[name] = takes[name](value, node)
    return found


def _takes(function: str) -> Mapping[str, Callable[[Node, Call], Any]]:
    for table in (_CENTRES, _BASES, _CATEGORISERS):
        if function in table:
            return table[function]
    return {}


def _refused(value: Node, node: Call, allowed: str) -> FormulaError:
    return FormulaError(f"'{written(value)}' cannot be an argument in '{written(node)}'", allowed=allowed)


def _truth(value: Node, node: Call) -> bool:
    words = {"TRUE": True, "True": True, "T": True, "FALSE": False, "False": False, "F": False}
    if isinstance(value, Column) and not value.quoted and value.name in words:
        return words[value.name]
    raise _refused(value, node, "TRUE or FALSE")


def _number(value: Node, node: Call) -> float:
    if isinstance(value, Sign):
        return float(f"{value.operator}1") * _number(value.operand, node)
    if isinstance(value, Number) and np.isfinite(value.value):
        return value.value
    raise _refused(value, node, "a number")


def _truth_or_number(value: Node, node: Call) -> bool | float:
    return _number(value, node) if isinstance(value, Number | Sign) else _truth(value, node)


def _count(value: Node, node: Call) -> int:
    if isinstance(value, Number) and value.value in range(1, 51):
        return int(value.value)
    raise _refused(value, node, "a whole number from 1 to 50")


def _several(value: Node, node: Call) -> list[float]:
    return [_number(item, node) for item in (value.items if isinstance(value, Listing) else (value,))]


def _levels(value: Node, node: Call) -> list[str | float]:
    items = value.items if isinstance(value, Listing) else (value,)
    found = [item.value if isinstance(item, Text) else _number(item, node) for item in items]
    if len(set(found)) < len(found) or not found:
        raise _refused(value, node, "different levels, such as c('low', 'high')")
    return found


def _extrapolation(value: Node, node: Call) -> str:
    if isinstance(value, Text) and value.value in ("raise", "clip", "extend"):
        return value.value
    raise _refused(value, node, "'raise', 'clip', 'extend'")


def _constraints(value: Node, node: Call) -> str:
    if value == Text("center"):
        return "center"
    raise _refused(value, node, "'center'")


def _contrasts(value: Node, node: Call) -> Contrasts:
    name = value.function if isinstance(value, Call) else value.name if isinstance(value, Column) else None
    name = value.value if isinstance(value, Text) else name
    if name not in _CODINGS:
        raise _refused(value, node, ", ".join(_CODINGS))
    kind = _CODINGS[name]
    arguments = (*value.arguments, *(item for _, item in value.named)) if isinstance(value, Call) else ()
    keywords = {keyword for keyword, _ in value.named} if isinstance(value, Call) else set()
    if not arguments:
        return kind()
    if len(arguments) > 1 or not issubclass(kind, TreatmentContrasts) or not keywords <= {"base", "reference"}:
        raise _refused(value, node, f"{name} without arguments, or contr.treatment(base = 'level')")
    base = arguments[0].value if isinstance(arguments[0], Text) else _number(arguments[0], node)
    return kind(base)


# values


def _computed(node: Node, frame: pd.DataFrame, states: States) -> Any:
    """Return a number, or the numbers (n,), of an arithmetic expression; an overflow is infinite, never long."""
    name = _column(node)
    if name is not None:
        return _numeric(frame[name], name)
    if isinstance(node, Number):
        return np.float64(node.value)
    if isinstance(node, Group):
        return _computed(node.inner, frame, states)
    if isinstance(node, Sign):
        value = _computed(node.operand, frame, states)
        return -value if node.operator == "-" else value
    if isinstance(node, Power):
        return _computed(node.base, frame, states) ** _computed(node.exponent, frame, states)
    if isinstance(node, Chain):
        return _chained(node, frame, states)
    if not isinstance(node, Call):
        raise FormulaError(f"'{written(node)}' has no value")
    value = _computed(node.arguments[0], frame, states)
    if node.function == "I":
        return value
    if node.function in _CENTRES:
        return _centred(node, np.broadcast_to(value, (len(frame),)), states)
    return _MATHS[node.function.removeprefix("np.")](value)


def _numeric(column: pd.Series[Any], name: str) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        raise FormulaError(
            f"'{name}' has categories, with which nothing can be computed",
            do=f"write {name} by itself, compare it as in I({name} == 'level'), or turn it into numbers in the table",
        )
    return column.to_numpy(dtype="float64")


def _chained(node: Chain, frame: pd.DataFrame, states: States) -> Any:
    first, *others = node.operands
    if node.operators[0] in _COMPARISONS:
        return _compared(node.operators[0], first, others[0], frame, states)
    found = _computed(first, frame, states)
    for sign, operand in zip(node.operators, others, strict=True):
        found = _ARITHMETIC[sign](found, _computed(operand, frame, states))
    return found


def _compared(sign: str, left: Node, right: Node, frame: pd.DataFrame, states: States) -> Any:
    if isinstance(left, Text):
        left, right = right, left
    name = _column(left)
    if isinstance(right, Text):
        if name is None or not isinstance(frame[name].dtype, pd.CategoricalDtype):
            raise FormulaError(f"'{written(left)}' is not text and cannot be compared with {written(right)}")
        if right.value not in frame[name].cat.categories:
            raise FormulaError(
                f"'{name}' has no level {written(right)}", allowed=", ".join(map(repr, frame[name].cat.categories))
            )
        return _COMPARISONS[sign](frame[name].astype(str).to_numpy(), right.value).astype("float64")
    found = _COMPARISONS[sign](_computed(left, frame, states), _computed(right, frame, states))
    return np.asarray(found, dtype="float64")


def _centred(node: Call, values: np.ndarray, states: States) -> np.ndarray:
    given = _arguments(node)
    if node.function == "center":
        given = {"scale": False}
    elif node.function == "standardize":
        given = {"center": given.get("center", True), "scale": given.get("rescale", True), "ddof": given.get("ddof", 0)}
    state = states.setdefault(written(node), {})
    return np.asarray(scale(values, **given, _state=state), dtype="float64")


def _basis(node: Call, frame: pd.DataFrame, states: States) -> Numbers:
    values = np.broadcast_to(_computed(node.arguments[0], frame, states), (len(frame),))
    state = states.setdefault(written(node), {})
    given = _arguments(node)
    if node.function == "poly" and len(np.unique(values)) <= given.get("degree", 1) and not state:
        raise FormulaError(f"'{written(node)}' needs more different values than its degree")
    try:
        found = _BASIS[node.function](values, **given, _state=state)
    except ValueError as error:
        raise FormulaError(f"'{written(node)}' cannot be computed: {' '.join(str(error).split())}") from error
    columns = dict(found) if isinstance(found, dict) else None
    if columns is not None:
        names = [name for name in columns if not str(name).startswith("__")]
        return Numbers(np.column_stack([columns[name] for name in names]), tuple(map(str, names)))
    matrix = np.asarray(found, dtype="float64")
    return Numbers(matrix, tuple(str(place + 1) for place in range(matrix.shape[1])))


def _categories(node: Call, frame: pd.DataFrame, states: States) -> Categories:
    given, name = _arguments(node), _column(node.arguments[0])
    known = states.setdefault(written(node), {})
    if name is not None and isinstance(frame[name].dtype, pd.CategoricalDtype):
        values = frame[name].astype(object).to_numpy()
        natural = list(frame[name].cat.categories)
    else:
        values = np.broadcast_to(_computed(node.arguments[0], frame, states), (len(frame),))
        natural = sorted(set(values.tolist()))
    if "levels" not in known:
        wanted = given.get("levels", natural)
        known["levels"] = [_find_level(level, natural, node) for level in wanted]
    levels = known["levels"]
    places = {level: place for place, level in enumerate(levels)}
    codes = np.array([places.get(value, -1) for value in values.tolist()])
    if (codes < 0).any():
        outside = dict.fromkeys(level_word(value) for value in values[codes < 0].tolist())
        raise CovariateError(
            f"'{written(node)}' has values that are not among its levels",
            got=", ".join(map(repr, list(outside)[:5])),
            allowed=", ".join(repr(level_word(level)) for level in levels),
        )
    contrasts = given.get("contrasts", TreatmentContrasts())
    if isinstance(contrasts, TreatmentContrasts) and contrasts != type(contrasts)():
        contrasts = type(contrasts)(_find_level(contrasts.base, levels, node))
    return Categories(codes, tuple(levels), contrasts)


def _find_level(level: object, levels: list[Any], node: Call) -> Any:
    for known in levels:
        if known == level or level_word(known) == level_word(level):
            return known
    allowed = ", ".join(repr(level_word(known)) for known in levels)
    raise FormulaError(f"'{written(node)}' names a level that is not in the data", got=repr(level), allowed=allowed)


_MATHS: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "exp": np.exp,
    "exp10": lambda x: np.power(10.0, x),
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sqrt": np.sqrt,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": np.divide,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_CENTRES: dict[str, dict[str, Callable[[Node, Call], Any]]] = {
    "scale": {"center": _truth_or_number, "scale": _truth_or_number, "ddof": _number},
    "center": {},
    "standardize": {"center": _truth_or_number, "rescale": _truth_or_number, "ddof": _number},
}
_SPLINE: dict[str, Callable[[Node, Call], Any]] = {
    "lower_bound": _number,
    "upper_bound": _number,
    "extrapolation": _extrapolation,
}
_CUBIC = {"df": _count, "knots": _several, "constraints": _constraints, **_SPLINE}
_BASES: dict[str, dict[str, Callable[[Node, Call], Any]]] = {
    "poly": {"degree": _count, "raw": _truth},
    "bs": {"df": _count, "knots": _several, "degree": _count, **_SPLINE},
    "cc": _CUBIC,
    "cr": _CUBIC,
    "cs": _CUBIC,
}
_BASIS = {
    "poly": poly,
    "bs": basis_spline,
    "cc": cyclic_cubic_spline,
    "cr": natural_cubic_spline,
    "cs": natural_cubic_spline,
}
_CATEGORISERS: dict[str, dict[str, Callable[[Node, Call], Any]]] = {
    "C": {"contrasts": _contrasts, "levels": _levels},
    "factor": {"levels": _levels, "contrasts": _contrasts},
}
_CODINGS: dict[str, type[Contrasts]] = {
    "contr.treatment": TreatmentContrasts,
    "contr.SAS": SASContrasts,
    "contr.sum": SumContrasts,
    "contr.helmert": HelmertContrasts,
    "contr.poly": PolyContrasts,
    "contr.diff": DiffContrasts,
    "Treatment": TreatmentContrasts,
    "Sum": SumContrasts,
    "Helmert": HelmertContrasts,
    "Poly": PolyContrasts,
    "Diff": DiffContrasts,
}
_INSTEAD = {
    "mean": "write center(age) for a covariate less its mean",
    "np.mean": "write center(age) for a covariate less its mean",
    "sd": "write scale(age) for a covariate in standard deviations",
    "std": "write scale(age) for a covariate in standard deviations",
    "np.std": "write scale(age) for a covariate in standard deviations",
    "relevel": "write C(diagnosis, contr.treatment('level')) to choose the reference",
    "as.factor": "write factor(visit)",
    "ns": "write cr(age, df = 3, constraints = 'center') for a natural cubic spline",
}
