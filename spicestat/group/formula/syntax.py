"""The language of formulas: text becomes a tree of operations, columns and numbers, and never code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from spicestat.errors import FormulaError

__all__ = [
    "EXAMPLE",
    "Call",
    "Chain",
    "Column",
    "Group",
    "Listing",
    "Node",
    "Number",
    "Power",
    "Sign",
    "Text",
    "parse_right_side",
    "written",
]

EXAMPLE = "a one-sided formula such as '~ diagnosis + age', '~ diagnosis * age' or '~ 1'"
_LONGEST = 100_000
_DEEPEST = 40
# operators that share a line are of one rank; those further down bind more tightly, as in R
_RANKS = (("|", "||"), ("<", "<=", ">", ">=", "==", "!="), ("+", "-"), ("*", "/"), ("%in%",), (":",))
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?L?)
    | (?P<name>(?:[^\W\d]|\.(?!\d))[\w.]*)
    | (?P<column>`(?:[^`\\]|\\.)*`)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator>\*\*|\|\||%in%|<=|>=|==|!=|[-+*/^:<>=()\[\],|])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_PLAIN_NAME = re.compile(r"(?:[^\W\d_]|\.(?!\d))[\w.]*")
_REMEDIES = {
    "~": "write '~' once, at the beginning",
    "{": "write I(...) for arithmetic",
    "`": "put a column's name between two backticks, with \\` for a backtick in it",
    "'": "close the quotation mark",
    '"': "close the quotation mark",
}


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Text:
    """Text in quotation marks, such as a level."""

    value: str


@dataclass(frozen=True)
class Column:
    """The name of a column; ``quoted`` if in backticks."""

    name: str
    quoted: bool = False


@dataclass(frozen=True)
class Listing:
    """Several values, ``[1, 2]`` or ``c(1, 2)``."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """A function of the language; which ones there are is no matter of syntax."""

    function: str
    arguments: tuple[Node, ...]
    named: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True)
class Chain:
    """Operands joined by operators of one rank, from left to right."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Power:
    """A power; on the right-hand side of a formula all interactions up to a degree."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Sign:
    """A plus or minus before an operand."""

    operator: str
    operand: Node


@dataclass(frozen=True)
class Group:
    """What stands in parentheses."""

    inner: Node


Node = Number | Text | Column | Listing | Call | Chain | Power | Sign | Group


def parse_right_side(formula: str) -> Node:
    """Parse a one-sided formula, with or without its ``~``.

    Raises
    ------
    FormulaError
        The formula is not text, has a left-hand side, or holds anything that is not of the language.

    Examples
    --------
    >>> parse_right_side("~ age + `BDI total`")
    Chain(operators=('+',), operands=(Column(name='age', quoted=False), Column(name='BDI total', quoted=True)))
    """
    if not isinstance(formula, str):
        raise FormulaError("the formula must be text", got=type(formula).__name__, allowed=EXAMPLE)
    if len(formula) > _LONGEST:
        raise FormulaError("the formula is too long", got=f"{len(formula)} characters", allowed=f"at most {_LONGEST}")
    text = formula.strip()
    return _Parser(formula, list(_tokens(formula, text[1:] if text.startswith("~") else text))).whole()


def written(node: Node) -> str:
    """Write a node as R would, with backticks around names that need them.

    Examples
    --------
    >>> written(parse_right_side("I(age**2/10)+log( `BDI total` )"))
    'I(age^2/10) + log(`BDI total`)'
    """
    return _WRITERS[type(node)](node)


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(formula: str, text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise _unreadable(formula, text[place : place + 20].split("\n")[0], _REMEDIES.get(text[place]))
        if found.lastgroup != "space":
            yield _Token(str(found.lastgroup), found.group())
        place = found.end()


def _unreadable(formula: str, piece: str, do: str | None = None) -> FormulaError:
    shown = formula if len(formula) <= 200 else formula[:200] + "..."
    if "~" in piece[:1]:
        return FormulaError(
            f"the formula '{shown}' has a left-hand side",
            allowed=EXAMPLE,
            do="write nothing before '~'; the outcome is each coefficient of the equations in turn",
        )
    where = f"at '{piece}'" if piece else "to its end: something is missing"
    return FormulaError(f"the formula '{shown}' cannot be read {where}", allowed=EXAMPLE, do=do)


class _Parser:
    """Reads the tokens of one formula from left to right."""

    def __init__(self, formula: str, tokens: list[_Token]) -> None:
        self.formula, self.tokens = formula, tokens
        self.place, self.depth = 0, 0

    def whole(self) -> Node:
        if not self.tokens:
            raise _unreadable(self.formula, "")
        found = self.ranked(0)
        if self.place < len(self.tokens):
            raise self.error()
        return found

    def ranked(self, rank: int) -> Node:
        if rank == len(_RANKS):
            return self.signed()
        operands, operators = [self.ranked(rank + 1)], []
        while self.next_is(*_RANKS[rank]):
            operators.append(self.take().text)
            operands.append(self.ranked(rank + 1))
        return Chain(tuple(operators), tuple(operands)) if operators else operands[0]

    def signed(self) -> Node:
        if self.next_is("+", "-"):
            sign = self.take().text
            return Sign(sign, self.deeper(self.signed))
        base = self.single()
        if self.next_is("^", "**"):
            self.take()
            return Power(base, self.deeper(self.signed))
        return base

    def single(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Number(float(token.text.rstrip("L")))
        if token.kind == "text":
            return Text(_unescaped(token.text))
        if token.kind == "column":
            return Column(_unescaped(token.text), quoted=True)
        if token.kind == "name":
            return self.named(token.text)
        if token.text == "(":
            inner = self.deeper(lambda: self.ranked(0))
            self.expect(")")
            return Group(inner)
        if token.text == "[":
            return Listing(tuple(self.listed("]")))
        self.place -= 1
        raise self.error()

    def named(self, name: str) -> Node:
        if name == ".":
            raise FormulaError("'.' is not known in formulas", allowed=EXAMPLE, do="name the covariates")
        if not self.next_is("("):
            return Column(name)
        self.take()
        arguments: list[Node] = []
        named: list[tuple[str, Node]] = []
        while not self.next_is(")"):
            keyword = self.keyword()
            value = self.deeper(lambda: self.ranked(0))
            if keyword is None and named:
                raise self.error()
            arguments += [value] if keyword is None else []
            named += [] if keyword is None else [(keyword, value)]
            if not self.next_is(")"):
                self.expect(",")
        self.take()
        if name == "c" and not named:
            return Listing(tuple(arguments))
        return Call(name, tuple(arguments), tuple(named))

    def keyword(self) -> str | None:
        ahead = self.tokens[self.place : self.place + 2]
        if len(ahead) == 2 and ahead[0].kind == "name" and ahead[1].text == "=":
            self.place += 2
            return ahead[0].text
        return None

    def listed(self, end: str) -> Iterator[Node]:
        while not self.next_is(end):
            yield self.deeper(self.signed)
            if not self.next_is(end):
                self.expect(",")
        self.take()

    def deeper(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise FormulaError("the formula is nested too deeply", allowed=f"at most {_DEEPEST} levels")
        found = read()
        self.depth -= 1
        return found

    def next_is(self, *operators: str) -> bool:
        ahead = self.tokens[self.place : self.place + 1]
        return bool(ahead) and ahead[0].kind == "operator" and ahead[0].text in operators

    def take(self) -> _Token:
        if self.place >= len(self.tokens):
            raise _unreadable(self.formula, "")
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, operator: str) -> None:
        if not self.next_is(operator):
            raise self.error()
        self.take()

    def error(self) -> FormulaError:
        if self.place >= len(self.tokens):
            return _unreadable(self.formula, "")
        piece, do = self.tokens[self.place].text, None
        before = self.tokens[self.place - 1].text if self.place else ""
        if piece.startswith(".") and before == ")":
            do = "leave it out: formulas have no attributes and no methods; compute the column in the table first"
        elif before == "=" or piece == "=":
            do = "name arguments in functions only, as in poly(age, degree = 2)"
        return _unreadable(self.formula, piece, do)


def _unescaped(token: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), token[1:-1], flags=re.DOTALL)


def _escaped(text: str, mark: str) -> str:
    for character, escape in (("\\", "\\\\"), (mark, "\\" + mark), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(character, escape)
    return mark + text + mark


def _write_column(node: Column) -> str:
    return node.name if _PLAIN_NAME.fullmatch(node.name) else _escaped(node.name, "`")


def _write_chain(node: Chain) -> str:
    pieces = [written(node.operands[0])]
    for operator, operand in zip(node.operators, node.operands[1:], strict=True):
        pieces += [operator if operator in "/:" else f" {operator} ", written(operand)]
    return "".join(pieces)


def _write_call(node: Call) -> str:
    arguments = [*map(written, node.arguments), *(f"{name} = {written(value)}" for name, value in node.named)]
    return f"{node.function}({', '.join(arguments)})"


_WRITERS: dict[type, Callable[..., str]] = {
    Number: lambda node: f"{node.value:.15g}",
    Text: lambda node: _escaped(node.value, '"'),
    Column: _write_column,
    Listing: lambda node: f"c({', '.join(map(written, node.items))})",
    Call: _write_call,
    Chain: _write_chain,
    Power: lambda node: f"{written(node.base)}^{written(node.exponent)}",
    Sign: lambda node: node.operator + written(node.operand),
    Group: lambda node: f"({written(node.inner)})",
}
