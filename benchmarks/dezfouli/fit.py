"""Fit the real data with the default model, as a whole and by halves of the session: fit.py trials.csv.gz folder."""

import sys
import time
import warnings
from pathlib import Path

import pandas as pd

from spicestat import spice_fit
from spicestat.errors import SpicestatWarning

FIRST_HALF = 6
"""Blocks 1 to 6 are the first occasion of a person, 7 to 12 the second."""


def main(trials: str, folder: Path) -> None:
    """Fit and save; the states are printed."""
    table = pd.read_csv(trials)
    halves = table.assign(half=(table["block"] > FIRST_HALF).map({False: "first", True: "second"}))
    for name, given, occasion in (("whole", table, None), ("halves", halves, "half")):
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("always", SpicestatWarning)
            fit = spice_fit(given, block="block", trial="trial", occasion=occasion)
        fit.save(folder / name)
        print(fit)
        print(f"{name}: {time.process_time() - started:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
