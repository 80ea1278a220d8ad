"""What the R package calls: each function takes and returns plain Python objects only.

Errors and warnings are returned as data, because reticulate turns an exception into a
condition without a class and sends warnings to the terminal.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from spicestat._files.atomic import save_or_rescue
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat.r.columns import Table, decode_table
from spicestat.r.envelopes import Envelope, Progress, check_settings, enveloped, throttled
from spicestat.r.receive_model import as_model
from spicestat.r.send_fit import encoded, engine, fit_tables, received_table, received_tables
from spicestat.r.send_group import group_tables
from spicestat.r.task_verbs import simulate_task, task
from spicestat.r.verbs import (
    card,
    compare,
    discover,
    group_kernels,
    kernels,
    ladder,
    power,
    predict,
    reliability,
    report,
    simulate,
    simulate_fit,
    update,
)

__all__ = [
    "PROTOCOL",
    "card",
    "compare",
    "copy_fit",
    "discover",
    "fit",
    "group",
    "group_kernels",
    "impute",
    "kernels",
    "ladder",
    "load",
    "people",
    "power",
    "predict",
    "reads_choices",
    "reliability",
    "report",
    "simulate",
    "simulate_fit",
    "simulate_task",
    "task",
    "update",
    "version",
]

PROTOCOL = 1
"""Version of the column protocol; the R package refuses another one."""


def fit(table: Table | str | Sequence[str], options: Mapping[str, Any], progress: Progress | None = None) -> Envelope:
    """Run `spicestat.spice_fit` and write the fit folder.

    Parameters
    ----------
    table : mapping or str
        Trials in protocol form, or the path of a file.
    options : mapping
        Arguments of `spice_fit`, ``model`` as `as_model` reads it; ``people`` in protocol
        form or a path; ``split``, for `spice_fit_split` instead, a mapping with its ``share, split_seed`` and
        ``halve_single``; and ``folder``, where the fit is written for R to read as bytes.
    progress : callable, optional
        Called at most ten times a second, and at the end of each stage, with stage, done,
        total and message.

    Returns
    -------
    dict
        An envelope whose value is the tables of the fit, each in protocol form.
    """

    def work() -> dict[str, Any]:
        names = engine()
        settings = dict(options)
        folder, split = settings.pop("folder"), settings.pop("split", None)
        check_settings("spice_fit()", settings, names.spice_fit)
        if "model" in settings:
            settings["model"] = as_model(settings["model"])
        if "people" in settings:
            settings["people"] = received_tables(settings["people"])
        run = names.spice_fit if split is None else partial(names.spice_fit_split, **split)
        result = run(received_table(table), progress=throttled(progress), **settings)
        save_or_rescue(result.save, folder)
        return fit_tables(result)

    return enveloped(work)


def copy_fit(source: str, target: str) -> Envelope:
    """Write a fit folder's files into another folder, as `SpiceFit.save` does; R saves and loads by this."""

    def work() -> str:
        return str(write_sealed(target, "fit", read_sealed(source, "fit")))

    return enveloped(work)


def load(folder: str) -> Envelope:
    """Read a fit folder; the value is the same as that of `fit`."""
    return enveloped(lambda: fit_tables(engine().load_fit(folder)))


def group(
    coefficients: Table,
    covariance: Table | None,
    design: Mapping[str, Any],
    options: Mapping[str, Any],
    progress: Progress | None = None,
) -> Envelope:
    """Run `spicestat.group.spice_group` on a coefficient table in protocol form, with a design that R made.

    Parameters
    ----------
    coefficients : mapping
        Columns as `COLUMNS`.
    covariance : mapping, optional
        Columns ``participant, row, column, value``.
    design : mapping
        As `received_design` reads it.
    options : mapping
        ``method`` and the other arguments of `spice_group`; ``imputed``, the designs of imputations, and
        ``imputed_text``; ``folder``, a fit folder, where the method reads
        the choices, or where people were fitted on occasions.
    progress : callable, optional
        As in `fit`.

    Returns
    -------
    dict
        An envelope whose value has the tables of `group_tables`.
    """

    def work() -> dict[str, Any]:
        from spicestat.coefficients import CoefficientTable
        from spicestat.group.methods.registry import find_method
        from spicestat.r.receive_design import received_design

        settings = dict(options)
        source: Any
        if "folder" in settings:
            source = _saved_source(settings.pop("folder"), find_method(settings["method"]).reads_choices)
        else:
            source = CoefficientTable.from_frame(decode_table(coefficients))
            if covariance is not None:
                source = source.with_covariance_frame(decode_table(covariance))
        table = getattr(source, "coefficients", source)
        settings["imputed"] = [received_design(one, table) for one in settings.pop("imputed", [])]
        run = importlib.import_module("spicestat.group.api").group_of_design
        return group_tables(run(source, received_design(design, table), progress=throttled(progress), **settings))

    return enveloped(work)


def people(folder: str, data: Sequence[Table] | None, options: Mapping[str, Any]) -> Envelope:
    """Return the covariates of people on occasions in the table ``people``.

    ``options`` has ``participant``, what ``data`` call the people, and ``missing``.
    """

    def work() -> dict[str, Any]:
        from spicestat.r.receive_design import people_on_occasions

        table = _saved_source(folder, False)
        found = people_on_occasions(table, data, options["participant"], options.get("missing"))
        return encoded({"people": found})

    return enveloped(work)


def impute(coefficients: Table, people: Table, positions: Sequence[int], options: Mapping[str, Any]) -> Envelope:
    """Fill in covariates as `spice_group` with ``imputations`` does.

    Parameters
    ----------
    coefficients : mapping
        As in `group`.
    people : mapping
        ``participant``, and ``person`` where there are occasions, with covariates.
    positions : sequence of int
        Of the rows of ``people`` among the participants of the coefficients.
    options : mapping
        ``variables``, ``imputations`` and, where people were fitted on occasions, the fit's ``folder``.

    Returns
    -------
    dict
        An envelope whose value has the table ``typical``, one for each imputation (``"1"``, ``"2"``, ...) and the
        text ``missing``; nothing where nothing is missing.
    """

    def work() -> dict[str, Any]:
        from spicestat.coefficients import CoefficientTable

        if "folder" in options:
            table = _saved_source(options["folder"], False)
        else:
            table = CoefficientTable.from_frame(decode_table(coefficients))
        run = importlib.import_module("spicestat.group.inference.imputed_covariates").imputed_covariates
        rows = np.asarray(positions, dtype="int64")
        found = run(decode_table(people), options["variables"], table, rows, options["imputations"])
        if found is None:
            return {}
        tables = {str(number): one for number, one in enumerate(found.tables, start=1)}
        return {**encoded({"typical": found.typical, **tables}), "missing": found.text}

    return enveloped(work)


def _saved_source(folder: str, with_choices: bool) -> Any:
    from spicestat.coefficients import read_coefficients

    return engine().load_fit(folder) if with_choices else read_coefficients(folder)


def reads_choices(method: str, others: Sequence[str]) -> Envelope:
    """Say whether a group method reads the choices, which are in the fit's files; R has ``others`` of its own.

    Examples
    --------
    >>> reads_choices("hierarchical", [])["value"], reads_choices("lme", ["lme4"])["code"]
    (True, 'config')
    """
    return enveloped(
        lambda: importlib.import_module("spicestat.group.methods.registry").find_method(method, others).reads_choices
    )


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

    return enveloped(work)


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
