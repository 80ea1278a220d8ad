"""The command line: tables, exit codes, help with examples."""

import os
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import spicestat
from spicestat.cli import app
from spicestat.equations.coefficients import read_coefficients
from spicestat.simulate import simulate_cohort, simulate_diffusion_cohort

RUN = CliRunner()
COMMANDS = ("fit", "group", "coefficients", "demo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trials, people, and the fit that the command line made of them."""
    path = tmp_path_factory.mktemp("cli")
    cohort = simulate_cohort(10, 80, n_blocks=2, seed=3)
    cohort.trials.rename(columns={"participant": "subject"}).to_csv(path / "trials.csv.gz", index=False)
    cohort.people.to_csv(path / "people.csv", index=False)
    done = RUN.invoke(
        app,
        ["fit", str(path / "trials.csv.gz"), "--participant", "subject", "--block", "block", "--trial", "trial",
         "--epochs", "30", "--out", str(path / "fit"), "--quiet"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return path


def test_fit_reads_response_times(tmp_path):
    cohort = simulate_diffusion_cohort(3, 60, seed=1)
    cohort.trials.rename(columns={"rt": "seconds"}).to_csv(tmp_path / "trials.csv", index=False)
    arguments = ["fit", str(tmp_path / "trials.csv"), "--block", "block", "--epochs", "5", "--quiet",
                 "--model", "drift_diffusion", "--out", str(tmp_path / "fit")]  # fmt: skip
    done = RUN.invoke(app, [*arguments, "--rt", "seconds"])
    assert done.exit_code == 0, done.output
    terms = read_coefficients(tmp_path / "fit").terms
    assert ("beta", "boundary") in terms and ("beta", "non_decision_time") in terms
    without = RUN.invoke(app, arguments)
    assert without.exit_code == 2
    assert "needs response times" in without.output


def test_fit_goes_on_from_a_checkpoint_outside_of_the_fit(folder, tmp_path):
    arguments = ["fit", str(folder / "trials.csv.gz"), "--participant", "subject", "--epochs", "4", "--quiet",
                 "--model", "rescorla_wagner", "--out", str(tmp_path / "fit")]  # fmt: skip
    for inside in ("fit", "fit/checkpoint"):
        refused = RUN.invoke(app, [*arguments, "--checkpoint", str(tmp_path / inside)])
        assert refused.exit_code == 2 and "name another --checkpoint" in refused.output
    for _ in range(2):
        done = RUN.invoke(app, [*arguments, "--checkpoint", str(tmp_path / "training")])
        assert done.exit_code == 0, done.output
    other = RUN.invoke(app, [*arguments, "--checkpoint", str(tmp_path / "training"), "--seed", "1"])
    assert other.exit_code == 1
    assert "another training run" in other.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    shown = RUN.invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"spicestat {command}" in shown.output and "Example" in shown.output


def test_version():
    assert RUN.invoke(app, ["--version"]).output.strip() == spicestat.__version__


def test_coefficients_writes_the_contract(folder):
    done = RUN.invoke(app, ["coefficients", str(folder / "fit"), "--out", str(folder / "table.csv")])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(folder / "table.csv")
    assert list(table)[:5] == ["participant", "module", "term", "estimate", "std_error"]
    assert table["participant"].nunique() == 10
    printed = RUN.invoke(app, ["coefficients", str(folder / "fit")])
    assert printed.output.splitlines()[0].startswith("participant,module,term,estimate")


@pytest.mark.parametrize("method", ["meta", "mixed", "ols"])
def test_group_reads_a_fit_folder_and_a_csv_alike(folder, method):
    tables = []
    for source in (folder / "fit", folder / "table.csv"):
        out = folder / f"group-{source.suffix}.csv"
        done = RUN.invoke(
            app,
            ["group", str(source), "~ anxiety", "--covariates", str(folder / "people.csv"), "--method", method,
             "--out", str(out)],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        tables.append(pd.read_csv(out))
    first, second = (table.select_dtypes("number").to_numpy() for table in tables)
    np.testing.assert_allclose(first, second, rtol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "{dir}/trials.csv.gz"], 2, "has no column 'participant'"),
        (["fit", "{dir}/nothing.csv"], 1, "no file"),
        (["fit", "{dir}/trials.csv.gz", "--participant", "subject", "--model", "x"], 2, "unknown model"),
        (["fit", "{dir}/trials.csv.gz", "--participant", "subject", "--epochs", "0"], 2, "epochs"),
        (["group", "{dir}/fit", "~ anxiety"], 2, "'anxiety'"),
        (["group", "{dir}/fit", "~ 1", "--method", "x"], 2, "unknown"),
        (["group", "{dir}/nowhere.csv", "~ 1"], 1, "no file"),
        (["coefficients", "{dir}"], 1, "no fit or coefficients folder"),
        (["group"], 2, "Missing argument"),
    ],
)
def test_bad_input_is_one_message_and_an_exit_code(folder, arguments, code, message):
    done = RUN.invoke(app, [argument.format(dir=folder) for argument in arguments])
    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output


def test_warnings_are_shown_and_do_not_fail(folder):
    people = pd.read_csv(folder / "people.csv")
    people.loc[0, "anxiety"] = np.nan
    people.to_csv(folder / "gap.csv", index=False)
    done = RUN.invoke(app, ["group", str(folder / "fit"), "~ anxiety", "--covariates", str(folder / "gap.csv")])
    assert done.exit_code == 0
    assert "warning: 1 of 10 participants lack 'anxiety'" in done.output


@pytest.mark.parametrize("stage", ["rnn", "equations", "refit"])
def test_ctrl_c_in_a_fit_leaves_the_older_fit_and_exits_with_130(folder, tmp_path, monkeypatch, stage):
    @contextmanager
    def interrupting(_quiet):
        yield lambda at, *_: at == stage and os.kill(os.getpid(), signal.SIGINT)

    target = shutil.copytree(folder / "fit", tmp_path / "fit")
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    monkeypatch.setattr("spicestat.cli._progress", interrupting)
    done = RUN.invoke(
        app,
        ["fit", str(folder / "trials.csv.gz"), "--participant", "subject", "--block", "block", "--epochs", "3",
         "--out", str(target), "--checkpoint", str(tmp_path / "training")],
    )  # fmt: skip
    assert done.exit_code == 130, done.output
    assert "interrupted" in done.output
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["training.safetensors"]


def test_interrupt_exits_with_130(folder, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("spicestat.group.spice_group", interrupted)
    done = RUN.invoke(app, ["group", str(folder / "fit"), "~ 1"])
    assert done.exit_code == 130
