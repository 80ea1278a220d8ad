"""docs/parity.md is what the sources of both languages say, and forgets nothing public."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import spicestat
from spicestat.group.result import GroupResult

ROOT = Path(__file__).parents[2]

# containers that R has as lists of tables
_CONTAINERS = {
    "CoefficientTable",
    "Discoveries",
    "GroupResult",
    "HistoryFit",
    "Kernels",
    "LadderResult",
    "SpiceConfig",
    "SpiceFit",
    "TaskFit",
    "TrialTable",
}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", ROOT / "scripts" / "parity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_that_of_the_sources() -> None:
    assert (ROOT / "docs" / "parity.md").read_text(encoding="utf-8") == _script().page(), "run scripts/parity.py"


def test_nothing_public_is_forgotten() -> None:
    script = _script()
    listed = {*script.FUNCTIONS, *script.ELSEWHERE}
    methods = {
        f"GroupResult.{name}"
        for name, value in vars(GroupResult).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    functions = {name for name in spicestat.__all__ if not name.startswith("_")} - _CONTAINERS
    assert (methods | functions) - listed == set()


def test_functions_of_r_are_there_with_their_arguments() -> None:
    found = _script().r_functions()
    assert set(_script().FUNCTIONS.values()) <= set(found)
    assert found["spice_kernels.spice_group"][:2] == ["x", "covariate"]
    assert found["glance.spice_group"] == ["x", "each"]
