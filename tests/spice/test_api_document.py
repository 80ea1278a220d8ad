"""The table of SPICE's promises, ``reference/spice_api.json``, says what SPICE's own API reference says."""

import ast
import json
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "shared" / "seeds" / "api_reference.txt"
TEXT = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.is_file() else ""
API = json.loads((Path(__file__).parents[1] / "reference" / "spice_api.json").read_text(encoding="utf-8"))
pytestmark = pytest.mark.skipif(not TEXT, reason=f"the seed's API reference is not at {DOCUMENT}")


# --- parsing rules --------------------------------------------------------------------------------------------------


def imports():
    """Names of the import lines: (position, module, name)."""
    return [
        (match.start(), match[1], name.strip())
        for match in re.finditer(r"^from (spice[\w.]*) import (.+)$", TEXT, re.MULTILINE)
        for name in match[2].split(",")
    ]


def owner(position, name):
    """Key of what is described at a position: an imported function, or a method of the class above."""
    before = [(module, imported) for start, module, imported in imports() if start < position]
    for module, imported in reversed(before):
        if imported == name:
            return f"{module}:{name}"
    module, above = [found for found in before if found[1][0].isupper() and not found[1].isupper()][-1]
    return f"{module}:{above}.{name}"


def definitions():
    """Parameters in the lines that start with ``def``, by key; and the names under ``Args:`` below them."""
    signatures, described = {}, {}
    for match in re.finditer(r"^def (\w+)\(", TEXT, re.MULTILINE):
        head, docstring = TEXT[match.start() :].split('"""')[:2]
        # the document writes no colon behind a definition
        arguments = ast.parse(f"{head.strip()}:\n    pass").body[0].args
        names = [[argument.arg] for argument in arguments.args]
        optional = names[len(names) - len(arguments.defaults) :]
        for parameter, default in zip(optional, arguments.defaults, strict=True):
            parameter.append(ast.literal_eval(default))
        key = owner(match.start(), match[1])
        signatures[key] = names
        listed = re.search(r"^Args:\n(.*?)(?=^Returns:|^Note:|\Z)", docstring, re.M | re.S)
        described[key] = re.findall(r"^(\w+): ", listed[1], re.MULTILINE) if listed else []
    return signatures, described


def headings():
    """Arguments in the lines that are a call of a method, or of a function that is imported below, by key."""
    found = {}
    for match in re.finditer(r"^(\w+)\(([\w, ]*)\)$", TEXT, re.MULTILINE):
        after = {name: module for start, module, name in imports() if start > match.start()}
        key = f"{after[match[1]]}:{match[1]}" if match[1] in after else owner(match.start(), match[1])
        found[key] = [name.strip() for name in match[2].split(",") if name.strip()]
    return found


def classes():
    """Lists of parameters of classes, by key; a name is glued to the end of the description before it."""
    found = {}
    for section in re.finditer(r"^Parameters\n(.*?)(?=^Methods$|^\w[\w ]*\nS?PICE comes|\Z)", TEXT, re.M | re.S):
        _, module, name = [one for one in imports() if one[0] < section.start()][-1]
        body = re.split(r"^from spice", section[1], flags=re.MULTILINE)[0]
        found[f"{module}:{name}"] = [(word, _default(kind)) for word, kind in re.findall(r"(\S+)\n\(([^()]*)\):", body)]
    return found


def _default(kind):
    """Return [default], or [] where there is none."""
    if "optional" in kind:
        return [None]
    given = re.search(r"default=([^,]+)$", kind)
    return [ast.literal_eval(given[1])] if given else []


# --- the tests ------------------------------------------------------------------------------------------------------


def test_imports_are_the_documents():
    assert {(module, name) for _, module, name in imports()} == {
        (module, name) for module, names in API["imports"].items() for name in names
    }


def test_functions_are_the_documents():
    signatures, described = definitions()
    assert len(signatures) == len(re.findall(r"^def ", TEXT, re.MULTILINE))
    assert signatures == API["functions"]
    names = {key: [name for name, *_ in parameters] for key, parameters in signatures.items()}
    # it says nothing below where there are no parameters, and a heading may leave them out
    assert described == names
    assert set(headings()) == set(names)
    assert {key: given for key, given in headings().items() if given and given != names[key]} == {}


def test_classes_are_the_documents():
    assert set(classes()) == set(API["classes"])
    for key, written in classes().items():
        assert len(written) == len(API["classes"][key])
        for (word, default), (name, *promised) in zip(written, API["classes"][key], strict=True):
            # nothing but the end of a description stands before the name
            assert re.fullmatch(rf"[A-Za-z]*[).]?{name}", word), (key, word, name)
            assert default == promised, (key, name)


def test_plots_are_the_documents():
    assert dict(re.findall(r"^- \W(\w+)\W: .*\((\w+)\)$", TEXT, re.MULTILINE)) == API["agents"]
    panels = re.search(r"^The plot includes:\n((?:- .*\n)+)", TEXT, re.MULTILINE)[1].splitlines()
    assert len(panels) == API["panels"]
