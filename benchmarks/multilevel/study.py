"""Run the default group model, and "meta", on simulated cohorts; go on where a run was stopped.

python -m benchmarks.multilevel.study CELL COHORTS FOLDER
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.multilevel.cohorts import CELLS, cohort, truths
from spicestat.group import spice_group

METHODS = ("hierarchical", "meta")


def main(arguments: Sequence[str]) -> None:
    """Append a line per cohort and method to FOLDER/CELL.jsonl."""
    name, n_cohorts, folder = arguments[0], int(arguments[1]), Path(arguments[2])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name.replace(' ', '_')}.jsonl"
    done = [json.loads(line)["seed"] for line in file.read_text().splitlines()] if file.exists() else []
    cell = CELLS[name]
    expected = truths(cell)
    for seed in range(max(done, default=-1) + 1, n_cohorts):
        fit, _ = cohort(cell, seed)
        lines = []
        for method in METHODS:
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                group = spice_group(fit, cell.formula, method=method)
            seconds = time.process_time() - start
            rows = [
                {
                    "state": row.sparse_term,
                    "term": row.term,
                    "truth": expected[row.sparse_term, row.term],
                    "estimate": row.estimate,
                    "std_error": row.std_error,
                    "p_value": row.p_value,
                    "low": row.conf_low,
                    "high": row.conf_high,
                }
                for row in group.tidy().itertuples()
            ]
            converged = bool(group.glance()["converged"].all())
            lines.append({"seed": seed, "method": method, "seconds": seconds, "converged": converged, "rows": rows})
        with file.open("a") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
