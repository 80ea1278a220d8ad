"""The demo: the whole analysis on a simulated cohort whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spicestat._files.sealed import check_target
from spicestat._files.tables import check_table_target, write_table
from spicestat._runtime.progress import Progress
from spicestat.fit.api import spice_fit
from spicestat.fit.network_fit import SpiceFit
from spicestat.group import GroupResult, spice_group
from spicestat.report.report import spice_report
from spicestat.simulate import Cohort, simulate_cohort

__all__ = ["Demo", "run_demo"]

FORMULA = "~ anxiety + age + diagnosis"
_N_BLOCKS = 10


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demonstration made.

    Attributes
    ----------
    cohort : Cohort
        Simulated trials, covariates and truth.
    fit : SpiceFit
        The fit.
    group : GroupResult
        Its group model, `FORMULA`.
    scores : DataFrame
        ``model, nll, n_trials`` of RNN, equations, refit and of the true parameters ("oracle").
    recovery : DataFrame
        ``coefficient, covariate, truth, estimate, conf_low, conf_high, covered``.
    report : Path
        HTML report.
    """

    cohort: Cohort
    fit: SpiceFit
    group: GroupResult
    scores: pd.DataFrame
    recovery: pd.DataFrame
    report: Path


def run_demo(
    folder: str | Path,
    *,
    n_participants: int = 40,
    n_trials: int = 200,
    seed: int = 1,
    progress: Progress | None = None,
) -> Demo:
    """Simulate a cohort, fit it, regress its coefficients on covariates, and write tables and a report.

    The learning rate rises by 0.10 per standard deviation of anxiety.

    Parameters
    ----------
    folder : path
        Where ``trials.csv``, ``people.csv``, ``fit/``, ``coefficients.csv``, ``group.csv`` and
        ``report.html`` go.
    n_participants, n_trials, seed : int
        Of `simulate_cohort`; ten blocks per participant.
    progress : callable, optional
        As in `spice_fit`.

    Returns
    -------
    Demo

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    target = Path(folder)
    for name in ("trials.csv", "people.csv", "coefficients.csv", "group.csv"):
        check_table_target(target / name)
    check_target(target / "fit", "fit")
    cohort = simulate_cohort(n_participants, n_trials, n_blocks=_N_BLOCKS, seed=seed)
    write_table(cohort.trials, target / "trials.csv")
    write_table(cohort.people, target / "people.csv")
    fit = spice_fit(
        cohort.trials,
        block="block",
        trial="trial",
        people=cohort.people,
        model="choice",
        seed=seed,
        progress=progress,
    )
    fit.save(target / "fit")
    write_table(fit.tidy(), target / "coefficients.csv")
    group = spice_group(fit, FORMULA)
    group.save(target / "group.csv")
    oracle = pd.DataFrame(
        {"model": ["oracle"], "nll": [cohort.oracle_nll], "n_trials": fit.scores["n_trials"].iloc[:1]}
    )
    scores = pd.concat([fit.scores, oracle], ignore_index=True)
    report = spice_report(
        fit, group, target / "report.html", title="spicestat demonstration", scores=scores, progress=progress
    )
    return Demo(cohort, fit, group, scores, _recovery(cohort, group), report)


def _recovery(cohort: Cohort, group: GroupResult) -> pd.DataFrame:
    """Compare the group model with the simulated effects on the learning rate."""
    table = group.tidy().query("module == 'x_learning_rate_reward' and sparse_term == '1' and term != '(Intercept)'")
    effects = cohort.parameters["alpha"].effects
    truth = np.array([effects.get(term, 0.0) for term in table["term"]])
    low, high = (table[name].to_numpy(dtype="float64") for name in ("conf_low", "conf_high"))
    return pd.DataFrame(
        {
            "coefficient": "learning rate",
            "covariate": table["term"].to_numpy(),
            "truth": truth,
            "estimate": table["estimate"].to_numpy(),
            "conf_low": low,
            "conf_high": high,
            "covered": (low <= truth) & (truth <= high),
        }
    )
