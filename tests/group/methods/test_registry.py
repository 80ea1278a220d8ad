"""The table of group methods."""

from dataclasses import fields, is_dataclass

import pytest

from spicestat.errors import ConfigError
from spicestat.group.methods.registry import METHODS, find_method


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_found_by_the_name_of_its_file(name):
    method = find_method(name)
    assert method.name == name
    assert method.label
    assert method.summary
    assert method.estimate.__doc__


@pytest.mark.parametrize("name", METHODS)
def test_settings_have_defaults_and_unknown_ones_are_named(name):
    method = find_method(name)
    default = method.settings({})
    known = [] if default is None else [field.name for field in fields(default)]
    assert list(method.setting_fields) == known
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
    with pytest.raises(ConfigError, match="lme4"):
        find_method("lme", ["lme4"])


def test_methods_that_read_choices_do_not_ask_for_standard_errors():
    reading = {name for name in METHODS if find_method(name).reads_choices}
    assert reading == {"hierarchical", "bayes"}
    assert not any(find_method(name).needs_std_error for name in reading)
