"""Processor time of whole commands in two checkouts, in turn: python timings.py BEFORE AFTER [COMMAND ...].

Both run in this environment. Each command runs as a process of its own, A B A B ...; what is compared is the processor
time (user and system) that the operating system counts for it, and the median of the ratios pair by pair, which holds
when the machine is busy with other things. Writes benchmarks/results/timings.{json,md}; with COMMANDs only their rows.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAIRS, PAIRS_OF_LONG_ONES = 5, 3
MAIN = ["-c", "from spicestat.cli import main; main()"]
METHODS = ("hierarchical", "meta", "multivariate_meta", "mixed", "permutation", "hurdle", "ols")

DATA = """
import numpy as np, sys
from spicestat import simulate_cohort
cohort = simulate_cohort(n_participants=20, n_trials=120, n_blocks=2, seed=2)
cohort.trials.to_csv(sys.argv[1] + "/trials.csv", index=False)
cohort.people.to_csv(sys.argv[1] + "/people.csv", index=False)
simulate_cohort(n_participants=100, n_trials=1000, seed=3).trials.to_csv(sys.argv[1] + "/many.csv", index=False)
"""


def commands(folder: Path) -> dict[str, tuple[int, list[str]]]:
    """Give the commands that are timed, with the number of pairs; ``fit`` is the fit folder of a checkout."""
    fit = ["fit", f"{folder}/trials.csv", "--block", "block", "--people", f"{folder}/people.csv", "--quiet"]
    group = ["group", "FIT", "~ anxiety + diagnosis", "--covariates", f"{folder}/people.csv", "--method"]
    return {
        "import spicestat": (PAIRS, ["-c", "import spicestat"]),
        "spicestat --version": (PAIRS, [*MAIN, "--version"]),
        "read_trials, 100,000 rows": (
            PAIRS,
            ["-c", f"import spicestat; spicestat.read_trials('{folder}/many.csv', block='block')"],
        ),
        **{f"spicestat group --method {name}": (PAIRS, [*MAIN, *group, name]) for name in METHODS},
        "spicestat fit, 20 x 120": (PAIRS_OF_LONG_ONES, [*MAIN, *fit, "--out", "OUT"]),
        "spicestat demo, 20 x 120": (
            PAIRS_OF_LONG_ONES,
            [*MAIN, "demo", "--participants", "20", "--trials", "120", "--quiet", "--out", "OUT"],
        ),
    }


def processor_seconds(checkout: Path, command: list[str], folder: Path) -> float:
    """Run a command on a checkout's engine and return its processor time in seconds."""
    place = {"FIT": str(folder / f"fit-{checkout.name}"), "OUT": tempfile.mkdtemp(dir=folder)}
    words = [place.get(word, word) for word in command]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    child = subprocess.Popen(
        [sys.executable, "-P", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"failed in {checkout}: {' '.join(words)}")
    return used.ru_utime + used.ru_stime


def compare(name: str, pairs: int, command: list[str], checkouts: tuple[Path, Path], folder: Path) -> dict[str, object]:
    """Time a command in both checkouts, one uncounted pair first where it is short."""
    rounds = [[processor_seconds(checkout, command, folder) for checkout in checkouts] for _ in range(pairs + 1)]
    counted = rounds[1:] if pairs == PAIRS else rounds[:pairs]
    before, after = zip(*counted, strict=True)
    ratios = [second / first for first, second in counted]
    row = {
        "command": name,
        "before": statistics.median(before),
        "after": statistics.median(after),
        "ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "pairs": len(counted),
    }
    print(row, flush=True)
    return row


def table(rows: list[dict[str, object]]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Timings before and after the move into rooms",
        "",
        "Median processor seconds of whole commands at two commits; ratios are medians over pairs (lowest, highest).",
        "One thread, one environment; `benchmarks/timings/run.sh`.",
        "",
        "| command | before | after | ratio (lowest, highest) | pairs | commits |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row['command']}` | {row['before']:.3g} | {row['after']:.3g} "
        f"| {row['ratio']:.2f} ({row['lowest_ratio']:.2f}, {row['highest_ratio']:.2f}) | {row['pairs']} "
        f"| {row['commits']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def commit_of(checkout: Path) -> str:
    """Return the short name of a checkout's commit."""
    return subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], text=True).strip()


def main() -> None:
    """Run the commands and write the results."""
    before, after = (Path(given).resolve() for given in sys.argv[1:3])
    file, commits = RESULTS / "timings.json", f"{commit_of(before)}, {commit_of(after)}"
    rows = {row["command"]: row for row in json.loads(file.read_text())} if file.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-c", DATA, name], check=True)
        for checkout in (before, after):
            fit = [*MAIN, "fit", f"{name}/trials.csv", "--block", "block", "--model", "rescorla_wagner", "--quiet"]
            processor_seconds(checkout, [*fit, "--out", str(folder / f"fit-{checkout.name}")], folder)
        for what, (pairs, command) in commands(folder).items():
            if what in (sys.argv[3:] or [what]):
                rows[what] = {**compare(what, pairs, command, (before, after), folder), "commits": commits}
    file.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    (RESULTS / "timings.md").write_text(table(list(rows.values())))


if __name__ == "__main__":
    main()
