"""Entry points of R's verbs on fits: simulate, predict, update, compare, study and search further."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import pandas as pd

from spicestat._files.atomic import save_or_rescue
from spicestat.errors import ConfigError
from spicestat.r.columns import Table
from spicestat.r.envelopes import Envelope, Progress, check_settings, enveloped, throttled
from spicestat.r.receive_design import received_design
from spicestat.r.receive_group import received_estimates, received_levels, received_refit
from spicestat.r.send_fit import encoded, engine, fit_tables, received_table, received_tables
from spicestat.r.torch_symbols import load_torch
from spicestat.trials.reading import read_trials

__all__ = [
    "card",
    "compare",
    "discover",
    "group_kernels",
    "kernels",
    "ladder",
    "power",
    "predict",
    "reliability",
    "report",
    "simulate",
    "simulate_fit",
    "update",
]

_TASKS = {
    "drift": "BanditsDrift",
    "flip": "BanditsFlip",
    "eckstein2022": "BanditsFlipEckstein2022",
    "switch": "BanditsSwitch",
    "standard": "BanditsStandard",
}


def simulate(options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.simulate.simulate_cohort`.

    Parameters
    ----------
    options : mapping
        Its arguments; ``parameters`` as mappings that change or join the default ones, ``environment`` as
        `_environment` reads it.

    Returns
    -------
    dict
        An envelope with the tables ``trials``, ``people`` and ``truth``.

    Examples
    --------
    >>> value = simulate({"n_participants": 2, "n_trials": 8, "n_blocks": 1, "seed": 1})["value"]
    >>> value["trials"]["nrow"], sorted(value)
    (16, ['people', 'trials', 'truth'])
    """

    def work() -> dict[str, Any]:
        engine = importlib.import_module("spicestat.simulate")
        settings = dict(options)
        check_settings("spice_simulate()", settings, engine.simulate_cohort)
        changed = settings.pop("parameters", {})
        made = {name: _made(f"the parameter '{name}'", engine.Parameter, values) for name, values in changed.items()}
        settings["parameters"] = {**engine.DEFAULT_PARAMETERS, **made}
        settings["environment"] = _environment(settings.get("environment"))
        cohort = engine.simulate_cohort(**settings)
        return encoded({"trials": cohort.trials, "people": cohort.people, "truth": cohort.truth})

    return enveloped(work)


