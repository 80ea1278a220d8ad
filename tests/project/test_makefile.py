"""`make` where the home folder cannot be written to: what wants to write there writes into build/."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def home_in_recipes(tmp_path, home):
    """The HOME that a recipe sees, with the Makefile in an empty folder."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "show.mk").write_text('include Makefile\nshow:\n\t@echo "$$HOME"\n', encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "HOME"))}
    command = ["make", "-s", "-f", "show.mk", "show"]
    done = subprocess.run(command, cwd=tmp_path, env=environment | home, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.mark.parametrize("home", [{"HOME": "/proc/nowhere"}, {"HOME": ""}, {}], ids=["unwritable", "empty", "unset"])
def test_a_home_that_cannot_be_written_to_is_replaced(tmp_path, home):
    found = home_in_recipes(tmp_path, home)
    assert found == tmp_path / "build" / "home"
    assert found.is_dir()


def test_a_home_that_can_be_written_to_stays(tmp_path):
    home = tmp_path / "own"
    home.mkdir()
    assert home_in_recipes(tmp_path, {"HOME": str(home)}) == home
    assert not (tmp_path / "build").exists()
