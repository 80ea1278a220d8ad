"""Run R from Python: a program and its files, through a child process (Rscript) or in this process (rpy2)."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from spicestat.errors import ConfigError, FormulaError, NestedRError, REngineError

__all__ = ["BACKENDS", "find_backend", "run_program", "within_r"]

BACKENDS = ("auto", "rscript", "rpy2")
"""``rscript``: a child process, which cannot take Python down with it. ``rpy2``: R within this process."""

_FORMULAS = (
    "+ - * / : ^ | %in%, comparisons, and abs, c, C, exp, expm1, factor, I, log, log10, log1p, log2, poly, scale, sqrt "
    "of columns and numbers"
)


def within_r(modules: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether this Python runs inside R, as reticulate starts it; rpy2 would then abort the process.

    Parameters
    ----------
    modules, environment : mapping, optional
        Default: ``sys.modules`` and ``os.environ``.

    Examples
    --------
    >>> within_r({}, {}), within_r({"rpytools": None}, {})
    (False, True)
    >>> within_r({}, {"R_SESSION_INITIALIZED": f"PID={os.getpid()}:NAME='reticulate'"})
    True
    """
    loaded = sys.modules if modules is None else modules
    session = (os.environ if environment is None else environment).get("R_SESSION_INITIALIZED", "")
    return "rpytools" in loaded or f"PID={os.getpid()}" in session.split(":")


def find_backend(backend: str = "auto") -> Callable[[Path], None]:
    """Return what runs an R file: "auto" takes Rscript where it is found, otherwise rpy2.

    Raises
    ------
    ConfigError
        The backend is unknown.
    NestedRError
        rpy2 is asked for while Python runs inside R.
    REngineError
        R or rpy2 is not there.
    """
    if backend not in BACKENDS:
        raise ConfigError("unknown `backend`", got=backend, allowed=", ".join(BACKENDS))
    program = shutil.which("Rscript")
    if backend == "rscript" or (backend == "auto" and (program is not None or within_r())):
        if program is None:
            raise REngineError(
                "the program Rscript is not on the path", do="install R, or add its folder to the environment's PATH"
            )
        return _child_process(program)
    if within_r():
        raise NestedRError(
            "R cannot be started from Python inside R: it would abort the process",
            do='use backend="rscript", or fit the model in R itself',
        )
    return _embedded()


def run_program(program: Path, folder: Path, backend: str = "auto") -> None:
    """Run an R program, which finds its files in the R variable ``folder``.

    Raises
    ------
    REngineError
        R is missing, a package is missing, or the program fails; the message is R's.
    FormulaError
        The formula holds anything that is not of the language of formulas.
    """
    run = find_backend(backend)
    place = str(folder).replace("\\", "/").replace('"', '\\"')
    file = folder / "program.R"
    file.write_text(f'folder <- "{place}"\n' + program.read_text(encoding="utf-8"), encoding="utf-8")
    run(file)
    problem = folder / "error.txt"
    if problem.is_file():
        kind, message = [*problem.read_text(encoding="utf-8").splitlines(), "", ""][:2]
        if kind == "missing":
            package = message.split("'")[1] if message.count("'") == 2 else "the package"
            raise REngineError(message, do=f'run install.packages("{package}") in R')
        if kind == "formula":
            raise FormulaError(message, allowed=_FORMULAS, do="compute the column in the table first")
        raise REngineError(f"R could not fit the model: {message}")


def _child_process(program: str) -> Callable[[Path], None]:
    def run(file: Path) -> None:
        ended = subprocess.run(
            [program, "--no-init-file", "--no-save", "--no-restore", str(file)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if ended.returncode != 0:
            last = " ".join(ended.stderr.split()[-60:])
            raise REngineError(f"Rscript ended with status {ended.returncode}: {last}")

    return run


def _embedded() -> Callable[[Path], None]:
    try:
        rinterface = importlib.import_module("rpy2.rinterface")
    except Exception as error:
        # a version of rpy2 that does not fit R fails with whatever the loader says
        raise REngineError(
            f"rpy2 cannot be used: {type(error).__name__}: {error}",
            do='install R and rpy2-rinterface (3.6.5 for R before 4.5), or use backend="rscript"',
        ) from error
    rinterface.initr()

    def run(file: Path) -> None:
        base = rinterface.baseenv
        try:
            base["sys.source"](rinterface.StrSexpVector([str(file)]), envir=base["new.env"]())
        except rinterface.embedded.RRuntimeError as error:
            raise REngineError(f"R failed: {error}") from error

    return run
