"""The command line: tables, exit codes, help with examples."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import spicestat
from spicestat import HistoryFit, load_fit, spice_group, spice_ladder
from spicestat.cli import app, main
from spicestat.coefficients import read_coefficients
from spicestat.simulate import simulate_cohort, simulate_diffusion_cohort

RUN = CliRunner()
COMMANDS = sorted(get_command(app).commands)


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


def test_fit_of_history_and_its_group_model(folder, tmp_path):
    arguments = ["fit", str(folder / "trials.csv.gz"), "--participant", "subject", "--block", "block",
                 "--model", "history", "--out", str(tmp_path / "fit")]  # fmt: skip
    done = RUN.invoke(app, [*arguments, "--quiet"])
    assert done.exit_code == 0, done.output
    assert "HistoryFit: 10 participants" in done.output
    assert isinstance(load_fit(tmp_path / "fit"), HistoryFit)
    table = read_coefficients(tmp_path / "fit").frame
    assert {"pooled", "pooled_sd", "shared"} <= set(table)
    refused = RUN.invoke(app, [*arguments, "--epochs", "20", "--quiet"])
    assert refused.exit_code == 2
    assert "epochs" in refused.output


def test_ladder_of_a_fit(folder, tmp_path):
    arguments = ["ladder", str(folder / "fit"), "--rung", "shares", "--rung", "mixed_logit", "--folds", "2", "--quiet"]
    done = RUN.invoke(app, [*arguments, "--out", str(tmp_path / "ladder.csv")])
    assert done.exit_code == 0, done.output
    assert "760 left-out choices of 10 participants, 2 folds over blocks" in done.output
    expected = spice_ladder(load_fit(folder / "fit"), ["shares", "mixed_logit"], folds=2).table
    written = pd.read_csv(tmp_path / "ladder.csv")
    pd.testing.assert_frame_equal(written.drop(columns="seconds"), expected.drop(columns="seconds"), check_dtype=False)
    wrong = RUN.invoke(app, [*arguments, "--over", "trials"])
    assert wrong.exit_code == 2
    assert "unknown `over`" in wrong.output


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
        (["fit", "{dir}/trials.csv.gz", "--participant", "subject", "--model", "choice", "--epochs", "0"], 2, "epochs"),
        (["group", "{dir}/fit", "~ anxiety"], 2, "'anxiety'"),
        (["group", "{dir}/fit", "~ 1", "--method", "x"], 2, "unknown"),
        (["group", "{dir}/fit", "~ 1 + I(__import__('os').getcwd())"], 2, ".getcwd"),
        (["group", "{dir}/fit", "~ 1", "--conf-level", "95"], 2, "write 0.95"),
        (["group", "{dir}/fit", "~ 1", "--method", "meta", "--set", "n_permutations=9"], 2, "estimator, knapp_hartung"),
        (["group", "{dir}/fit", "~ 1", "--method", "meta", "--set", "knapp_hartung=maybe"], 2, "not a boolean"),
        (["group", "{dir}/fit", "~ 1", "--method", "meta", "--set", "estimator"], 2, "--set"),
        (["group", "{dir}/fit", "~ 1", "--set", "links=log", "--set", "links.beta=log"], 2, "--set"),
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
    monkeypatch.setattr("spicestat.cli.fit_commands.shown_progress", interrupting)
    done = RUN.invoke(
        app,
        ["fit", str(folder / "trials.csv.gz"), "--participant", "subject", "--block", "block", "--model",
         "rescorla_wagner", "--epochs", "3", "--out", str(target), "--checkpoint", str(tmp_path / "training")],
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


# --- the machine's troubles -----------------------------------------------------------------------------------------


def run_in_shell(command, **environment):
    """Run a line of the shell in which `spicestat` is the program."""
    program = f"spicestat() {{ {sys.executable} -c 'from spicestat.cli import main; main()' \"$@\"; }}; "
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        ["bash", "-c", program + command], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["coefficients {fit}", "group {fit} '~ 1' --method meta"])
def test_a_full_disk_behind_the_output_is_an_error(folder, command):
    done = run_in_shell(f"spicestat {command.format(fit=folder / 'fit')} > /dev/full")
    assert done.returncode == 1
    assert "error: the output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_size_limit_leaves_the_older_table(folder, tmp_path):
    out = tmp_path / "table.csv"
    assert run_in_shell(f"spicestat coefficients {folder / 'fit'} --out {out}").returncode == 0
    before = out.read_bytes()
    done = run_in_shell(f"ulimit -f 1; spicestat coefficients {folder / 'fit'} --out {out}")
    assert done.returncode == 1
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize("error", [MemoryError("x"), RuntimeError("can't allocate memory: 9"), OSError(12, "x")])
def test_too_little_memory_is_an_error_of_ours(folder, monkeypatch, error):
    def failing(*_args, **_options):
        raise error

    monkeypatch.setattr("spicestat.group.spice_group", failing)
    done = RUN.invoke(app, ["group", str(folder / "fit"), "~ 1"])
    assert done.exit_code == 1
    assert "error: " in done.output


def test_too_little_memory_for_the_message_is_one_line_all_the_same(monkeypatch, capfd):
    def failing():
        raise MemoryError

    monkeypatch.setattr("spicestat.cli.app", failing)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capfd.readouterr().err.startswith("error: there is not enough memory")


def test_settings_of_a_group_method_are_those_of_python(folder, tmp_path):
    out = tmp_path / "table.csv"
    call = ["group", str(folder / "fit"), "~ 1", "--out", str(out)]
    given = ["--set", "links.beta=log", "--set", "integration=laplace", "--set", "max_rounds=30"]
    assert RUN.invoke(app, [*call, *given]).exit_code == 0
    settings = {"links": {"beta": "log"}, "integration": "laplace", "max_rounds": 30}
    expected = spice_group(load_fit(folder / "fit"), "~ 1", **settings).tidy()
    np.testing.assert_allclose(
        pd.read_csv(out).query("effect == 'fixed'")["estimate"], expected["estimate"], rtol=1e-9, atol=0
    )
    given = ["--method", "meta", "--set", "estimator=ML", "--set", "knapp_hartung=False"]
    assert RUN.invoke(app, [*call, *given]).exit_code == 0
    plain = spice_group(load_fit(folder / "fit"), "~ 1", method="meta", estimator="ML", knapp_hartung=False).tidy()
    np.testing.assert_allclose(
        pd.read_csv(out).query("effect == 'fixed'")["std_error"], plain["std_error"], rtol=1e-9, atol=0
    )


def test_a_group_result_is_saved_as_a_whole(folder, tmp_path):
    out = tmp_path / "group"
    done = RUN.invoke(app, ["group", str(folder / "fit"), "~ 1", "--method", "ols", "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = spicestat.load_group(out)
    assert (found.method, found.formula, found.nobs() > 0) == ("ols", "~ 1", True)


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "file/t.csv", "t.doc", "file"])
def test_a_table_that_cannot_be_written_is_found_before_the_work(folder, tmp_path, monkeypatch, name):
    (tmp_path / "file").touch()
    monkeypatch.setattr("spicestat.group.spice_group", lambda *_, **__: pytest.fail("it was computed"))
    done = RUN.invoke(app, ["group", str(folder / "fit"), "~ 1", "--out", str(tmp_path / name)])
    assert done.exit_code == 1
    assert "error: " in done.output


def test_a_fit_that_cannot_be_saved_is_rescued(folder, tmp_path, monkeypatch):
    """The folder was there before the fit, and is not after it."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    real = spicestat.spice_fit

    def fitting(*arguments, **options):
        out.write_text("in the way")
        return real(*arguments, **options)

    monkeypatch.setattr("spicestat.fit.api.spice_fit", fitting)
    done = RUN.invoke(
        app,
        ["fit", str(folder / "trials.csv.gz"), "--participant", "subject", "--epochs", "2", "--quiet",
         "--model", "rescorla_wagner", "--out", str(out / "fit")],
    )  # fmt: skip
    assert done.exit_code == 1
    assert "instead" in done.output
    (rescued,) = tmp_path.glob("spicestat-rescued-*/fit")
    assert read_coefficients(rescued).terms


