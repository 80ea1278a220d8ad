"""Do intervals hold the truth where some weights are the population's? shared.py results/shared_weights [cohorts]."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.kernels.coverage import STATES, Bandit
from benchmarks.tables import as_table
from spicestat import HistoryFit, read_trials, spice_group
from spicestat.fit.history import assemble_history
from spicestat.fit.packing import pack_table
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.play import play_states

PEOPLE, TRIALS, LAGS = 30, 60, 10
MEAN, SD = np.array([0.5, 1.2, 0.6]), np.array([0.5, 0.0, 0.0])
"""People differ in one weight only; choices say little of it alone, as all three states follow what was chosen."""
SHIFT = 0.4
"""By how much that of the second half of the people is higher."""
ROWS = ("(Intercept)", "drugyes", "total, no", "total, yes", "total, yes - no")


def simulate(seed: int) -> Sessions:
    """Let everybody play one block."""
    rng = np.random.default_rng([seed, 71])
    weights = MEAN + SD * rng.standard_normal((PEOPLE, len(STATES)))
    weights[PEOPLE // 2 :, 0] += SHIFT
    played = play_states(STATES, weights, Bandit(PEOPLE, rng), 2, TRIALS, rng)
    return pack_sessions(played.choice, played.rewards, np.arange(PEOPLE), 2)


def fit_of(data: Sessions) -> HistoryFit:
    """Fit the true states, the weights of the last two shared."""
    table = read_trials(as_table(data), block="block", unusable="keep")
    packed = pack_table(table)
    return assemble_history(table, packed, fit_pooled(packed, STATES, 1), np.nan, 0)


def one(seed: int) -> list[list[float]]:
    """Truth, estimate, standard error and limits of each of `ROWS`."""
    fit = fit_of(simulate(seed))
    labels = list(fit.trials.participants)
    drug = ["yes" if int(label) >= PEOPLE // 2 else "no" for label in labels]
    group = spice_group(fit, "~ drug", data=pd.DataFrame({"participant": labels, "drug": drug}))
    # of a choice: what these people's histories make of the true weights
    moves = np.nanmean(fit.kernel_moves("choice", lags=LAGS).moves.mean, axis=0).sum(axis=0)
    without, shift = float(moves @ MEAN), float(moves[0] * SHIFT)
    true = [MEAN[0], SHIFT, without, without + shift, shift]
    fixed = group.tidy().query("effect == 'fixed'")
    totals = group.kernels("drug", events=["choice"], lags=LAGS).tidy().query("quantity == 'total'")
    numbers = ["estimate", "std_error", "conf_low", "conf_high"]
    return np.column_stack([true, np.vstack([fixed[numbers], totals[numbers]]).astype(float)]).tolist()


def main(target: Path, n_cohorts: int) -> None:
    """Take up where the results stop; seeds are 0, 1, ..."""
    file = target.with_suffix(".json")
    done = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    for seed in range(len(done), n_cohorts):
        done.append(one(seed))
        file.write_text(json.dumps(done), encoding="utf-8")
    true, estimate, error, low, high = np.moveaxis(np.array(done), 2, 0)
    away = estimate - true
    holds = ((low <= true) & (true <= high)).mean(axis=0)
    columns = [away.mean(axis=0) / away.std(axis=0), error.mean(axis=0) / away.std(axis=0), holds]
    lines = [[name, *(f"{value:.3f}" for value in values)] for name, *values in zip(ROWS, *columns, strict=True)]
    header = ["of", "bias, SD", "mean SE / SD", "coverage"]
    body = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *lines])
    target.with_suffix(".md").write_text(
        "# Coverage of 95 % intervals where some weights are shared\n\n"
        f"{len(done)} cohorts of {PEOPLE} people with {TRIALS} trials; one state with everybody's own weight and two "
        "with the population's, given. Effects of a drug on the former, and what a choice does to the next "
        f"{LAGS}, without and with the drug. `bash benchmarks/kernels/run.sh`\n\n{body}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
