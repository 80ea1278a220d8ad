"""Arithmetic expressions over equation terms, with exact derivatives; parsed, never executed as code."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from spicestat.errors import ConfigError, ShapeError

__all__ = ["Expression", "parse_expression", "term_name"]

_SYNTAX = (
    'numbers, terms written module["term"] such as x_value_choice["c_action"] or beta["x_value_reward"], '
    "+ - * / **, parentheses, exp, log, sqrt, abs"
)
_LIMIT = 2000
_DEEPEST = 200
_LARGEST = 10**300


class _Dual(NamedTuple):
    """A value (n,) and its gradient (n, k) with respect to the terms."""

    value: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True)
class Expression:
    """A parsed expression over terms.

    Attributes
    ----------
    text : str
        As given.
    terms : tuple of (module, term), length k
        The terms it names, in order of appearance.
    """

    text: str
    terms: tuple[tuple[str, str], ...]
    _tree: ast.expr = field(repr=False, compare=False)

    def evaluate(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expression and its gradient at n points.

        Where it is not defined (a division by 0, the logarithm of a negative number) both are NaN.

        Parameters
        ----------
        values : ndarray of shape (n, k)
            The terms' values, in the order of ``terms``.

        Returns
        -------
        value : ndarray of shape (n,)
        gradient : ndarray of shape (n, k)
            Exact derivatives, by forward differentiation of each operation.
        """
        points = np.asarray(values, dtype="float64")
        if points.ndim != 2 or points.shape[1] != len(self.terms):
            raise ShapeError("the values do not match the expression", got=points.shape, allowed=(len(self.terms),))
        # an undefined point is NaN below, not an error: it may be one participant of many
        with np.errstate(all="ignore"):
            result = _evaluate(self._tree, points, self.terms)
        undefined = ~(np.isfinite(result.value) & np.isfinite(result.gradient).all(axis=1))
        return np.where(undefined, np.nan, result.value), np.where(undefined[:, None], np.nan, result.gradient)


def parse_expression(text: str) -> Expression:
    r"""Read an expression over equation terms.

    A term is written ``module["term"]``: ``x_value_reward_not_chosen["1"]`` is the constant of that module's
    equation, ``x_learning_rate_reward["c_reward c_value_reward"]`` a product term, ``beta["x_value_reward"]`` an
    inverse temperature. A module whose name is not an identifier is written ``term("my module", "1")``.
    Beside terms there are numbers, ``+ - * / **``, parentheses, ``exp``, ``log`` (natural), ``sqrt`` and
    ``abs``. Nothing else is accepted, and the text is never run as Python.

    Parameters
    ----------
    text : str

    Raises
    ------
    ConfigError
        The text cannot be read, or has anything else in it.

    Examples
    --------
    >>> forgetting = parse_expression('1 - x_value["x_value"]')
    >>> forgetting.terms
    (('x_value', 'x_value'),)
    >>> value, gradient = forgetting.evaluate(np.array([[0.75]]))
    >>> value.tolist(), gradient.tolist()
    ([0.25], [[-1.0]])
    """
    if not isinstance(text, str) or not text.strip() or len(text) > _LIMIT:
        raise ConfigError("an expression must be text", got=repr(text)[:60], allowed=_SYNTAX)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        found: dict[tuple[str, str], None] = {}
        _check(tree, found, text)
        if _depth(tree) > _DEEPEST:
            raise ValueError("too deep")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"the expression '{text[:80]}' cannot be read", allowed=_SYNTAX) from error
    if not found:
        raise ConfigError(f"the expression '{text[:80]}' names no term", allowed=_SYNTAX)
    return Expression(text, tuple(found), tree)


def term_name(module: str, term: str) -> str:
    """Return how an expression names a term.

    Examples
    --------
    >>> term_name("x_value", "1"), term_name("my module", "1")
    ('x_value["1"]', 'term("my module", "1")')
    """
    return f'{module}["{term}"]' if module.isidentifier() else f'term("{module}", "{term}")'