@pytest.mark.parametrize("seed", ["-1", "9" * 400, "4294967296"])
def test_seeds_out_of_range_are_refused(folder, tmp_path, seed):
    for command in (["fit", str(folder / "trials.csv.gz"), "--participant", "subject"], ["demo"]):
        done = RUN.invoke(app, [*command, "--seed", seed, "--out", str(tmp_path / "out"), "--quiet"])
        assert done.exit_code == 2
        assert "Traceback" not in done.output


def test_an_empty_checkpoint_is_refused(folder, tmp_path):
    done = RUN.invoke(app, ["fit", str(folder / "trials.csv.gz"), "--out", str(tmp_path / "o"), "--checkpoint", ""])
    assert done.exit_code == 2
    assert "--checkpoint is empty" in done.output


def test_missing_values_files_per_participant_and_remedies_as_options(tmp_path):
    cohort = simulate_cohort(3, 40, n_blocks=2, seed=1)
    trials = cohort.trials.assign(age=lambda d: d["participant"].str[1:].astype(int) + 30)
    trials["choice"] = trials["choice"].where(np.arange(len(trials)) % 12 != 5, -1)
    trials["reward"] = trials["reward"].where(trials["choice"] > 0, 0)
    for person, own in trials.groupby("participant"):
        own.drop(columns="participant").to_csv(tmp_path / f"{person}.csv", sep=";", index=False)
    files = [str(tmp_path / f"p{number}.csv") for number in (1, 2, 3)]
    rest = ["--block", "block", "--trial", "trial", "--epochs", "5", "--quiet", "--model", "rescorla_wagner"]
    noticed = RUN.invoke(app, ["fit", *files, *rest, "--out", str(tmp_path / "noticed")])
    assert "pass --missing choice=-1; if it is an action, --missing choice=" in noticed.output
    done = RUN.invoke(app, ["fit", *files, *rest, "--missing", "choice=-1", "--out", str(tmp_path / "fit")])
    assert done.exit_code == 0, done.output
    # only the network, of a few epochs, is complained of
    warned = [line for line in done.output.splitlines() if line.startswith("warning")]
    assert all("predicts worse" in line for line in warned)
    fit = load_fit(tmp_path / "fit")
    assert (fit.trials.participants, fit.trials.actions) == (("p1", "p2", "p3"), ("1", "2"))
    assert fit.trials.record["n_missing_choices"] == (trials["choice"] == -1).sum()


