"""The terms of a formula: main effects and interactions, each a product of factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeGuard

from spicestat.errors import FormulaError
from spicestat.group.formula.functions import columns_of
from spicestat.group.formula.syntax import (
    EXAMPLE,
    Call,
    Chain,
    Column,
    Group,
    Node,
    Number,
    Power,
    Sign,
    parse_right_side,
    written,
)

__all__ = ["INTERCEPT", "Factor", "RandomTerms", "Term", "read_formula", "read_random", "term_text"]

_BARS = ("|", "||")
_RANDOM = "random parts such as '(1 | site)', '(1 + drug | participant)' or '(1 + drug || participant)'"
_MOST_TERMS = 5000
_HIGHEST_DEGREE = 8


@dataclass(frozen=True)
class Factor:
    """A column, or a function of columns, that terms are products of.

    Attributes
    ----------
    text : str
        The factor as R writes it; two factors are the same if their texts are.
    node : Node
        Its tree.
    columns : tuple of str
        The columns that it reads, in order of appearance.
    """

    text: str
    node: Node = field(compare=False, repr=False)
    columns: tuple[str, ...] = field(compare=False)

    @property
    def short(self) -> str:
        """The text, but a column's name without backticks."""
        return self.node.name if isinstance(self.node, Column) else self.text


Term = tuple[Factor, ...]
INTERCEPT: Term = ()


@dataclass(frozen=True)
class RandomTerms:
    """What each level of a grouping has for itself, as in ``(1 + drug | participant)``.

    Attributes
    ----------
    text : str
        The part as R writes it.
    terms : tuple of Term
        Those on the left of the bar.
    groups : tuple of str
        Columns whose combinations are the levels.
    correlated : bool
        Whether effects may be correlated: with ``|``, not with ``||``.
    """

    text: str
    terms: tuple[Term, ...]
    groups: tuple[str, ...]
    correlated: bool


_Terms = dict[frozenset[Factor], Term]


def read_formula(formula: str) -> tuple[Term, ...]:
    """Return the terms of a one-sided formula, those of fewer factors first, as in R.

    ``a + b``, ``a:b``, ``a * b``, ``a / b``, ``(a + b)^2``, ``- a``, ``+ 0`` and ``- 1`` mean what they mean in R.
    Random parts, ``(1 | site)``, are left to `read_random`.

    Raises
    ------
    FormulaError
        The formula holds anything that is not of the language, or has more terms than anybody could read.

    Examples
    --------
    >>> [term_text(term) for term in read_formula("~ age * diagnosis - 1 + I(age^2)")]
    ['age', 'diagnosis', 'I(age^2)', 'age:diagnosis']
    """
    terms: _Terms = {frozenset(): INTERCEPT}
    for node in _add_sum(parse_right_side(formula), terms):
        _check_bar(node)
    return tuple(sorted(terms.values(), key=len))


def read_random(formula: str) -> tuple[RandomTerms, ...]:
    """Return the random parts of a formula, as lme4 reads them.

    ``(1 | a/b)`` is ``(1 | a) + (1 | a:b)``. With ``||`` every column of a part has a variance of its own, also those
    of a factor, whose levels are compared with the first.

    Raises
    ------
    FormulaError
        A part cannot be read.

    Examples
    --------
    >>> [(part.text, part.groups) for part in read_random("~ drug * anxiety + (drug | id) + (1 | clinic/ward)")]
    [('(drug | id)', ('id',)), ('(1 | clinic/ward)', ('clinic',)), ('(1 | clinic/ward)', ('clinic', 'ward'))]
    """
    found = []
    for node in _add_sum(parse_right_side(formula), {}):
        _check_bar(node)
        left: _Terms = {frozenset(): INTERCEPT}
        if _add_sum(node.operands[0], left) or not left:
            raise FormulaError(f"'({written(node)})' has no effects left of the bar", allowed=_RANDOM)
        terms = tuple(sorted(left.values(), key=len))
        for group in _expanded(node.operands[1]).values():
            if not all(isinstance(factor.node, Column) for factor in group):
                raise FormulaError(f"'({written(node)})' groups by something other than columns", allowed=_RANDOM)
            names = tuple(name for factor in group for name in factor.columns)
            found.append(RandomTerms(f"({written(node)})", terms, names, node.operators[0] == "|"))
    return tuple(found)


def term_text(term: Term, short: bool = True) -> str:
    """Return a term's name.

    Examples
    --------
    >>> [term_text(term, short=False) for term in read_formula("~ `BDI total`:age")]
    ['(Intercept)', '`BDI total`:age']
    """
    return ":".join(factor.short if short else factor.text for factor in term) if term else "(Intercept)"


