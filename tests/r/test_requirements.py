"""What R is told about missing and wrong packages, before any is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from spicestat.r.requirements import problems, unmet


def test_this_environment_has_what_it_needs() -> None:
    assert problems() == {"unmet": [], "python": sys.executable}


@pytest.mark.parametrize(
    ("installed", "line", "met"),
    [
        ("1.26.4", "numpy>=1.26", True),
        ("1.25.2", "numpy>=1.26", False),
        ("2.0.0rc1", "numpy (<3,>=1.26)", True),
        ("3.0", "numpy>=1.26,<3", False),
        ("1.9", "numpy>=1.10", False),
        ("2.13.0+cpu", "numpy==2.13", True),
        ("1.26.4", "numpy", True),
        ("0.19.0", 'numpy<1,>=0.20; python_version >= "3.11"', False),
    ],
)
def test_versions_are_compared_by_number(monkeypatch: pytest.MonkeyPatch, installed: str, line: str, met: bool) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: installed)
    assert (unmet([line]) == []) is met


def test_nothing_is_required_of_a_source_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_: str) -> None:
        raise metadata.PackageNotFoundError("spicestat")

    monkeypatch.setattr(metadata, "requires", requires)
    assert problems()["unmet"] == []


def test_no_package_is_imported() -> None:
    code = "import sys; from spicestat.r.requirements import problems; problems(); print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
