"""Run replicates of all cells: ``python -m benchmarks.reliability.study FIRST LAST FOLDER``.

Each draws a cohort with known coefficients, estimates the true equations, and asks `spice_reliability` for every
method. The standard is the squared correlation over participants of estimates from all trials and the truth. A
replicate whose file exists is not rerun.
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from scipy.special import logit
from scipy.stats import truncnorm

from benchmarks.calibration.model import BETA, KEPT, RATE, true_equations
from benchmarks.calibration.simulate import play
from benchmarks.tutorial4.results import write_json
from spicestat.equations.estimate.refit import refit
from spicestat.errors import SpicestatWarning
from spicestat.fit.network_fit import SpiceFit
from spicestat.models.precoded.learning_rate import LearningRateRNN
from spicestat.studies.reliability import spice_reliability
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

N_PARTICIPANTS, N_BLOCKS, N_SPLITS = 40, 4, 5
TERMS = {(RATE, "1"): 0, (KEPT, KEPT): 1, (BETA, "x_value_reward"): 2}


def natural(rng: np.random.Generator) -> np.ndarray:
    """Learning rate, kept share and inverse temperature (N, 3): normal, cut off at what is possible."""

    def normal(mean: float, sd: float, low: float, high: float) -> np.ndarray:
        limits = (low - mean) / sd, (high - mean) / sd
        return mean + sd * truncnorm.rvs(*limits, size=N_PARTICIPANTS, random_state=rng)

    return np.stack([normal(0.4, 0.15, 0, 1), normal(0.75, 0.15, 0, 1), normal(4.0, 1.5, 0, np.inf)], axis=1)


def skewed(rng: np.random.Generator) -> np.ndarray:
    """The same: rates piled up near 0 and 1, log-normal temperatures, and a tenth who guess."""
    beta = rng.lognormal(1.1, 0.6, N_PARTICIPANTS)
    beta[: N_PARTICIPANTS // 10] = 0.0
    rate, kept = rng.beta(0.6, 0.8, N_PARTICIPANTS), rng.beta(0.9, 0.6, N_PARTICIPANTS)
    return np.stack([rate, kept, beta], axis=1)


CELLS: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], int]] = {
    f"{draw.__name__}, {n_trials} trials": (draw, n_trials) for draw in (natural, skewed) for n_trials in (60, 200)
}


def played(truth: np.ndarray, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
    """Trials of everybody in four blocks of a drifting bandit."""
    with np.errstate(divide="ignore"):
        linked = np.stack([*logit(truth[:, :2]).T, np.log(truth[:, 2])], axis=1)
    choices, rewards = play(np.repeat(linked, N_BLOCKS, axis=0), n_trials // N_BLOCKS, 0.0, rng)
    sequence = np.repeat(np.arange(N_PARTICIPANTS * N_BLOCKS), n_trials // N_BLOCKS)
    return pd.DataFrame(
        {
            "participant": sequence // N_BLOCKS,
            "block": sequence % N_BLOCKS,
            "choice": choices.ravel(),
            "reward": rewards.ravel(),
        }
    )


def true_fit(trials: pd.DataFrame) -> SpiceFit:
    """Estimate the true equations; what comes back has those parts of a fit that `spice_reliability` reads."""
    table = read_trials(trials, block="block")
    model = LearningRateRNN(n_actions=2, n_participants=N_PARTICIPANTS)
    result = refit(model, SequenceDataset.from_trials(table), true_equations(N_PARTICIPANTS))
    estimator = SimpleNamespace(rnn_model_=model, equations_=result.equations, refit_=result)
    return cast(SpiceFit, SimpleNamespace(trials=table, estimator=estimator))


def replicate(cell: str, number: int) -> list[dict[str, Any]]:
    """Return one row per coefficient and method, with the squared correlation of estimates and truth."""
    draw, n_trials = CELLS[cell]
    rng = np.random.default_rng([list(CELLS).index(cell), number])
    truth = draw(rng)
    fit = true_fit(played(truth, n_trials, rng))
    result = fit.model.refit
    rows = spice_reliability(fit, n_splits=N_SPLITS).to_dict("records")
    for row in rows:
        position = result.equations.terms.index((row["module"], row["term"]))
        known = result.converged & np.isfinite(result.covariance[:, position, position])
        estimates, true = result.equations.coefficients[:, position], truth[:, TERMS[row["module"], row["term"]]]
        row["squared_correlation"] = float(np.corrcoef(estimates[known], true[known])[0, 1] ** 2)
        row["n_identified"] = int(known.sum())
    return rows


def main(first: int, last: int, folder: Path) -> None:
    """Run what is missing."""
    torch.set_num_threads(1)
    for number in range(first, last + 1):
        for place, cell in enumerate(CELLS):
            out = folder / f"{place}_{number}.json"
            if not out.exists():
                with warnings.catch_warnings():
                    # participants without an identified estimate are left out, and counted
                    warnings.simplefilter("ignore", SpicestatWarning)
                    write_json(out, {"cell": cell, "number": number, "rows": replicate(cell, number)})
                print(cell, number, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
