"""The pages in docs/: their examples run as they stand, and their links lead somewhere."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# those about models have tests/project/test_model_pages.py
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem not in {"clients", "decisions", "parity"})
TEXTS = [ROOT / "README.md", ROOT / "r-package" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
VIGNETTES = sorted((ROOT / "vignettes").glob("*.Rmd"))
SHIPPED = sorted((ROOT / "r-package" / "vignettes").glob("*.Rmd"))


def blocks(path, start):
    return re.findall(rf"^```{start}.*?\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def as_before(tmp_path, monkeypatch):
    """Run in an empty folder, draw figures in memory, and leave NumPy's global state alone."""
    import matplotlib
    import numpy as np
    from matplotlib import pyplot as plt

    monkeypatch.chdir(tmp_path)
    state, backend = np.random.get_state(), matplotlib.get_backend()  # noqa: NPY002
    matplotlib.use("Agg")
    yield
    plt.close("all")
    matplotlib.use(backend)
    np.random.set_state(state)  # noqa: NPY002


# so few trials and epochs do not identify everybody's coefficients
@pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")
@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_run(page, capsys):
    programs = blocks(page, "python")
    assert programs
    exec(compile("\n".join(programs), str(page), "exec"), {"__name__": page.stem})
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [*TEXTS, *VIGNETTES], ids=lambda page: page.name)
def test_named_files_exist(page):
    named = re.findall(r"`((?:docs|vignettes|tests|benchmarks|scripts)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_decisions_are_numbered():
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", text, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert text.count("**Decision.**") + text.count("\n## 10.") >= len(numbers)


@pytest.mark.parametrize("page", SHIPPED, ids=lambda page: page.name)
def test_the_r_package_ships_vignettes_as_they_are_now(page):
    """Else `make prebuild-vignettes` has to be run; `make vignettes` runs the sources."""
    source = ROOT / "vignettes" / page.name
    fingerprint = hashlib.md5(source.read_bytes(), usedforsecurity=False).hexdigest()
    text = page.read_text(encoding="utf-8")
    assert f"md5 {fingerprint} " in text
    figures = re.findall(r'src="(figures/[^"]+)"', text)
    assert figures
    assert [figure for figure in figures if not (page.parent / figure).is_file()] == []
