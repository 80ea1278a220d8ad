"""What the verbs refuse, completion, `python -m spicestat`, and what the program loads to start."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import spicestat
from spicestat.cli import app

RUN = CliRunner()
HEAVY = ("torch", "pandas", "numpy", "scipy", "matplotlib", "sklearn", "pysindy", "statsmodels", "jax", "pyarrow")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict", "{dir}/fit", "--by", "magic"], 2, "unknown `by`"),
        (["predict", "{dir}/fit", "--out", "{dir}/x.doc"], 1, "x.doc"),
        (["predict", "{dir}/fit", "{dir}/trials.csv.gz", "--set", "sujet=id"], 2, "sujet"),
        (["simulate", "{dir}/fit", "--n-simulations", "0"], 2, "n_simulations"),
        (["power", "{dir}/fit", "nothing", "--effect", "1", "--n-participants", "8", "--n-trials", "60"], 2, "nothing"),
        (["power", "{dir}/fit", "beta", "--effect", "1", "--n-participants", "8"], 2, "--n-trials"),
        (["reliability", "{dir}/fit", "--method", "model"], 2, "model"),
        (["compare", "{dir}/fit"], 2, "two"),
        (["compare", "{dir}/fit", "fit={dir}/fit"], 2, "the same name"),
        (["plot", "{dir}/fit", "--out", "{dir}/x.csv"], 2, "no name of a figure"),
        (["plot", "{dir}/fit", "--kind", "kernels", "--out", "{dir}/x.png"], 2, "people, training"),
        (["plot", "{dir}/nowhere", "--out", "{dir}/x.png"], 1, "nowhere"),
        (["fit", "{dir}/trials.csv.gz", "--participant", "subject", "--model", "{dir}/no.json"], 1, "no.json"),
        (
            ["fit", "{dir}/trials.csv.gz", "--participant", "subject", "--model", "{dir}/bad.json"],
            2,
            "`states` must give",
        ),
        (["fit", "{dir}/trials.csv.gz", "--participant", "subject", "--model", "{dir}/text.json"], 1, "text.json"),
    ],
)
def test_bad_input_is_one_message_and_an_exit_code(folder, arguments, code, message):
    (folder / "bad.json").write_text(json.dumps({"modules": [], "states": "os.system"}))
    (folder / "text.json").write_text("import os")
    done = RUN.invoke(app, [argument.format(dir=folder) for argument in arguments])
    assert done.exit_code == code, done.output
    assert message in done.output
    assert "Traceback" not in done.output


def test_tables_are_printed_where_no_file_is_named(folder):
    done = RUN.invoke(app, ["predict", str(folder / "fit")])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "row,participant,choice,probability,p_1,p_2"
    assert len(done.stdout.splitlines()) == 1 + 10 * 80


def test_columns_of_other_trials_may_be_called_otherwise(folder, tmp_path):
    import pandas as pd

    trials = pd.read_csv(folder / "trials.csv.gz").rename(columns={"subject": "3"})
    trials.to_csv(tmp_path / "later.csv", index=False)
    call = ["predict", str(folder / "fit"), str(tmp_path / "later.csv"), "--set", "participant=3"]
    assert RUN.invoke(app, call).stdout == RUN.invoke(app, ["predict", str(folder / "fit")]).stdout


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_the_module_is_the_program():
    done = run("-m", "spicestat", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, spicestat.__version__)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_finds_commands_and_options(shell):
    words = {"bash": {"COMP_WORDS": "spicestat re", "COMP_CWORD": "1"}}.get(
        shell, {"_TYPER_COMPLETE_ARGS": "spicestat re", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    )
    code = "import sys; sys.argv[0] = 'spicestat'; from spicestat.cli import main; main()"
    done = run("-c", code, _SPICESTAT_COMPLETE=f"complete_{shell}", **words)
    assert "reliability" in done.stdout and "report" in done.stdout, done.stderr
    assert "compare" not in done.stdout


def test_help_and_import_load_nothing_heavy():
    """Both have to answer in a fraction of a second: < .3 s and < .5 s of processor time on the machines measured."""
    code = f"import sys, spicestat, spicestat.cli; print(sorted(set({HEAVY}) & set(sys.modules)))"
    assert run("-c", code).stdout.strip() == "[]"
    code = (
        "import sys\nfrom spicestat.cli import app\n"
        "try: app(['fit', '--help'])\n"
        f"finally: print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    shown = run("-c", code).stdout
    assert "spicestat fit trials.csv" in shown
    assert shown.strip().endswith("[]")
