"""Every name, parameter and default that SPICE's API reference promises is there.

The promises stand in ``reference/spice_api.json``: a parameter is ``[name]``, or ``[name, default]``. That the table
says what the document says is `test_api_document.py`'s to find out, where the document is.
"""

import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import spicestat.compat  # noqa: F401  the names below are imported from `spice`

API = json.loads((Path(__file__).parents[1] / "reference" / "spice_api.json").read_text(encoding="utf-8"))
IMPORTS = [(module, name) for module, names in API["imports"].items() for name in names]


def find(key):
    """Return what ``module:Class.method`` names."""
    module, _, path = key.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def defaults(parameters):
    return {name: default[0] for name, *default in parameters if default}


@pytest.mark.parametrize(("module", "name"), IMPORTS)
def test_imports(module, name):
    namespace = {}
    exec(f"from {module} import {name}", namespace)
    assert namespace[name] is not None


@pytest.mark.parametrize("key", API["classes"])
def test_parameters_of_classes(key):
    parameters = API["classes"][key]
    known = inspect.signature(find(key)).parameters
    assert [name for name, *_ in parameters if name not in known] == []
    promised = defaults(parameters)
    assert {name: known[name].default for name in promised} == promised


@pytest.mark.parametrize("key", API["functions"])
def test_parameters_of_functions(key):
    parameters = API["functions"][key]
    known = dict(inspect.signature(find(key)).parameters)
    known.pop("self", None)
    names = [name for name, *_ in parameters]
    # the documented order works for positional arguments, too
    positional = [name for name in known if known[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional[: len(names)] == names
    promised = defaults(parameters)
    assert {name: known[name].default for name in promised} == promised
    required = {name for name, parameter in known.items() if parameter.default is inspect.Parameter.empty}
    assert required <= set(names) - set(promised), f"{key} needs more than is documented"


@pytest.mark.parametrize("key", [*API["classes"], *API["functions"]])
def test_everything_is_described(key):
    assert inspect.getdoc(find(key))


@pytest.fixture
def plot():
    """Give the function that draws a session of 20 trials for agents; all figures are closed at the end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from spice.resources.bandits import AgentQ, BanditsDrift, create_dataset
    from spice.utils.plotting import plot_session

    dataset, _, _ = create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 20, 1)
    yield lambda key: np.ravel(plot_session({key: AgentQ(seed=1)}, dataset.xs[0])[1])
    plt.close("all")


@pytest.mark.parametrize("key", API["agents"])
def test_agents_of_a_plot(plot, key):
    from matplotlib import colors

    tableau = {name: colors.to_rgb(f"tab:{name}") for name in API["agents"].values()}

    def nearest(drawn):
        return min(tableau, key=lambda name: _distance(colors.to_rgb(drawn), tableau[name]))

    assert API["agents"][key] in {nearest(line.get_color()) for axis in plot(key) for line in axis.get_lines()}


def _distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def test_a_plot_has_a_panel_for_everything_that_is_documented(plot):
    assert len(plot("groundtruth")) >= API["panels"]
