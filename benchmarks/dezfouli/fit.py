"""Fit the real data once, with one equation structure for everybody: fit.py trials.csv.gz folder."""

import sys
import time
import warnings
from pathlib import Path

from spicestat import spice_fit
from spicestat.errors import SpicestatWarning


def main(trials: str, folder: Path) -> None:
    """Fit the model "choice" with its defaults and save; the equations are printed."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("always", SpicestatWarning)
        fit = spice_fit(trials, block="block", choice="choice", reward="reward", model="choice")
    fit.save(folder)
    print(fit)
    print(fit.glance().to_string())
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
