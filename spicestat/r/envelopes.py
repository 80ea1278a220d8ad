"""Results, errors and warnings as data, because reticulate turns an exception into a condition without a class."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from spicestat._checks import check_options
from spicestat._runtime.interrupts import kept_interrupts
from spicestat.errors import SpicestatError
from spicestat.r.interrupts import plain_interrupts

__all__ = ["Envelope", "Progress", "check_settings", "enveloped", "throttled"]

Envelope = dict[str, Any]
"""``{"ok": True, "value", "warnings"}`` or ``{"ok": False, "code", "message", "traceback", "warnings"}``."""

Progress = Callable[[str, int, int, str], object]
"""Called with stage, done, total and message; what it returns may say that R found an interrupt."""

_PROGRESS_SECONDS = 0.1
# the code of Ctrl-C, and what the callback returns if R found an interrupt, as RStudio's stop button leaves one
_INTERRUPT = "interrupt"
_NOT_FOR_USERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


def enveloped(work: Callable[[], Any]) -> Envelope:
    """Run ``work`` and return its value, or what went wrong, and the warnings.

    Ctrl-C is the error with code ``interrupt``, which R signals as an interrupt of its own.

    Examples
    --------
    >>> enveloped(lambda: 1)
    {'ok': True, 'value': 1, 'warnings': []}
    >>> enveloped(lambda: {}["x"])["code"]
    'internal'
    """
    with plain_interrupts(), kept_interrupts(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for category in _NOT_FOR_USERS:
            warnings.simplefilter("ignore", category)
        try:
            outcome: Envelope = {"ok": True, "value": work()}
        except (Exception, KeyboardInterrupt) as error:
            outcome = {"ok": False, **_described(error)}
    return {**outcome, "warnings": _listed(caught)}


def check_settings(what: str, given: Iterable[str], *functions: Callable[..., Any]) -> None:
    """Refuse a setting that no function has, as a user's error; Python's TypeError is one of the caller.

    Raises
    ------
    ConfigError
        A name is unknown.

    Examples
    --------
    >>> check_settings("pow()", ["exp"], pow)
    """
    names = [name for function in functions for name in signature(function).parameters]
    check_options(given, names, what)


def _described(error: BaseException) -> dict[str, str]:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, KeyboardInterrupt):
        return {"code": _INTERRUPT, "message": "interrupted", "traceback": trace}
    if isinstance(error, SpicestatError):
        return {"code": error.code, "message": str(error), "traceback": trace}
    if isinstance(error, ModuleNotFoundError):
        message = f"the Python module '{error.name}' is missing"
        return {"code": "install", "message": message, "traceback": trace}
    return {"code": "internal", "message": f"{type(error).__name__}: {error}", "traceback": trace}


def _listed(caught: list[warnings.WarningMessage]) -> list[dict[str, str]]:
    pairs = [(getattr(item.category, "code", "python"), str(item.message)) for item in caught]
    return [{"code": code, "message": message} for code, message in dict.fromkeys(pairs)]


def throttled(progress: Progress | None) -> Callable[[str, int, int, str], None] | None:
    """Thin out progress calls, for each one costs a change of language; a stage's last is always sent."""
    if progress is None:
        return None
    sent = -_PROGRESS_SECONDS

    def call(stage: str, done: int, total: int, message: str) -> None:
        nonlocal sent
        now = time.monotonic()
        if now - sent >= _PROGRESS_SECONDS or done >= total:
            sent = now
            answer = progress(str(stage), int(done), int(total), str(message))
            if answer == _INTERRUPT:
                raise KeyboardInterrupt

    return call