def test_group_reads_r_s_names_and_missing_covariates(tmp_path):
    ids = [f"{number:03d}" for number in range(12)]
    own = pd.DataFrame({"effect": "ran_coefs", "group": "participant", "level": ids, "component": "beta", "term": "x",
                        "estimate": np.linspace(1, 2, 12) + 0.05 * (-1.0) ** np.arange(12), "std.error": 0.1,
                        "present": True, "n.trials": 90, "converged": True, "at.bound": False})  # fmt: skip
    own.to_csv(tmp_path / "tidy.csv", index=False, na_rep="NA")
    people = pd.DataFrame({"id": ids, "age": [30, 44, 35, -99, 41, 28, 52, 33, 47, 38, 29, 36]})
    people.to_csv(tmp_path / "people.csv", index=False)
    call = ["group", str(tmp_path / "tidy.csv"), "~ age", "--covariates", str(tmp_path / "people.csv")]
    call += ["--participant", "id"]
    refused = RUN.invoke(app, call)
    assert refused.exit_code == 2
    assert "pass --missing age=-99; if it is real, --missing age= says so" in refused.output
    done = RUN.invoke(app, [*call, "--missing", "age=-99", "--out", str(tmp_path / "group.csv")])
    assert done.exit_code == 0, done.output
    ours = own.rename(columns={"level": "participant", "component": "module", "std.error": "std_error"}).drop(index=3)
    columns = ["participant", "module", "term", "estimate", "std_error"]
    expected = spice_group(ours[columns], "~ age", data=people.rename(columns={"id": "participant"}).drop(index=3))
    found = pd.read_csv(tmp_path / "group.csv").query("effect == 'fixed'")
    np.testing.assert_allclose(found["estimate"], expected.tidy()["estimate"])


