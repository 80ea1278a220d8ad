"""The README's Python and command-line examples run as they stand."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spicestat.cli import app
from spicestat.simulate import simulate_cohort

README = Path(__file__).parents[2] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs_and_recovers_the_effect(in_tmp):
    (example,) = blocks("python")
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    effect = names["group"].tidy().query("module == 'x_learning_rate_reward' and term == 'anxiety'").iloc[0]
    assert effect["conf_low"] < 0.10 < effect["conf_high"]
    assert (in_tmp / "my-fit" / "coefficients.parquet").is_file()


def test_the_command_line_examples_run(in_tmp):
    cohort = simulate_cohort(8, 80, n_blocks=2)
    cohort.trials.to_csv("trials.csv", index=False)
    cohort.people.to_csv("people.csv", index=False)
    _, commands = blocks("sh")
    lines = [line for line in commands.splitlines() if line.startswith("spicestat ")]
    assert len(lines) == 3
    for line in lines:
        arguments = shlex.split(line)[1:]
        if arguments[0] == "fit":
            arguments.append("--quiet")
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert (in_tmp / "coefficients.csv").is_file() and (in_tmp / "group.csv").is_file()


def test_the_named_targets_exist():
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`)make ([a-z-]+)", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"demo", "test"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
