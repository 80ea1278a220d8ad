"""Every name, parameter and default of SPICE's API reference is there; the document's own text drives the tests."""

import ast
import importlib
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import spicestat.compat  # noqa: F401  the names below are imported from `spice`

DOCUMENT = Path(__file__).parents[2] / "shared" / "seeds" / "api_reference.txt"
TEXT = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.is_file() else ""
pytestmark = pytest.mark.skipif(not TEXT, reason=f"the seed's API reference is not at {DOCUMENT}")

NO_DEFAULT = inspect.Parameter.empty


@dataclass
class Documented:
    """A class, function or method of the document: where it is imported from and what it takes."""

    module: str
    path: tuple[str, ...]
    parameters: dict[str, object] = field(default_factory=dict)
    glued: list[tuple[str, object]] = field(default_factory=list)

    def __str__(self):
        return ".".join((self.module, *self.path))

    def find(self):
        found = importlib.import_module(self.module)
        for name in self.path:
            found = getattr(found, name)
        return found


# --- parsing rules --------------------------------------------------------------------------------------------------


def imports(text):
    """Names of the import lines: (position, module, name)."""
    return [
        (match.start(), match[1], name.strip())
        for match in re.finditer(r"^from (spice[\w.]*) import (.+)$", text, re.MULTILINE)
        for name in match[2].split(",")
    ]


def owner(text, position, name):
    """Module and path of what is described at a position: an imported function, or a method of the class above."""
    before = [(module, imported) for start, module, imported in imports(text) if start < position]
    for module, imported in reversed(before):
        if imported == name:
            return module, (name,)
    classes = [(module, imported) for module, imported in before if imported[0].isupper() and not imported.isupper()]
    return classes[-1][0], (classes[-1][1], name)


def definitions(text):
    """Functions and methods of the lines that start with ``def``."""
    found = []
    for match in re.finditer(r"^def (\w+)\(", text, re.MULTILINE):
        # the document writes no colon behind a definition
        source = text[match.start() : text.index('"""', match.start())].strip()
        arguments = ast.parse(f"{source}:\n    pass").body[0].args
        defaults = [NO_DEFAULT] * (len(arguments.args) - len(arguments.defaults))
        defaults += [ast.literal_eval(default) for default in arguments.defaults]
        names = [argument.arg for argument in arguments.args]
        module, path = owner(text, match.start(), match[1])
        found.append(Documented(module, path, dict(zip(names, defaults, strict=True))))
    return found


def headings(text):
    """Functions and methods of the lines that are a call, as ``load_spice(path_rnn, path_spice)``."""
    found = []
    for match in re.finditer(r"^(\w+)\(([\w, ]*)\)$", text, re.MULTILINE):
        # a function's heading stands above its import
        after = {name: module for start, module, name in imports(text) if start > match.start()}
        if match[1] in after:
            module, path = after[match[1]], (match[1],)
        else:
            module, path = owner(text, match.start(), match[1])
        names = [name.strip() for name in match[2].split(",") if name.strip()]
        found.append(Documented(module, path, dict.fromkeys(names, NO_DEFAULT)))
    return found


def classes(text):
    """Classes with a list of parameters; a name is glued to the end of the description before it."""
    found = []
    for section in re.finditer(r"^Parameters\n(.*?)(?=^Methods$|^\w[\w ]*\nS?PICE comes|\Z)", text, re.M | re.S):
        _, module, name = [one for one in imports(text) if one[0] < section.start()][-1]
        body = re.split(r"^from spice", section[1], flags=re.MULTILINE)[0]
        entries = re.findall(r"(\S+)\n\(([^()]*)\):", body)
        glued = [(token, _default(kind)) for token, kind in entries]
        found.append(Documented(module, (name,), glued=glued))
    return found


def _default(kind):
    if "optional" in kind:
        return None
    given = re.search(r"default=([^,]+)$", kind)
    return ast.literal_eval(given[1]) if given else NO_DEFAULT


def described_arguments(text):
    """Names under ``Args:`` in the docstrings, by definition."""
    found = []
    for match in re.finditer(r"^def (\w+)\(", text, re.MULTILINE):
        docstring = text[match.start() :].split('"""')[1]
        arguments = re.search(r"^Args:\n(.*?)(?=^Returns:|^Note:|\Z)", docstring, re.M | re.S)
        if arguments:
            names = re.findall(r"^(\w+): ", arguments[1], re.MULTILINE)
            found.append(Documented(*owner(text, match.start(), match[1]), dict.fromkeys(names, NO_DEFAULT)))
    return found


def agent_keys(text):
    """Return the keys and colours of the agents in a plot."""
    return re.findall(r"^- \W(\w+)\W: .*\((\w+)\)$", text, re.MULTILINE)