def test_occasions_and_random_parts(folder, tmp_path):
    trials = pd.read_csv(folder / "trials.csv.gz")
    trials["drug"] = np.where(trials["block"] <= trials["block"].median(), "placebo", "verum")
    trials.to_csv(tmp_path / "trials.csv", index=False)
    people = pd.read_csv(folder / "people.csv").rename(columns={"participant": "subject"})
    people.assign(site=[f"site {row % 3}" for row in range(len(people))]).to_csv(tmp_path / "people.csv", index=False)
    pd.DataFrame({"site": ["site 0", "site 1", "site 2"], "beds": [3.0, 5.0, 4.0]}).to_csv(
        tmp_path / "sites.csv", index=False
    )
    tables = [f"{option}={tmp_path / name}.csv" for option in ("--people",) for name in ("people", "sites")]
    done = RUN.invoke(
        app,
        ["fit", str(tmp_path / "trials.csv"), "--participant", "subject", "--block", "block", "--trial", "trial",
         "--occasion", "drug", *tables, "--out", str(tmp_path / "fit"), "--quiet"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    listed = RUN.invoke(app, ["coefficients", str(tmp_path / "fit")])
    assert listed.stdout.startswith("participant,drug,module,term")
    formula = "~ drug + beds + (1 | participant)"
    shown = RUN.invoke(app, ["group", str(tmp_path / "fit"), formula, "--out", str(tmp_path / "table.csv"), "--quiet"])
    assert shown.exit_code == 0, shown.output
    expected = spice_group(load_fit(tmp_path / "fit"), formula).coefficients
    found = pd.read_csv(tmp_path / "table.csv")
    np.testing.assert_allclose(found["estimate"], expected["estimate"], rtol=1e-12)
    refused = RUN.invoke(app, ["group", str(tmp_path / "fit"), "~ drug", "--quiet"])
    assert refused.exit_code == 2
    assert "add (1 | participant)" in refused.output


def test_roles_of_what_is_on_the_screen(tmp_path):
    rng = np.random.default_rng(2)
    n = 5 * 60
    items = np.array([rng.permutation(list("ABC"))[:2] for _ in range(n)])
    side = rng.integers(0, 2, n)
    trials = pd.DataFrame(
        {
            "participant": np.repeat(list("vwxyz"), 60),
            "left": items[:, 0],
            "right": items[:, 1],
            "resp": np.array(["l", "r"])[side],
            "item": items[np.arange(n), side],
            "won": rng.integers(0, 2, n),
            "lost": rng.integers(0, 2, n),
            "load": rng.integers(2, 5, n),
            "cue": rng.integers(0, 3, n),
            "told": np.tile(np.arange(60) < 5, 5),
        }
    )
    trials.to_csv(tmp_path / "trials.csv", index=False)
    calls = {
        "places": ["--choice", "resp", "--option", "l=left", "--option", "r=right", "--reward", "won"],
        "items": ["--choice", "item", "--option", "left", "--option", "right", "--reward", "won", "--foregone", "lost"],
        "cues": ["--choice", "resp", "--stimulus", "cue", "--context", "load", "--forced", "told",
                 "--gain", "won", "--loss", "lost"],
        "offers": ["--choice", "resp", "--no-reward", "--attribute", "a=load", "--attribute", "a=cue"],
    }  # fmt: skip
    same = {
        "places": {"choice": "resp", "options": {"l": "left", "r": "right"}, "reward": "won"},
        "items": {"choice": "item", "options": ["left", "right"], "reward": "won", "foregone": "lost"},
        "cues": {
            "choice": "resp",
            "stimulus": "cue",
            "context": "load",
            "forced": "told",
            "gain": "won",
            "loss": "lost",
        },
        "offers": {"choice": "resp", "reward": None, "attributes": {"a": ["load", "cue"]}},
    }
    for name, options in calls.items():
        drop = {"places": ["item", "cue"], "items": ["resp", "cue"], "cues": ["item", "left", "right"]}
        path = tmp_path / f"{name}.csv"
        trials.drop(columns=drop.get(name, ["item", "left", "right"])).to_csv(path, index=False)
        done = RUN.invoke(app, ["fit", str(path), *options, "--out", str(tmp_path / name), "--quiet"])
        assert done.exit_code == 0, done.output
        found = load_fit(tmp_path / name)
        pd.testing.assert_frame_equal(found.tidy(), spicestat.spice_fit(path, **same[name]).tidy())
    wrong = {
        "`--option` cannot be read": ["--option", "l=left", "--option", "right"],
        "`--attribute` cannot be read": ["--attribute", "load"],
        "exclude each other": ["--no-reward", "--reward", "won"],
    }
    for message, options in wrong.items():
        refused = RUN.invoke(app, ["fit", str(tmp_path / "trials.csv"), "--out", str(tmp_path / "no"), *options])
        assert refused.exit_code == 2 and message in " ".join(refused.output.split())
