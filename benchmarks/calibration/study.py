"""Run replicates of a cell: python -m benchmarks.calibration.study CELL FIRST LAST FILE.

Replicate r of a cell always has the same seed; one line of JSON each; what the file has already is not run again.
"""

import json
import sys
import time
import warnings
import zlib
from pathlib import Path

import torch

from benchmarks.calibration.cells import CELLS, Cell
from benchmarks.calibration.methods import METHODS, run_method, run_oracle
from benchmarks.calibration.model import fit_equations
from benchmarks.calibration.simulate import draw


def seed_of(name: str, replicate: int) -> int:
    """Seed of a replicate: no two cells share one."""
    return zlib.crc32(name.encode()) * 100_000 + replicate


def run(name: str, cell: Cell, replicate: int) -> dict:
    """Draw and analyse one study."""
    study = draw(cell, seed_of(name, replicate))
    begun = time.process_time()
    fit = fit_equations(study, cell.forget_to_start)
    seconds = time.process_time() - begun
    return {
        "replicate": replicate,
        "seconds_before": seconds,
        "share_unidentified": fit.coefficients.share_unidentified,
        "terms": [":".join(term) for term in fit.likelihood.terms],
        "oracle": run_oracle(study),
        **{method: run_method(fit, options) for method, options in METHODS.items()},
    }


def main() -> None:
    """Run what is missing."""
    name, first, last, file = sys.argv[1], *map(int, sys.argv[2:4]), Path(sys.argv[4])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    file.parent.mkdir(parents=True, exist_ok=True)
    done = {json.loads(line)["replicate"] for line in file.read_text().splitlines()} if file.exists() else set()
    with file.open("a") as out:
        for replicate in range(first, last):
            if replicate not in done:
                out.write(json.dumps(run(name, CELLS[name], replicate)) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
