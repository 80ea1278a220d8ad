"""Replicates of the study: ``python -m benchmarks.sample_splitting.study FIRST LAST FOLDER``.

Each replicate simulates a cohort, fits it once with all blocks and once with equations from half of the blocks and
coefficients from the other half, and runs the meta-regression on both. A replicate whose file exists is not rerun.
"""

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tutorial4.results import write_json
from spicestat.errors import SpicestatWarning
from spicestat.fit.api import spice_fit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.splitting import spice_fit_split
from spicestat.group import spice_group
from spicestat.simulate import Cohort, simulate_cohort

N_PARTICIPANTS, N_TRIALS, N_BLOCKS, N_NULL = 40, 240, 4, 20
SETTINGS: dict[str, Any] = {"block": "block", "model": "learning_rate", "epochs": 40}
RATE = ("x_learning_rate_reward", "1")
EFFECT = 0.10
NOT_CHOSEN = "x_value_reward_not_chosen"


def truth(cohort: Cohort) -> dict[tuple[str, str], float]:
    """Mean over the cohort's participants of each coefficient; terms that are not here are 0."""
    mean = cohort.truth[["alpha", "forget", "beta"]].mean()
    return {
        RATE: mean["alpha"],
        (NOT_CHOSEN, "1"): 0.5 * mean["forget"],
        (NOT_CHOSEN, NOT_CHOSEN): 1.0 - mean["forget"],
        ("beta", "x_value_reward"): mean["beta"],
    }


def tested(fit: SpiceFit, people: pd.DataFrame, true: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """One row per estimated coefficient: its mean, the covariate's effect, and tests of covariates without effect."""
    null = [name for name in people if name.startswith("null")]
    mean = spice_group(fit, "~ anxiety", data=people, method="meta", max_unidentified=1.0).tidy()
    false = pd.concat(
        [
            spice_group(fit, f"~ {name}", data=people, method="meta", max_unidentified=1.0)
            .tidy()
            .query("term == @name")
            for name in null
        ]
    )
    rows = []
    for (module, term), own in mean.groupby(["module", "sparse_term"], sort=False):
        by_term = own.set_index("term")
        p = false[(false["module"] == module) & (false["sparse_term"] == term)]["p_value"]
        intercept, slope = by_term.loc["(Intercept)"], by_term.loc["anxiety"]
        effect = EFFECT if (module, term) == RATE else 0.0
        value = true.get((str(module), str(term)), 0.0)
        rows.append(
            {
                "module": module,
                "term": term,
                "spurious": (module, term) not in true,
                "truth": value,
                "estimate": intercept["estimate"],
                "std_error": intercept["std_error"],
                "covered": bool(intercept["conf_low"] <= value <= intercept["conf_high"]),
                "effect": effect,
                "slope": slope["estimate"],
                "slope_error": slope["std_error"],
                "slope_covered": bool(slope["conf_low"] <= effect <= slope["conf_high"]),
                "slope_p": slope["p_value"],
                "false_positives": int((p < 0.05).sum()),
                "null_tests": len(p),
            }
        )
    return rows


def replicate(seed: int) -> dict[str, Any]:
    """Simulate and fit both ways."""
    cohort = simulate_cohort(N_PARTICIPANTS, N_TRIALS, n_blocks=N_BLOCKS, seed=seed)
    rng = np.random.default_rng([seed, 1])
    people = cohort.people.assign(**{f"null{k}": rng.normal(size=N_PARTICIPANTS) for k in range(N_NULL)})
    content: dict[str, Any] = {"seed": seed}
    true = truth(cohort)
    for name, fitted in {"whole": spice_fit, "split": spice_fit_split}.items():
        cpu = time.process_time()
        with warnings.catch_warnings():
            # participants without an identified estimate are left out of the group model, as by default
            warnings.simplefilter("ignore", SpicestatWarning)
            fit = fitted(cohort.trials, seed=seed, **SETTINGS)
            rows = tested(fit, people, true)
        found = {(row["module"], row["term"]) for row in rows}
        content[name] = {
            "rows": rows,
            "right_structure": found == set(true),
            "missing": len(set(true) - found),
            "share_unidentified": fit.coefficients.share_unidentified,
            "cpu_seconds": time.process_time() - cpu,
        }
    return content


def main(first: int, last: int, folder: Path) -> None:
    """Run and save."""
    for seed in range(first, last + 1):
        out = folder / f"{seed}.json"
        if not out.exists():
            write_json(out, replicate(seed))
            print(seed, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
