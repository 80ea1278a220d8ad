"""Lists of models and methods in texts are those of the code."""

import ast
import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from spicestat.group.methods import ols
from spicestat.tasks import TASKS

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "lists.py"))


@pytest.mark.parametrize("file", SCRIPT["LISTS"])
def test_lists_are_up_to_date(file):
    """Else `make lists` has to be run."""
    assert (ROOT / file).read_text(encoding="utf-8") == SCRIPT["up_to_date"](file)


def test_a_list_says_what_the_file_of_a_method_says(monkeypatch):
    monkeypatch.setattr(ols, "METHOD", replace(ols.METHOD, summary="something else"))
    assert "| `ols` | something else |" in SCRIPT["up_to_date"]("docs/group-models.md")


def test_the_call_of_each_task_names_the_columns_that_its_simulator_makes():
    page = (ROOT / "docs" / "task-library.md").read_text(encoding="utf-8")
    sections = page.split("<!-- tasks -->")[1].split("<!-- end of tasks -->")[0].split("### ")[1:]
    assert len(sections) == len(TASKS)
    for section in sections:
        call = ast.parse(re.search(r"`(spice_fit\([^`]*\))`", section).group(1), mode="eval").body
        given = {argument.arg: ast.literal_eval(argument.value) for argument in call.keywords}
        task = TASKS[given.pop("model")]
        assert section.startswith(f"`{task.name}`\n")
        assert given == dict(task.columns)
        assert (ROOT / "docs" / "images" / "tasks" / f"{task.name}.png").is_file()
