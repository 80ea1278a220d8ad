"""What the R package calls: each function takes and returns plain Python objects only.

Errors and warnings are returned as data, because reticulate turns an exception into a
condition without a class and sends warnings to the terminal.
"""

from __future__ import annotations

import importlib
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import pandas as pd

from spicestat.errors import ConfigError, DataError, SpicestatError
from spicestat.r.columns import Table, decode_table, encode_table
from spicestat.r.interrupts import plain_interrupts
from spicestat.r.own_symbols import load_torch

__all__ = ["PROTOCOL", "fit", "group", "load", "version"]

PROTOCOL = 1
"""Version of the column protocol; the R package refuses another one."""

Envelope = dict[str, Any]
"""``{"ok": True, "value", "warnings"}`` or ``{"ok": False, "code", "message", "traceback", "warnings"}``."""

_PROGRESS_SECONDS = 0.1
# the code of Ctrl-C, and what the callback returns if R found an interrupt, as RStudio's stop button leaves one
_INTERRUPT = "interrupt"
_NOT_FOR_USERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


def fit(
    table: Table | str, options: Mapping[str, Any], progress: Callable[[str, int, int, str], object] | None = None
) -> Envelope:
    """Run `spicestat.fit.spice_fit` and write the fit folder.

    Parameters
    ----------
    table : mapping or str
        Trials in protocol form, or the path of a file.
    options : mapping
        Arguments of `spice_fit`; ``people`` in protocol form or a path; and ``folder``, where
        the fit is written for R to read as bytes.
    progress : callable, optional
        Called at most ten times a second, and at the end of each stage, with stage, done,
        total and message.

    Returns
    -------
    dict
        An envelope whose value is the tables of the fit, each in protocol form.
    """

    def work() -> dict[str, Any]:
        engine = _fit_engine()
        settings = dict(options)
        folder = settings.pop("folder")
        if "people" in settings:
            settings["people"] = _table(settings["people"])
        result = engine.spice_fit(_table(table), progress=_throttled(progress), **settings)
        result.save(folder)
        return _fit_tables(result)

    return _envelope(work)


def _fit_engine() -> Any:
    """Import `spicestat.fit`, and torch before it, in the way that keeps R's BLAS out."""
    load_torch()
    return importlib.import_module("spicestat.fit")


def load(folder: str) -> Envelope:
    """Read a fit folder; the value is the same as that of `fit`."""
    return _envelope(lambda: _fit_tables(_fit_engine().load_fit(folder)))


