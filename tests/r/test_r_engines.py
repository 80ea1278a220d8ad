"""Mixed models through R: the boundary with stand-ins for R, and the engines where R is installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, CovariateError, DataError, FormulaError, NestedRError, REngineError
from spicestat.group.inference.rows import COLUMNS
from spicestat.group.numerics.random_intercept import random_intercept
from spicestat.r.mixed_models import long_table, r_mixed_model
from spicestat.r.run_r import find_backend, run_program

FORMULA = "~ 0 + equation + equation:age + (1 | participant)"
AWKWARD = ["NA", 'with "quotes"', "comma, here", "Zoë", "\\N2", " spaces "]


@lru_cache
def installed(package):
    if shutil.which("Rscript") is None:
        return False
    code = f'quit(status = !nzchar(system.file(package = "{package}")))'
    return subprocess.run(["Rscript", "--vanilla", "-e", code], capture_output=True, check=False).returncode == 0


def needs(package):
    if not installed(package):
        pytest.skip(f"R with {package} is not installed")


def cohort(n=24):
    rng = np.random.default_rng(11)
    ids = AWKWARD + [f"s{row}" for row in range(n - len(AWKWARD))]
    people = pd.DataFrame({"participant": ids, "age": rng.uniform(20, 60, n), "drug": rng.random(n) < 0.5})
    people["diagnosis"] = np.where(np.arange(n) % 2 == 0, "healthy", "bipolar")
    u = rng.normal(size=n)
    frames = [
        pd.DataFrame(
            {
                "participant": ids,
                "module": module,
                "term": term,
                "estimate": 0.5 + 0.02 * people["age"] + u + 0.6 * rng.normal(size=n),
                "std_error": rng.uniform(0.1, 0.4, n),
            }
        )
        for module, term in (("x_value", "reward"), ("beta", "x_value"))
    ]
    return pd.concat(frames, ignore_index=True), people


@lru_cache
def fitted(engine, weights="none"):
    needs(engine)
    frame, people = cohort()
    return r_mixed_model(frame, FORMULA, people, engine=engine, weights=weights, backend="rscript")


def ours():
    frame, people = cohort()
    age = people["age"].to_numpy()
    D = np.zeros((48, 4))
    D[:24, 0], D[24:, 1], D[:24, 2], D[24:, 3] = 1, 1, age, age
    return random_intercept(frame["estimate"].to_numpy(), D, np.tile(np.arange(24), 2))


@pytest.mark.parametrize("engine", ["lmerTest", "lme4", "glmmTMB"])
def test_engines_give_the_random_intercept_model(engine):
    model, expected = fitted(engine), ours()
    tidy = model.tidy()
    assert tuple(tidy.columns) == COLUMNS
    assert list(zip(tidy["module"], tidy["sparse_term"], tidy["term"], strict=True)) == [
        ("x_value", "reward", "(Intercept)"),
        ("beta", "x_value", "(Intercept)"),
        ("x_value", "reward", "age"),
        ("beta", "x_value", "age"),
    ]
    np.testing.assert_allclose(tidy["estimate"], expected.beta, rtol=1e-5)
    # glmmTMB's errors include the uncertainty of the variances
    np.testing.assert_allclose(
        tidy["std_error"], np.sqrt(np.diag(expected.covariance)), rtol=0.02 if engine == "glmmTMB" else 1e-5
    )
    np.testing.assert_allclose(np.sqrt(np.diag(model.covariance)), tidy["std_error"], rtol=1e-9)
    spread = model.tidy("ran_pars").set_index("term")["estimate"]
    np.testing.assert_allclose(spread["sd__(Intercept)"], expected.sd_group, rtol=1e-4)
    np.testing.assert_allclose(spread["sd__Observation"], expected.sd_residual, rtol=1e-4)
    glance = model.glance().iloc[0]
    assert (glance["nobs"], glance["engine"], glance["singular"], glance["converged"]) == (48, engine, False, True)
    np.testing.assert_allclose(glance["log_lik"], expected.log_likelihood, rtol=1e-7)


def test_lmertest_gives_satterthwaites_tests_and_lme4_none():
    np.testing.assert_allclose(fitted("lmerTest").tidy()["df"], ours().df, rtol=1e-4)
    assert fitted("lmerTest").tidy()["p_value"].between(0, 1).all()
    assert fitted("lme4").tidy()["p_value"].isna().all()
    assert fitted("lme4").tidy()["conf_low"].isna().all()


def test_participants_labels_survive_the_way_through_r():
    values = fitted("lme4").tidy("ran_vals")
    assert values["level"].tolist() == cohort()[1]["participant"].tolist()
    assert (values["std_error"] > 0).all()


def test_precision_weights_move_the_estimates():
    plain, weighted = fitted("lme4").tidy()["estimate"], fitted("lme4", "inverse_variance").tidy()["estimate"]
    assert np.abs(plain - weighted).max() > 1e-4


def test_what_r_complains_of_is_the_error():
    needs("lme4")
    frame, people = cohort()
    with pytest.raises(REngineError, match="nobody"):
        r_mixed_model(frame, "~ nobody + (1 | participant)", people, engine="lme4", backend="rscript")


def test_rpy2_gives_what_rscript_gives():
    # in a process of its own: R within this one would change how it handles signals
    needs("lme4")
    if importlib.util.find_spec("rpy2") is None:
        pytest.skip("rpy2 is not installed")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_r_engines as t\n"
        "from spicestat.r.mixed_models import r_mixed_model\n"
        "frame, people = t.cohort()\n"
        "model = r_mixed_model(frame, t.FORMULA, people, engine='lme4', backend='rpy2')\n"
        "print(*[repr(float(value)) for value in model.tidy()['estimate']])"
    )
    here = str(Path(__file__).parent)
    ran = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=False)
    if "rpy2 cannot be used" in ran.stderr:
        pytest.skip("this rpy2 does not fit this R")
    assert ran.returncode == 0, ran.stderr
    values = [float(value) for value in ran.stdout.split()]
    np.testing.assert_allclose(values, fitted("lme4").tidy()["estimate"], rtol=1e-12)


def stand_in(tmp_path, monkeypatch, body):
    """Put a shell script called Rscript first on the path; $folder is where the program's files are."""
    program = tmp_path / "bin" / "Rscript"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nfor last; do :; done\nfolder=$(dirname "$last")\n{body}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("body", "match"),
    [
        (
            "printf \"missing\\nthe R package 'lme4' is not installed\\n\" > $folder/error.txt",
            r'install.packages\("lme4"\)',
        ),
        ("printf 'failed\\nboundary\\n' > $folder/error.txt", "could not fit the model: boundary"),
        ("echo it broke >&2; exit 3", "status 3: it broke"),
    ],
)
def test_failures_of_r_are_told_apart(tmp_path, monkeypatch, body, match):
    stand_in(tmp_path, monkeypatch, body)
    frame, people = cohort()
    with pytest.raises(REngineError, match=match):
        r_mixed_model(frame, FORMULA, people, engine="lme4", backend="rscript")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_the_program_gets_its_folder(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, 'head -n 1 "$last" > $folder/seen.txt')
    program = tmp_path / "p.R"
    program.write_text("cat(folder)", encoding="utf-8")
    run_program(program, tmp_path, "rscript")
    assert (tmp_path / "seen.txt").read_text(encoding="utf-8").strip() == f'folder <- "{tmp_path}"'