def _add_sum(node: Node, terms: _Terms) -> list[Chain]:
    """Add the terms of the outermost sum, in which alone 0 and 1 stand for the intercept; return its random parts."""
    bars: list[Chain] = []
    for sign, operand in _summands(node):
        if isinstance(operand, Group) and sign == "+":
            inner = operand.inner
            bars += [inner] if _is_bar(inner) else _add_sum(inner, terms)
        elif isinstance(operand, Number) and operand.value in (0.0, 1.0):
            if (operand.value == 1.0) == (sign == "+"):
                terms[frozenset()] = INTERCEPT
            else:
                terms.pop(frozenset(), None)
        elif sign == "+":
            terms.update({key: term for key, term in _expanded(operand).items() if key not in terms})
        else:
            for key in _expanded(operand):
                terms.pop(key, None)
        _check_number(terms)
    return bars


def _is_bar(node: Node) -> TypeGuard[Chain]:
    return isinstance(node, Chain) and node.operators[0] in _BARS


def _check_bar(node: Chain) -> None:
    if len(node.operators) > 1:
        raise FormulaError(f"'({written(node)})' has several bars", allowed=_RANDOM)


def _summands(node: Node) -> list[tuple[str, Node]]:
    if isinstance(node, Chain) and node.operators[0] in "+-":
        pairs = list(zip(("+", *node.operators), node.operands, strict=True))
    else:
        pairs = [("+", node)]
    return [_signed(sign, operand) for sign, operand in pairs]


def _signed(sign: str, node: Node) -> tuple[str, Node]:
    while isinstance(node, Sign):
        sign = "+" if sign == node.operator else "-"
        node = node.operand
    return sign, node


def _expanded(node: Node) -> _Terms:
    if isinstance(node, Column | Call):
        factor = Factor(written(node), node, columns_of(node))
        return {frozenset([factor]): (factor,)}
    if isinstance(node, Group):
        return _expanded(node.inner)
    if isinstance(node, Power):
        return _raised(node)
    if isinstance(node, Chain) and node.operators[0] in "+-":
        return _inner_sum(node)
    if isinstance(node, Chain) and node.operators[0] in _COMBINATIONS:
        found = _expanded(node.operands[0])
        for operator, operand in zip(node.operators, node.operands[1:], strict=True):
            found = _COMBINATIONS[operator](found, _expanded(operand))
            _check_number(found)
        return found
    raise FormulaError(f"'{written(node)}' is not a term of a formula", allowed=EXAMPLE, do=_remedy(node))


def _remedy(node: Node) -> str:
    if isinstance(node, Chain) and node.operators[0] == "%in%":
        inner, outer = written(node.operands[0]), written(node.operands[1])
        return f"write {outer}/{inner} for effects of {inner} within {outer}, or {outer}:{inner}"
    if _is_bar(node):
        return f"a bar makes {_RANDOM}, each a summand in parentheses"
    if isinstance(node, Number):
        return "write 0 or 1 as a summand of its own, and arithmetic in I(), as in I(2 * age)"
    return f"write arithmetic in I(), as in I({written(node)})"


def _inner_sum(node: Chain) -> _Terms:
    found: _Terms = {}
    for sign, operand in _summands(node):
        for key, term in _expanded(operand).items():
            if sign == "+":
                found.setdefault(key, term)
            else:
                found.pop(key, None)
    return found


def _raised(node: Power) -> _Terms:
    exponent = node.exponent
    if not isinstance(exponent, Number) or exponent.value not in range(1, _HIGHEST_DEGREE + 1):
        raise FormulaError(
            f"'{written(node)}' is not a term of a formula",
            allowed=f"a power from 1 to {_HIGHEST_DEGREE}, which adds all interactions up to that degree",
            do=f"write arithmetic in I(), as in I({written(node)})",
        )
    base = _expanded(node.base)
    found = base
    for _ in range(int(exponent.value) - 1):
        found = _products(found, base)
        _check_number(found)
    return found


def _products(left: _Terms, right: _Terms) -> _Terms:
    found: _Terms = {}
    for one in left.values():
        for other in right.values():
            term = tuple(dict.fromkeys((*one, *other)))
            found.setdefault(frozenset(term), term)
        _check_number(found)
    return found


def _crossed(left: _Terms, right: _Terms) -> _Terms:
    return _joined(left, right, _products(left, right))


def _nested(left: _Terms, right: _Terms) -> _Terms:
    whole = tuple(dict.fromkeys(factor for term in left.values() for factor in term))
    return _joined(left, _products({frozenset(whole): whole}, right))


def _joined(*parts: _Terms) -> _Terms:
    found: _Terms = {}
    for part in parts:
        for key, term in part.items():
            found.setdefault(key, term)
    return found


def _check_number(terms: _Terms) -> None:
    highest = max(map(len, terms), default=0)
    if len(terms) > _MOST_TERMS or highest > _HIGHEST_DEGREE:
        raise FormulaError(
            "the formula has too many interactions",
            got=f"{len(terms)} terms of up to {highest} factors",
            allowed=f"at most {_MOST_TERMS} terms of at most {_HIGHEST_DEGREE} factors",
        )


_COMBINATIONS: dict[str, Callable[[_Terms, _Terms], _Terms]] = {":": _products, "*": _crossed, "/": _nested}