def _check(node: ast.expr, found: dict[tuple[str, str], None], text: str) -> None:
    """Collect the terms, or raise if a node is anything but arithmetic."""
    pair = _term(node)
    if pair is not None:
        found[pair] = None
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _check(node.left, found, text)
        _check(node.right, found, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        _check(node.operand, found, text)
    elif _function(node) is not None:
        _check(node.args[0], found, text)  # type: ignore[attr-defined]
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float) and abs(node.value) < _LARGEST):  # type: ignore[arg-type]
        raise ConfigError(
            f"'{ast.unparse(node)}' is not allowed in the expression '{text}'",
            allowed=_SYNTAX,
            do='write a term as module["term"]' if isinstance(node, ast.Name) else None,
        )


def _depth(node: ast.AST) -> int:
    return 1 + max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)


def _term(node: ast.expr) -> tuple[str, str] | None:
    """Return (module, term) if a node is ``module["term"]`` or ``term("module", "term")``."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
        # module[1] is the constant's term "1" for people who forget the quotes
        return node.value.id, str(node.slice.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "term":
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        if len(words) == len(node.args) == 2 and not node.keywords:
            return str(words[0]), str(words[1])
    return None


def _function(node: ast.expr) -> Callable[[_Dual], _Dual] | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        return _FUNCTIONS.get(node.func.id)
    return None


def _evaluate(node: ast.expr, points: np.ndarray, terms: tuple[tuple[str, str], ...]) -> _Dual:
    pair = _term(node)
    if pair is not None:
        gradient = np.zeros_like(points)
        gradient[:, terms.index(pair)] = 1.0
        return _Dual(points[:, terms.index(pair)], gradient)
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, points, terms), _evaluate(node.right, points, terms)
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        operand = _evaluate(node.operand, points, terms)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return _Dual(sign * operand.value, sign * operand.gradient)
    apply = _function(node)
    if apply is not None:
        return apply(_evaluate(node.args[0], points, terms))  # type: ignore[attr-defined]
    number = float(node.value)  # type: ignore[attr-defined]
    return _Dual(np.full(len(points), number), np.zeros_like(points))


def _add(a: _Dual, b: _Dual) -> _Dual:
    return _Dual(a.value + b.value, a.gradient + b.gradient)


def _subtract(a: _Dual, b: _Dual) -> _Dual:
    return _Dual(a.value - b.value, a.gradient - b.gradient)


def _multiply(a: _Dual, b: _Dual) -> _Dual:
    return _Dual(a.value * b.value, a.value[:, None] * b.gradient + b.value[:, None] * a.gradient)


def _divide(a: _Dual, b: _Dual) -> _Dual:
    value = a.value / b.value
    return _Dual(value, (a.gradient - value[:, None] * b.gradient) / b.value[:, None])


def _power(a: _Dual, b: _Dual) -> _Dual:
    value = a.value**b.value
    # 0 ** 0 and 0 ** 1 have derivatives although 0 ** -1 and log(0) do not
    slope = np.where(b.value == 0.0, 0.0, b.value * a.value ** np.where(b.value == 0.0, 1.0, b.value - 1.0))
    by_base = np.where(a.gradient == 0.0, 0.0, slope[:, None] * a.gradient)
    by_exponent = np.where(b.gradient == 0.0, 0.0, (value * np.log(a.value))[:, None] * b.gradient)
    return _Dual(value, by_base + by_exponent)


def _exp(a: _Dual) -> _Dual:
    value = np.exp(a.value)
    return _Dual(value, value[:, None] * a.gradient)


def _log(a: _Dual) -> _Dual:
    return _Dual(np.log(a.value), a.gradient / a.value[:, None])


def _sqrt(a: _Dual) -> _Dual:
    value = np.sqrt(a.value)
    return _Dual(value, a.gradient / (2.0 * value[:, None]))


def _abs(a: _Dual) -> _Dual:
    # at 0 the absolute value has no derivative, and so no delta-method error
    slope = np.where(a.value == 0.0, np.nan, np.sign(a.value))
    return _Dual(np.abs(a.value), slope[:, None] * a.gradient)


_BINARY: dict[type[ast.operator], Callable[[_Dual, _Dual], _Dual]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[[_Dual], _Dual]] = {"exp": _exp, "log": _log, "sqrt": _sqrt, "abs": _abs}