def group(coefficients: Table, covariance: Table | None, people: Table | None, options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.group.spice_group` on a coefficient table in protocol form.

    Parameters
    ----------
    coefficients : mapping
        Columns as `spicestat.equations.coefficients.COLUMNS`.
    covariance : mapping, optional
        Columns ``participant, row, column, value``.
    people : mapping, optional
        One row per participant, the id in column ``options["participant"]``.
    options : mapping
        ``formula`` and the other arguments of `spice_group`; ``folder``, a fit folder, where the method reads
        the choices.

    Returns
    -------
    dict
        An envelope whose value has the tables ``coefficients``, ``covariance``, ``glance`` and
        ``skipped``, and those of `_group_details`.
    """

    def work() -> dict[str, Any]:
        from spicestat.equations.coefficients import CoefficientTable

        settings = dict(options)
        table = CoefficientTable.from_frame(decode_table(coefficients))
        if covariance is not None:
            table = table.with_covariance_frame(decode_table(covariance))
        data = None if people is None else decode_table(people)
        formula = settings.pop("formula")
        source = _fit_engine().load_fit(settings.pop("folder")) if "folder" in settings else table
        result = importlib.import_module("spicestat.group").spice_group(source, formula, data=data, **settings)
        return {**_group_tables(result), **_group_details(result)}

    return _envelope(work)


def version() -> Envelope:
    """Return the versions of everything on this side of the boundary.

    Examples
    --------
    >>> version()["value"]["protocol"]
    1
    """

    def work() -> dict[str, Any]:
        found = {name: _installed(name) for name in ("spicestat", "numpy", "pandas", "torch", "pysindy")}
        return {"protocol": PROTOCOL, "python": platform.python_version(), **found}

    return _envelope(work)


def _installed(package: str) -> str:
    """Return a package's version; a missing one is what `spicestat_sitrep` is there to find.

    Examples
    --------
    >>> _installed("no-such-package")
    'missing'
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


# What is sent ----------------------------------------------------------------------------


def _fit_tables(result: Any) -> dict[str, Any]:
    tables = {
        "coefficients": result.coefficients.frame,
        "covariance": result.coefficients.covariance_frame(),
        "equations": result.equations_frame(),
        "people": result.people,
        "scores": result.scores,
        "glance": result.glance(),
    }
    return {name: encode_table(frame) for name, frame in tables.items() if frame is not None}


def _group_tables(result: Any) -> dict[str, Any]:
    tables = {
        "coefficients": result.coefficients,
        "covariance": _long_covariance(result.covariance),
        "glance": result.glance(),
        "skipped": result.skipped,
    }
    return {name: encode_table(frame) for name, frame in tables.items()}


def _group_details(result: Any) -> dict[str, Any]:
    """Return what only some methods give: participants' deviations, the joint covariance, augmented data; and messages."""
    tables = {
        "ran_vals": result.ran_vals,
        "joint_covariance": _labelled_covariance(result.joint_covariance),
        "participants": _augmented(result),
        "messages": pd.DataFrame({"message": list(result.messages)}, dtype=object),
        "links": pd.DataFrame([(*key, link) for key, link in result.links.items()], columns=["module", "sparse_term", "link"]),
    }
    return {name: encode_table(frame) for name, frame in tables.items() if frame is not None}


def _augmented(result: Any) -> pd.DataFrame | None:
    """Return one row per participant and equation, or None where the method has no fitted values of participants."""
    try:
        frame: pd.DataFrame = result.augment()
    except (ConfigError, DataError):
        return None
    return frame


def _labelled_covariance(joint: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the covariance of all effects as columns ``module, sparse_term, term`` and one per effect.

    Examples
    --------
    >>> index = pd.MultiIndex.from_tuples([("beta", "x", "age")], names=["module", "sparse_term", "term"])
    >>> _labelled_covariance(pd.DataFrame([[0.5]], index=index, columns=index)).to_dict("records")
    [{'module': 'beta', 'sparse_term': 'x', 'term': 'age', 'effect0': 0.5}]
    """
    if joint is None:
        return None
    labels = joint.index.to_frame(index=False)
    labels.columns = pd.Index(["module", "sparse_term", "term"])
    values = pd.DataFrame(joint.to_numpy(), columns=[f"effect{k}" for k in range(len(joint))])
    return pd.concat([labels, values], axis=1)


def _long_covariance(blocks: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Return the covariance of each equation's effects as ``module, sparse_term, row, column, value``.

    Examples
    --------
    >>> block = pd.DataFrame([[0.5]], index=["age"], columns=["age"])
    >>> _long_covariance({("beta", "x"): block}).to_dict("records")
    [{'module': 'beta', 'sparse_term': 'x', 'row': 'age', 'column': 'age', 'value': 0.5}]
    """
    entries = [
        (module, sparse_term, str(row), str(column), float(value))
        for (module, sparse_term), block in blocks.items()
        for row, values in zip(block.index, block.to_numpy(), strict=True)
        for column, value in zip(block.columns, values, strict=True)
    ]
    return pd.DataFrame(entries, columns=["module", "sparse_term", "row", "column", "value"])


def _table(source: Table | str) -> pd.DataFrame | str:
    return source if isinstance(source, str) else decode_table(source)


# How it is sent --------------------------------------------------------------------------


def _envelope(work: Callable[[], Any]) -> Envelope:
    """Run ``work`` and return its value, or what went wrong, and the warnings.

    Ctrl-C is the error with code ``interrupt``, which R signals as an interrupt of its own.

    Examples
    --------
    >>> _envelope(lambda: 1)
    {'ok': True, 'value': 1, 'warnings': []}
    >>> _envelope(lambda: {}["x"])["code"]
    'internal'
    """
    with plain_interrupts(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for category in _NOT_FOR_USERS:
            warnings.simplefilter("ignore", category)
        try:
            outcome: Envelope = {"ok": True, "value": work()}
        except (Exception, KeyboardInterrupt) as error:
            outcome = {"ok": False, **_described(error)}
    return {**outcome, "warnings": _listed(caught)}


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


def _throttled(progress: Callable[[str, int, int, str], object] | None) -> Callable[[str, int, int, str], None] | None:
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
