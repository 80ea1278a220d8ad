"""What users call: names, signatures that an editor completes, and how results show themselves."""

import inspect
from importlib import import_module
from typing import Any, get_type_hints

PACKAGES = (
    "spicestat",
    "spicestat.trials",
    "spicestat.simulate",
    "spicestat.models",
    "spicestat.models.precoded",
    "spicestat.group",
    "spicestat.studies",
    "spicestat.tasks",
    "spicestat.agents",
    "spicestat.spice",
    "spicestat.errors",
)
OPEN = {
    "spice_group(**settings)": "depend on the method: fields of its Settings, which names are checked against",
    "spice_power(**group_settings)": "those of spice_group and of the method, which names are checked against",
    "BaseRNN(**_unused)": "models written for SPICE hand all settings of the estimator on",
}
"""Functions that take keywords of any kind, and why."""


def public():
    """All functions and classes that public packages export, with their public methods, by name."""
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                found[name] = value
                for method, own in inspect.getmembers(value, inspect.isroutine):
                    ours = getattr(inspect.unwrap(own), "__module__", "") or ""
                    # from Python 3.13 on, a cached property counts as a routine
                    if not method.startswith("_") and ours.startswith("spicestat") and callable(own):
                        found[f"{name}.{method}"] = own
            elif inspect.isroutine(value):
                found[name] = value
    return found


def open_parameters(function):
    """Parameters such as ``**options: Any``, as ``**options``."""
    taking = function.__init__ if inspect.isclass(function) else function
    signs = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    untyped = ("Any", "object", inspect.Parameter.empty, Any, object)
    if not getattr(inspect.unwrap(taking), "__module__", "").startswith("spicestat"):
        return []
    return [
        signs[own.kind] + own.name
        for own in inspect.signature(taking).parameters.values()
        if own.kind in signs and own.annotation in untyped
    ]


def test_keywords_are_named_so_that_an_editor_completes_them():
    found = {f"{name}({own})" for name, function in public().items() for own in open_parameters(function)}
    assert found == set(OPEN)


def test_public_names_are_listed_with_their_signatures():
    listing = {name: str(inspect.signature(own)) for name, own in public().items() if not inspect.isclass(own)}
    assert len(listing) > 100
    assert "level" in listing["GroupResult.confint"]


def test_settings_that_are_passed_on_are_those_of_the_functions():
    from spicestat import read_trials, spice_fit
    from spicestat.fit.api import FitSettings
    from spicestat.trials.reading import ReadSettings

    for kind, function in ((FitSettings, spice_fit), (ReadSettings, read_trials)):
        assert set(get_type_hints(kind)) == set(list(inspect.signature(function).parameters)[1:])