def unglue(token, known):
    """Find the parameter at the end of a word, with nothing but the end of a description before it."""
    for start in range(len(token)):
        if token[start:] in known and re.fullmatch(r"[A-Za-z]*[).]?", token[:start]):
            return token[start:]
    return None


# --- the tests ------------------------------------------------------------------------------------------------------


def test_the_document_was_understood():
    """A parsing failure must not pass for a complete API."""
    assert len(imports(TEXT)) >= 12
    assert len(definitions(TEXT)) == len(re.findall(r"^def ", TEXT, re.MULTILINE)) >= 11
    assert len(headings(TEXT)) >= 11
    assert [len(found.glued) for found in classes(TEXT)] == [14, 4]
    assert sum(len(found.parameters) for found in definitions(TEXT)) >= 40
    assert sum(len(found.parameters) for found in described_arguments(TEXT)) >= 40
    assert len(agent_keys(TEXT)) == 4


@pytest.mark.parametrize(("module", "name"), [found[1:] for found in imports(TEXT)])
def test_imports(module, name):
    assert getattr(importlib.import_module(module), name) is not None
    namespace = {}
    exec(f"from {module} import {name}", namespace)
    assert name in namespace


@pytest.mark.parametrize("documented", classes(TEXT), ids=str)
def test_parameters_of_classes(documented):
    known = inspect.signature(documented.find()).parameters
    names = [unglue(token, known) for token, _ in documented.glued]
    missing = [token for (token, _), name in zip(documented.glued, names, strict=True) if name is None]
    assert not missing, f"{documented} takes none of the names at the end of {missing}"
    assert len(set(names)) == len(names)
    defaults = dict(zip(names, (default for _, default in documented.glued), strict=True))
    wrong = {
        name: (known[name].default, default)
        for name, default in defaults.items()
        if default is not NO_DEFAULT and known[name].default != default
    }
    assert not wrong, f"defaults of {documented} (ours, documented): {wrong}"


@pytest.mark.parametrize("documented", definitions(TEXT), ids=str)
def test_parameters_of_functions(documented):
    found = documented.find()
    known = dict(inspect.signature(found).parameters)
    known.pop("self", None)
    names = list(documented.parameters)
    # the documented order works for positional arguments, too
    assert [name for name in known if known[name].kind is not inspect.Parameter.KEYWORD_ONLY][: len(names)] == names
    for name, default in documented.parameters.items():
        if default is not NO_DEFAULT:
            assert known[name].default == default, f"{documented}: default of {name}"
    required = [name for name, parameter in known.items() if parameter.default is NO_DEFAULT]
    optional = [name for name, default in documented.parameters.items() if default is not NO_DEFAULT]
    assert set(required) <= set(names) - set(optional), f"{documented} needs more than is documented"


@pytest.mark.parametrize("documented", [*headings(TEXT), *described_arguments(TEXT)], ids=str)
def test_further_mentions_of_arguments(documented):
    known = inspect.signature(documented.find()).parameters
    assert set(documented.parameters) <= set(known), documented


@pytest.mark.parametrize("documented", [*classes(TEXT), *definitions(TEXT)], ids=str)
def test_everything_is_described(documented):
    assert inspect.getdoc(documented.find())


@pytest.mark.parametrize(("key", "colour"), agent_keys(TEXT))
def test_agents_of_a_plot(key, colour):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import colors
    from matplotlib import pyplot as plt
    from spice.resources.bandits import AgentQ, BanditsDrift, create_dataset
    from spice.utils.plotting import plot_session

    dataset, _, _ = create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 20, 1)
    figure, axes = plot_session({key: AgentQ(seed=1)}, dataset.xs[0])
    drawn = [line.get_color() for axis in np.ravel(axes) for line in axis.get_lines()]
    plt.close(figure)
    documented = [colour for _, colour in agent_keys(TEXT)]

    def nearest(drawn_colour):
        return min(documented, key=lambda name: _distance(colors.to_rgb(drawn_colour), colors.to_rgb(f"tab:{name}")))

    assert colour in {nearest(one) for one in drawn}


def _distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def test_a_plot_has_a_panel_for_everything_that_is_documented():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from spice.resources.bandits import AgentQ, BanditsDrift, create_dataset
    from spice.utils.plotting import plot_session

    listed = re.search(r"^The plot includes:\n((?:- .*\n)+)", TEXT, re.MULTILINE)[1].splitlines()
    assert len(listed) == 6
    dataset, _, _ = create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 20, 1)
    figure, axes = plot_session({"groundtruth": AgentQ(seed=1)}, dataset.xs[0])
    plt.close(figure)
    assert np.size(axes) >= len(listed)
