"""Checks of arguments, names of settings among them, and docstrings of arguments that are passed on."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, cleandoc, signature
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from spicestat.errors import ConfigError

__all__ = [
    "check_level",
    "check_options",
    "explained_by",
    "named_options",
    "optional_whole_number",
    "real_number",
    "seed_number",
    "whole_number",
]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def whole_number(name: str, value: object, low: int) -> int:
    """Return a setting as an int of at least ``low``.

    Raises
    ------
    ConfigError
        It is no whole number, or too small.

    Examples
    --------
    >>> whole_number("epochs", 3, 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < low:
        raise ConfigError(f"{name} is out of range", got=repr(value), allowed=f"a whole number, {low} or more")
    return int(value)


def seed_number(seed: object, name: str = "seed") -> int:
    """Return a seed that every random generator in use takes.

    Raises
    ------
    ConfigError
        It is no whole number from 0 to 4294967295.

    Examples
    --------
    >>> seed_number(1)
    1
    """
    if whole_number(name, seed, 0) >= 2**32:
        raise ConfigError(f"{name} is out of range", got=f"{str(seed)[:20]}...", allowed="0 to 4294967295")
    return whole_number(name, seed, 0)


def optional_whole_number(name: str, value: object, low: int) -> int | None:
    """Like `whole_number`, but None stays None."""
    return None if value is None else whole_number(name, value, low)


def real_number(
    name: str,
    value: object,
    low: float,
    high: float = math.inf,
    *,
    low_included: bool = True,
    high_included: bool = False,
) -> float:
    """Return a setting as a finite float from ``low`` to below ``high``, or at most ``high``.

    Raises
    ------
    ConfigError
        It is no number, or outside the range.

    Examples
    --------
    >>> real_number("dropout", 0.5, 0, 1)
    0.5
    """
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    above = low <= number if low_included else low < number
    below = number <= high if high_included else number < high
    if not (math.isfinite(number) and above and below):
        start = f"{low:g} or more" if low_included else f"above {low:g}"
        end = "" if math.isinf(high) else f" and {'at most' if high_included else 'below'} {high:g}"
        # 95 for .95, where a share is meant
        meant = f"write {number / 100.0:g}" if high == 1.0 and 1.0 < number < 100.0 else None
        raise ConfigError(f"{name} is out of range", got=repr(value), allowed=f"a number, {start}{end}", do=meant)
    return number


def check_level(conf_level: object) -> float:
    """Return a confidence level as a float in (0, 1).

    Raises
    ------
    ConfigError
        It is no number, or outside the range.

    Examples
    --------
    >>> check_level(0.95)
    0.95
    """
    return real_number("`conf_level`", conf_level, 0.0, 1.0, low_included=False)


def check_options(given: Iterable[str], known: Sequence[str], owner: str) -> None:
    """Raise if an option is unknown, with the one that was probably meant.

    Raises
    ------
    ConfigError
        An option is not among the known ones.

    Examples
    --------
    >>> check_options(["conf_level"], ["conf_level", "adjust"], "contrasts()")
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        similar = get_close_matches(unknown[0], known, n=1)
        raise ConfigError(
            f"{owner} has no such setting",
            got=", ".join(unknown),
            allowed=", ".join(known) or "(none)",
            do=f"did you mean '{similar[0]}'?" if similar else None,
        )


def named_options(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Let a function refuse unknown keywords with `check_options`.

    Examples
    --------
    >>> @named_options
    ... def table(conf_level=0.95):
    ...     return conf_level
    >>> table(conf_level=0.9)
    0.9
    """
    parameters = signature(function).parameters.values()
    known = [own.name for own in parameters if own.kind is not Parameter.POSITIONAL_ONLY and own.name != "self"]

    @wraps(function)
    def checked(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        check_options(options, known, f"{function.__name__}()")
        return function(*arguments, **options)

    return checked


def explained_by(
    function: Callable[..., Any],
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Let a method's docstring go on as that of the function behind it, without its first parameter and examples.

    Examples
    --------
    >>> from spicestat.group import GroupResult
    >>> GroupResult.term_tests.__doc__.splitlines()[2]
    'A factor of k levels is tested with k - 1 numerator degrees of freedom. With an interaction in the'
    """
    first = next(iter(signature(function).parameters))
    _, _, further = cleandoc(function.__doc__ or "").partition("\n\n")
    further = further.partition("\n\nExamples\n")[0]
    further = re.sub(rf"^{first} : .*\n(?: +.*\n)*", "", further, flags=re.MULTILINE)

    def explain(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        method.__doc__ = f"{cleandoc(method.__doc__ or '')}\n\n{further}"
        return method

    return explain
