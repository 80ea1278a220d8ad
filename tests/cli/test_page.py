"""docs/command-line.md: its examples run as they stand, and it forgets no command."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from spicestat import load_fit, predict_choices, spice_compare, spice_reliability
from spicestat.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def after_the_page(tmp_path_factory):
    """The folder in which all lines of the page were run, and what each of them printed."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for program in blocks("python"):
            exec(compile(program, "command-line.md", "exec"), {})
        for line in "".join(blocks("sh")).splitlines():
            done = CliRunner().invoke(app, shlex.split(line)[1:])
            assert done.exit_code == 0, f"{line}\n{done.output}"
            assert "Traceback" not in done.output
    return folder


def test_every_command_is_listed():
    listed = set(re.findall(r"^\| `spicestat ([a-z]+)`", PAGE, flags=re.MULTILINE))
    assert listed == set(get_command(app).commands)
    used = set(re.findall(r"^spicestat ([a-z]+)", "".join(blocks("sh")), flags=re.MULTILINE))
    assert used == listed - {"demo"}


@pytest.mark.slow
def test_the_examples_write_what_the_functions_return(after_the_page):
    at = after_the_page
    fit, learning, rescorla = (load_fit(at / name) for name in ("fit", "learning", "rescorla"))
    assert {library.module for library in learning.model.equations.libraries} == {"x_learning_rate"}
    expected = {
        "predictions.parquet": predict_choices(fit),
        "reliability.csv": spice_reliability(fit, "odd_even", unit="trial"),
        "compare.csv": spice_compare({"declared": learning, "rescorla": rescorla}).tidy(),
        "simulated.csv": None,
        "power.csv": None,
    }
    for name, frame in expected.items():
        found = pd.read_parquet(at / name) if name.endswith("parquet") else pd.read_csv(at / name)
        if frame is not None:
            pd.testing.assert_frame_equal(found, frame, check_dtype=False, rtol=1e-9)
    assert len(pd.read_csv(at / "simulated.csv")) == 12 * 60 * 2
    assert pd.read_csv(at / "power.csv")["n_simulations"].tolist() == [4]


@pytest.mark.slow
def test_the_ending_says_what_is_written(after_the_page):
    starts = {"ladder.png": b"\x89PNG", "kernels.png": b"\x89PNG", "training.svg": b"<?xml", "forest.pdf": b"%PDF",
              "report.html": b"<!doctype html>"}  # fmt: skip
    for name, start in starts.items():
        assert (after_the_page / name).read_bytes().startswith(start), name
