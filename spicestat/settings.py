"""Checks of single settings: whole numbers and real numbers in a range, returned as plain Python numbers."""

from __future__ import annotations

import math
from numbers import Integral, Real

from spicestat.errors import ConfigError

__all__ = ["optional_whole_number", "real_number", "whole_number"]


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
        raise ConfigError(f"{name} is out of range", got=repr(value), allowed=f"a number, {start}{end}")
    return number
