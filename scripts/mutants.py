"""Break the package on purpose, one line at a time: every mutant of tests/mutants.toml must fail its test.

A mutant that survives is a line that no test looks at. Run with: make mutants
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"


class Mutant(NamedTuple):
    """One change of one file, and the test that must fail with it."""

    what: str
    file: str
    old: str
    new: str
    test: str


def main() -> int:
    """Run all mutants, or those whose description holds a word of the command line; 1 if any survives."""
    words = sys.argv[1:]
    mutants = [Mutant(**entry) for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]]
    mutants = [mutant for mutant in mutants if not words or any(word in mutant.what for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in ("spicestat", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        stale = [mutant.what for mutant in mutants if _text(copy, mutant).count(mutant.old) != 1]
        if stale or not mutants:
            print("mutants: the old text must stand once in its file; it does not for:", *stale, sep="\n  ")
            return 1
        if not _passes(copy, sorted({mutant.test for mutant in mutants})):
            print("mutants: the tests fail without any mutant")
            return 1
        survivors = [mutant.what for mutant in mutants if not _killed(copy, mutant)]
    print(f"mutants: {len(mutants) - len(survivors)} of {len(mutants)} killed")
    return 1 if survivors else 0


def _text(copy: Path, mutant: Mutant) -> str:
    return (copy / mutant.file).read_text(encoding="utf-8")


def _killed(copy: Path, mutant: Mutant) -> bool:
    started, text = time.perf_counter(), _text(copy, mutant)
    path = copy / mutant.file
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    killed = not _passes(copy, [mutant.test])
    path.write_text(text, encoding="utf-8")
    verdict = "killed  " if killed else "SURVIVED"
    print(f"{verdict} {time.perf_counter() - started:5.1f} s  {mutant.what}  [{mutant.test}]", flush=True)
    return killed


def _passes(copy: Path, tests: list[str]) -> bool:
    """Whether tests pass on the copy; anything but passed or failed, such as a test that is not there, is an error."""
    # bytecode would outlive a change within the same second and of the same length
    own = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=copy, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"mutants: pytest ended with {done.returncode} on {tests}\n{done.stdout}{done.stderr}")
    return done.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
