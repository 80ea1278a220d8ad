"""Every promise of speed beside what is measured: measure.py results/speed [ROW ...]. See run.sh.

Each row is a process of its own; seconds are processor time (user and system), memory is the largest resident size.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DEZFOULI = ROOT.parent / "shared" / "data" / "dezfouli2019.csv.gz"
BUILD = ROOT / "build" / "speed"

FIT = """
import sys, warnings
warnings.simplefilter("ignore")
from spicestat import simulate_cohort, spice_fit
n_people, n_trials = int(sys.argv[1]), int(sys.argv[2])
trials = simulate_cohort(n_people, n_trials, n_blocks=4, seed=1).trials
fit = spice_fit(trials, block="block", trial="trial")
"""
GROUP = """
import sys, warnings
warnings.simplefilter("ignore")
from spicestat import load_fit, spice_group
spice_group(load_fit(sys.argv[1]), "~ diagnosis")
"""
CARD = (
    FIT
    + """
import time
from spicestat import spice_card
started = time.process_time()
spice_card(fit)
print(time.process_time() - started)
"""
)


class Used(NamedTuple):
    """What a process used: processor seconds, GB, and the last number that it printed."""

    seconds: float
    memory: float
    said: float


class Row(NamedTuple):
    """A promise: what, how much, and how it is measured."""

    what: str
    promised: str
    measure: Callable[[], tuple[str, bool]]


def run(*arguments: str) -> Used:
    """Run Python and return what it used."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    output = BUILD / "output.txt"
    BUILD.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as stream:
        child = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(arguments)[:200]}")
    words = output.read_text(encoding="utf-8").split()
    try:
        said = float(words[-1]) if words else math.nan
    except ValueError:
        said = math.nan
    return Used(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024**2, said)


def below(limit: float, *arguments: str, times: int = 1) -> tuple[str, bool]:
    """Median processor time of a command."""
    seconds = statistics.median(run(*arguments).seconds for _ in range(times))
    return f"{seconds:.3g} s", seconds < limit


def epochs() -> tuple[str, bool]:
    """Time of an epoch beside autospice's."""
    ours, theirs = (run("-m", "benchmarks.speed.epochs", *side).said for side in (("ours", "1"), ("theirs",)))
    return f"{theirs / ours:.1f} times ({ours:.3g} s, autospice {theirs:.3g} s)", theirs >= 10.0 * ours


def members() -> tuple[str, bool]:
    """Time of an epoch of ten networks beside that of one."""
    one, ten = (run("-m", "benchmarks.speed.epochs", "ours", number).said for number in ("1", "10"))
    return f"{ten / one:.2f} times ({one:.3g} s, {ten:.3g} s)", ten < 2.5 * one


def dezfouli() -> tuple[str, bool]:
    """Time of the default fit of 101 people with 132,251 trials, which is kept for the group model."""
    code = (
        "import warnings; warnings.simplefilter('ignore')\nfrom spicestat import spice_fit\n"
        f"spice_fit({str(DEZFOULI)!r}, block='block', trial='trial').save({str(BUILD / 'dezfouli')!r})"
    )
    return below(120.0, "-c", code)


def memory() -> tuple[str, bool]:
    """Peak memory of the default fit of 1,000 people with 500 trials."""
    used = run("-c", FIT, "1000", "500")
    return f"{used.memory:.2f} GB ({used.seconds:.0f} s)", used.memory < 4.0


def scaling() -> tuple[str, bool]:
    """Exponents of the default fit's time in people and in trials."""
    cells = {"people": [(50, 200), (100, 200), (200, 200)], "trials": [(50, 100), (50, 200), (50, 400)]}
    bare = run("-c", FIT.rpartition("fit = ")[0], "50", "100").seconds
    told = []
    for name, sizes in cells.items():
        seconds = [run("-c", FIT, *map(str, size)).seconds - bare for size in sizes]
        exponent = math.log(seconds[-1] / seconds[0]) / math.log(4.0)
        told.append(f"{exponent:.2f} in {name} ({', '.join(f'{value:.1f} s' for value in seconds)})")
    return "; ".join(told), True


ROWS = {
    "import": Row("`import spicestat`", "< 0.3 s", lambda: below(0.3, "-c", "import spicestat", times=5)),
    "help": Row("`spicestat --help`", "< 0.5 s", lambda: below(0.5, "-m", "spicestat", "--help", times=5)),
    "epoch": Row("an epoch of SPICE's LearningRateRNN, beside autospice 0.2.0", ">= 10 times faster", epochs),
    "members": Row("an epoch of 10 ensemble members, beside one", "< 2.5 times", members),
    "dezfouli": Row("default fit of Dezfouli's 101 people, 132,251 trials", "< 120 s", dezfouli),
    "group": Row(
        "default group model of that fit", "< 10 s", lambda: below(10.0, "-c", GROUP, str(BUILD / "dezfouli"))
    ),
    "memory": Row("default fit of 1,000 people with 500 trials", "< 4 GB", memory),
    "card": Row("audit card of 100 people with 200 trials", "< 300 s", lambda: _said(300.0, CARD, "100", "200")),
    "scaling": Row("exponents of the default fit's time", "printed", scaling),
}
NOT_MEASURED = {
    "20,000 people with 100 trials over a Dask cluster of two workers": "a single fit is not distributed; power "
    "analyses, permutations and tuning are (`tests/fit/test_cluster.py`: the same numbers)",
    "`make test` and `make test-fast`": "a matter of the test suite; `--durations` has them",
}


def _said(limit: float, code: str, *arguments: str) -> tuple[str, bool]:
    seconds = run("-c", code, *arguments).said
    return f"{seconds:.3g} s", seconds < limit


def main(target: Path, wanted: list[str]) -> None:
    """Measure the rows that are wanted, or missing, and write the table."""
    file = target.with_suffix(".json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name, row in ROWS.items():
        if name in wanted or (not wanted and name not in results):
            found, kept = row.measure()
            results[name] = {"found": found, "kept": kept}
            file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    lines = [
        f"| {row.what} | {row.promised} | {results[name]['found']} | {'yes' if results[name]['kept'] else '**no**'} |"
        for name, row in ROWS.items()
        if name in results
    ]
    lines += [f"| {what} | | not measured here: {why} | |" for what, why in NOT_MEASURED.items()]
    target.with_suffix(".md").write_text(
        "# Promises of speed, and what is measured\n\n"
        "Processor time on one core of a busy machine, processes with one thread; `bash benchmarks/speed/run.sh`\n\n"
        "| what | promised | measured | kept |\n|---|---|---|---|\n" + "\n".join(lines) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