def simulate_fit(folder: str, options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.simulate_fit` on a fit folder; the value has the table ``trials``.

    ``options`` are its arguments, ``environment`` as `_environment` reads it.
    """

    def work() -> dict[str, Any]:
        run = engine().simulate_fit
        settings = dict(options)
        check_settings("simulate()", settings, run)
        settings["environment"] = _environment(settings.get("environment"))
        return encoded({"trials": run(engine().load_fit(folder), **settings)})

    return enveloped(work)


def predict(folder: str, table: Table | str | Sequence[str] | None, options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.predict_choices` on a fit folder; the value has the table ``predictions``."""

    def work() -> dict[str, Any]:
        run = engine().predict_choices
        check_settings("predict()", options, run, read_trials)
        fit = engine().load_fit(folder)
        found = run(fit, None if table is None else received_table(table), **dict(options))
        return {**encoded({"predictions": found}), "actions": [str(label) for label in fit.trials.actions]}

    return enveloped(work)


def update(folder: str, table: Table | str | Sequence[str], options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.spice_update` on a fit folder.

    ``options`` has columns that differ from the fit's, ``people``, and ``folder``, where the new fit is written. The
    value is that of a fit.
    """

    def work() -> dict[str, Any]:
        settings = dict(options)
        target = settings.pop("folder")
        run = engine().spice_update
        check_settings("spice_update()", settings, run, read_trials)
        if "people" in settings:
            settings["people"] = received_tables(settings["people"])
        fit = engine().load_fit(folder)
        updated = run(fit, received_table(table), **settings)
        save_or_rescue(updated.save, target)
        return fit_tables(updated)

    return enveloped(work)


def compare(folders: Mapping[str, str], options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.spice_compare` on fit folders by name.

    ``options`` are its arguments; ``design``, of the first fit's participants, stands for ``formula`` and ``data``.
    The value has the tables ``models``, ``evidence`` and ``attribution`` (one row per participant) and ``glance``, and
    with a design ``membership`` and ``membership_tests``.
    """

    def work() -> dict[str, Any]:
        settings = dict(options)
        sent, level = settings.pop("design", None), settings.pop("conf_level", 0.95)
        run = engine().spice_compare
        check_settings("spice_compare()", settings, run)
        fits = {str(name): engine().load_fit(folder) for name, folder in folders.items()}
        result = run(fits, **settings)
        if sent is not None:
            table = next(iter(fits.values())).coefficients
            add = importlib.import_module("spicestat.studies.compare").with_membership
            result = add(result, received_design(sent, table), table.participants, level)
        found = result.membership
        return encoded(
            {
                "models": result.table,
                "evidence": _by_participant(result.evidence),
                "attribution": _by_participant(result.attribution),
                "glance": result.glance(),
                "membership": None if found is None else found.effects,
                "membership_tests": None if found is None else found.tests,
            }
        )

    return enveloped(work)


def _by_participant(wide: pd.DataFrame) -> pd.DataFrame:
    return wide.rename_axis(index="participant").reset_index()


def ladder(folder: str, options: Mapping[str, Any], progress: Progress | None = None) -> Envelope:
    """Run `spicestat.spice_ladder` on a fit folder; the value has the tables ``rungs``, ``people`` and ``glance``."""

    def work() -> dict[str, Any]:
        run = engine().spice_ladder
        check_settings("spice_ladder()", options, run)
        result = run(engine().load_fit(folder), progress=throttled(progress), **dict(options))
        return encoded({"rungs": result.table, "people": result.people, "glance": result.glance()})

    return enveloped(work)


def card(folder: str, options: Mapping[str, Any], progress: Progress | None = None) -> Envelope:
    """Run `spicestat.spice_card` on a fit folder; the value has the tables ``checks`` and ``glance``."""

    def work() -> dict[str, Any]:
        run = engine().spice_card
        check_settings("spice_card()", options, run)
        result = run(engine().load_fit(folder), progress=throttled(progress), **dict(options))
        return encoded({"checks": result.table, "glance": result.glance()})

    return enveloped(work)


def power(folder: str, options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.spice_power` on a fit folder.

    ``options`` are its arguments; ``population``, a mapping with the ``design`` and ``method`` of a group model, stands
    for ``group``.
    The value has the tables ``designs``, ``studies`` and ``glance``.
    """

    def work() -> dict[str, Any]:
        settings = dict(options)
        fit = engine().load_fit(folder)
        if "population" in settings:
            population = dict(settings.pop("population"))
            design = received_design(population.pop("design"), fit.coefficients)
            run = importlib.import_module("spicestat.group.api").group_of_design
            settings["group"] = run(fit, design, **population)
        settings["environment"] = _environment(settings.get("environment"))
        coefficient = ":".join(settings.pop("coefficient"))
        result = engine().spice_power(fit, coefficient, **settings)
        return encoded({"designs": result.table, "studies": result.studies, "glance": result.glance()})

    return enveloped(work)


def reliability(folder: str, options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.spice_reliability` on a fit folder; the value has the table ``reliability``.

    ``sessions`` may be a text, or a mapping with the two lists ``block`` (as text, which is what R has as names) and
    ``session``.
    """

    def work() -> dict[str, Any]:
        settings = dict(options)
        run = engine().spice_reliability
        check_settings("spice_reliability()", settings, run)
        fit = engine().load_fit(folder)
        sessions = settings.get("sessions")
        if isinstance(sessions, Mapping):
            settings["sessions"] = dict(zip(sessions["block"], sessions["session"], strict=True))
        return encoded({"reliability": run(fit, **settings)})

    return enveloped(work)


def kernels(folder: str, options: Mapping[str, Any]) -> Envelope:
    """Run `HistoryFit.kernels` on a fit folder; the value has the tables ``lags`` and ``influence``."""

    def work() -> dict[str, Any]:
        fit = _history(folder, "kernels")
        check_settings("spice_kernels()", options, fit.kernels)
        found = fit.kernels(**options)
        return encoded({"lags": found.lags, "influence": found.influence})

    return enveloped(work)


def group_kernels(
    folder: str, group: Mapping[str, Any], levels: Mapping[str, Any], options: Mapping[str, Any]
) -> Envelope:
    """Run `GroupResult.kernels` on a fit folder and a group model; the value has the table ``kernels``.

    Parameters
    ----------
    folder : str
        The fit that the model is of.
    group, levels : mapping
        As `received_estimates` and `received_levels` read them.
    options : mapping
        ``events, lags, events_per_person, conf_level, average``.
    """

    def work() -> dict[str, Any]:
        fit = _history(folder, "kernels")
        run = importlib.import_module("spicestat.group.after.kernel_effects").effects_at
        check_settings("spice_kernels()", options, run)
        model = received_estimates(group)
        if "refit" in group:
            model = replace(model, refit=received_refit(group["refit"], fit.coefficients))
        found = run(model, fit, received_levels(levels), **options)
        return encoded({"kernels": found.frame})

    return enveloped(work)


def discover(folder: str, options: Mapping[str, Any]) -> Envelope:
    """Run `HistoryFit.discover` or `TaskFit.discover` on a fit folder.

    ``options`` has ``folder``, where the fit with what was found is written. The value is that of a fit, with the
    table ``terms``.
    """

    def work() -> dict[str, Any]:
        fit = engine().load_fit(folder)
        of_task = isinstance(fit, engine().TaskFit)
        found = (fit if of_task else _history(folder, "discoveries")).discover()
        save_or_rescue(found.fit.save, options["folder"])
        return fit_tables(found.fit) | encoded({"terms": found.terms})

    return enveloped(work)


def report(folder: str, options: Mapping[str, Any], progress: Progress | None = None) -> Envelope:
    """Run `spicestat.spice_report` on a fit folder; the value is the path.

    Options: ``path``, ``title``; ``formula`` and ``method`` of a group model on the fit's own covariates, or None; and
    ``ladder`` and ``card``, whether left-out choices are predicted and the study is checked.
    """

    def work() -> dict[str, Any]:
        fit = engine().load_fit(folder)
        formula, method = options.get("formula"), options.get("method")
        tell = throttled(progress)
        group = None if formula is None else engine().spice_group(fit, formula, method=method, progress=tell)
        rungs = engine().spice_ladder(fit, progress=tell) if options["ladder"] else None
        card = engine().spice_card(fit, progress=tell) if options["card"] else None
        own = {"ladder": rungs, "card": card, "title": options["title"], "progress": tell}
        return {"path": str(engine().spice_report(fit, group, options["path"], **own))}

    return enveloped(work)


def _history(folder: str, what: str) -> Any:
    """Return a fit of the history of choices.

    Raises
    ------
    ConfigError
        The fit is of another model.
    """
    fit = engine().load_fit(folder)
    if not isinstance(fit, engine().HistoryFit):
        raise ConfigError(
            f"{what} are those of a fit of the history of choices",
            got=f"model='{fit.coefficients.info['model']}'",
            do="fit with model='history'",
        )
    return fit


def _environment(sent: Mapping[str, Any] | None) -> Any:
    """Return the task that R describes by ``kind`` and settings, None for None.

    Examples
    --------
    >>> _environment({"kind": "drift", "sigma": 0.1}).n_actions
    2
    """
    if sent is None:
        return None
    load_torch()
    settings = dict(sent)
    kind = settings.pop("kind", None)
    if kind not in _TASKS:
        raise ConfigError("unknown kind of task", got=kind, allowed=", ".join(_TASKS))
    task = getattr(importlib.import_module("spicestat.simulate"), _TASKS[kind])
    return _made(f"the task '{kind}'", task, settings)


def _made(what: str, kind: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """Make something of settings from R; one too many or too few is the user's mistake and no bug."""
    check_settings(what, settings, kind)
    missing = [
        name
        for name, parameter in signature(kind).parameters.items()
        if parameter.default is parameter.empty and name not in settings
    ]
    if missing:
        raise ConfigError(f"{what} lacks a setting", got=", ".join(settings) or "none", do=f"set `{missing[0]}`")
    return kind(**settings)