def test_without_r_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(REngineError, match="install R"):
        find_backend("rscript")


def test_without_rpy2_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rpy2", None)
    monkeypatch.setitem(sys.modules, "rpy2.rinterface", None)
    with pytest.raises(REngineError, match="rpy2-rinterface"):
        find_backend("rpy2")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_inside_r_rpy2_is_refused_and_a_child_process_is_not(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "exit 0")
    monkeypatch.setenv("R_SESSION_INITIALIZED", f'PID={os.getpid()}:NAME="reticulate"')
    with pytest.raises(NestedRError, match="abort"):
        find_backend("rpy2")
    assert callable(find_backend("auto"))


@pytest.mark.skipif(shutil.which("Rscript") is None or not installed("reticulate"), reason="needs R with reticulate")
def test_a_real_session_of_reticulate_is_recognised():
    code = (
        "library(reticulate); py_run_string('import sys; sys.path.insert(0, \".\")');"
        "cat(import('spicestat.r.run_r')$within_r())"
    )
    environment = {**os.environ, "RETICULATE_PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, env=environment, check=False)
    if "Python shared library" in ran.stderr:
        pytest.skip("this Python cannot be embedded")
    assert ran.stdout.strip().endswith("TRUE"), ran.stderr


def test_long_table_drops_what_is_unusable_and_keeps_types():
    frame, people = cohort()
    frame["at_bound"] = False
    frame.loc[0, "at_bound"] = True
    frame.loc[1, "std_error"] = np.nan
    table = CoefficientTable.from_frame(frame)
    assert len(long_table(table, people)) == 47
    long = long_table(table, people, needs_std_error=True)
    assert len(long) == 46
    assert long["drug"].dtype == bool
    # the first participant's first coefficient is at a bound, the second one's has no standard error
    assert long["participant"].tolist()[:2] == [AWKWARD[0], AWKWARD[1]]
    assert long["equation"].tolist()[:3] == ["beta:x_value", "beta:x_value", "x_value:reward"]
    with pytest.raises(CovariateError, match="module"):
        long_table(table, people.assign(module=1))
    with pytest.raises(DataError, match="no coefficient"):
        long_table(CoefficientTable.from_frame(frame.assign(at_bound=True)), people)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"engine": "nlme"}, ConfigError),
        ({"weights": "yes"}, ConfigError),
        ({"weights": "inverse_variance", "engine": "glmmTMB"}, ConfigError),
        ({"conf_level": 95}, ConfigError),
        ({"backend": "radian"}, ConfigError),
        ({"formula": "age"}, FormulaError),
    ],
)
def test_settings_are_checked(options, error):
    frame, people = cohort()
    with pytest.raises(error):
        r_mixed_model(frame, options.pop("formula", FORMULA), people, **options)


@pytest.mark.parametrize(
    "formula",
    [
        "~ equation + I(age * 0 + system('touch MARK')) + (1 | participant)",
        "~ equation + (function() age)() + (1 | participant)",
        "~ equation + base::log(age) + (1 | participant)",
        "~ equation; file.create('MARK')",
        "~ equation + (1 | participant) + eval(parse(text = 'file.create(\"MARK\")'))",
        "estimate ~ get('system')('touch MARK')",
    ],
)
def test_a_formula_is_not_run_by_r(formula, tmp_path, monkeypatch):
    needs("lme4")
    frame, people = cohort()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormulaError, match="formula"):
        r_mixed_model(frame, formula, people, engine="lme4", backend="rscript")
    assert not list(tmp_path.iterdir())
