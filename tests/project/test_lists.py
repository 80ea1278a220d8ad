"""Lists of models and methods in texts are those of the code."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from spicestat.group.methods import ols

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "lists.py"))


@pytest.mark.parametrize("file", SCRIPT["LISTS"])
def test_lists_are_up_to_date(file):
    """Else `make lists` has to be run."""
    assert (ROOT / file).read_text(encoding="utf-8") == SCRIPT["up_to_date"](file)


def test_a_list_says_what_the_file_of_a_method_says(monkeypatch):
    monkeypatch.setattr(ols, "METHOD", replace(ols.METHOD, summary="something else"))
    assert "| `ols` | something else |" in SCRIPT["up_to_date"]("docs/group-models.md")
