"""Equations as MathML, which browsers draw by themselves."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

__all__ = ["equation_math", "logit_math"]

_TOKEN = re.compile(
    r"(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=\s|$)|(?P<operator>[=+])(?=\s|$)"
    r"|(?P<name>[^\s\[\]^]+)(?:\[(?P<time>k(?:\+1)?)\])?(?:\^(?P<power>\d+))?"
)


def equation_math(text: str) -> Markup:
    """Typeset an equation of `SpiceFit.equations_frame`; names are shown as they are, whatever they hold.

    Examples
    --------
    >>> equation_math("x = 0.500 1")
    Markup('<math display="block"><mi>x</mi><mo>=</mo><mn>0.500</mn></math>')
    """
    return _block("".join(_atom(token) for token in _TOKEN.finditer(re.sub(r"(?<=\d) 1(?=\s|$)", "", text))))


def logit_math() -> Markup:
    """Typeset the choice rule of fits of the history of choices: a softmax of weighted states."""
    one = "<msub><mi>η</mi><mi>{}</mi></msub>"
    share = (
        f"<mfrac><mrow><mi>exp</mi>{one.format('a')}</mrow>"
        f"<mrow><munder><mo>∑</mo><mi>b</mi></munder><mi>exp</mi>{one.format('b')}</mrow></mfrac>"
    )
    total = (
        "<munder><mo>∑</mo><mi>j</mi></munder><msub><mi>w</mi><mi>j</mi></msub>"
        "<msub><mi>s</mi><mrow><mi>j</mi><mi>a</mi></mrow></msub>"
    )
    return _block(
        f"<mi>P</mi><mo>(</mo><mi>a</mi><mo>)</mo><mo>=</mo>{share}<mo>,</mo><mspace width='1em'/>"
        f"{one.format('a')}<mo>=</mo>{total}"
    )


def _block(inside: str) -> Markup:
    return Markup(f'<math display="block">{inside}</math>')  # noqa: S704 (names in it are escaped one by one)


def _atom(token: re.Match[str]) -> str:
    """Typeset a number, an operator, or a name with its time and power."""
    if token["number"]:
        return f"<mn>{token['number'].replace('-', '−')}</mn>"
    if token["operator"]:
        return f"<mo>{token['operator']}</mo>"
    name = f"<mi>{escape(token['name'])}</mi>"
    if token["time"]:
        later = "<mo>+</mo><mn>1</mn>" if token["time"] == "k+1" else ""
        name = f"<msub>{name}<mrow><mi>k</mi>{later}</mrow></msub>"
    return f"<msup>{name}<mn>{token['power']}</mn></msup>" if token["power"] else name
