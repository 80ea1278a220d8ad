"""The pages about the precoded models: their examples run as they stand, and they say what the code does."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from spicestat.models.precoded import PRECODED
from spicestat.pooled.state_signals import KINDS

FOLDER = Path(__file__).parents[2] / "docs" / "models"
HISTORY = FOLDER / "history.md"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem not in ("README", HISTORY.stem))


def python_of(page):
    """All Python blocks of a page, in their order, as one program."""
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_runs_and_prints_its_equations(page):
    printed = io.StringIO()
    program = compile(python_of(page), str(page), "exec")
    with contextlib.redirect_stdout(printed):
        exec(program, {"__name__": page.stem})
    text = printed.getvalue()
    assert any(module in text for module in PRECODED[page.stem][1].rnn_modules)
    assert "nan" not in text.lower()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_class_modules_and_source(page):
    text = page.read_text(encoding="utf-8")
    rnn_class, config = PRECODED[page.stem]
    missing = [name for name in (rnn_class.__name__, *config.rnn_modules) if f"`{name}`" not in text]
    assert not missing
    assert re.search(r"doi:10\.|Source: ", text)
    assert "## When not to use it" in text


def test_the_page_of_history_names_every_signal_and_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed, text = io.StringIO(), HISTORY.read_text(encoding="utf-8")
    with contextlib.redirect_stdout(printed):
        exec(compile(python_of(HISTORY), str(HISTORY), "exec"), {"__name__": "history"})
    assert "HistoryFit: 20 participants" in printed.getvalue()
    named = set(re.findall(r"`([a-z_]+?)(?:_[κan])?`", text))
    assert set(KINDS) <= named
    assert "## When not to use it" in text


def test_every_model_has_a_page_and_a_line_in_the_index():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in PAGES] == sorted(PRECODED)
    lines = dict(re.findall(r"^\| \[`(\w+)`\]\((.*?)\).*?\| `\w+`", index, flags=re.MULTILINE))
    assert lines == {name: f"{name}.md" for name in PRECODED}
    assert all(f"`{rnn_class.__name__}`" in index for rnn_class, _ in PRECODED.values())
