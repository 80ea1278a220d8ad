"""The table of group methods."""

from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest

from spicestat.errors import ConfigError
from spicestat.group import spice_group
from spicestat.group.methods.registry import METHODS, find_method

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_file_with_estimate(name):
    method = find_method(name)
    assert method.name == name
    assert method.label
    estimate = method.load()
    assert estimate is import_module(method.module).estimate
    assert estimate.__doc__


@pytest.mark.parametrize("name", METHODS)
def test_settings_have_defaults_and_unknown_ones_are_named(name):
    method = find_method(name)
    default = method.settings({})
    known = [] if default is None else [field.name for field in fields(default)]
    assert default is None or is_dataclass(default)
    with pytest.raises(ConfigError) as caught:
        method.settings({"colour": 1})
    message = str(caught.value)
    assert "colour" in message
    assert all(setting in message for setting in known or ["(none)"])


def test_given_settings_are_kept():
    settings = find_method("hierarchical").settings({"estimator": "ML", "max_rounds": 3})
    assert (settings.estimator, settings.max_rounds, settings.links) == ("ML", 3, None)


def test_unknown_methods_are_named():
    with pytest.raises(ConfigError, match=r"unknown group method.*lme.*hierarchical.*ols"):
        find_method("lme")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_named_wherever_users_look_for_it(name):
    assert f'"{name}"' in (spice_group.__doc__ or "")
    assert f"`{name}`" in (ROOT / "docs" / "group-models.md").read_text(encoding="utf-8")
    assert f'"{name}"' in (ROOT / "r-package" / "R" / "group.R").read_text(encoding="utf-8")


def test_methods_that_read_choices_do_not_ask_for_standard_errors():
    reading = {name for name, method in METHODS.items() if method.reads_choices}
    assert reading == {"hierarchical", "bayes"}
    assert not any(METHODS[name].needs_std_error for name in reading)
