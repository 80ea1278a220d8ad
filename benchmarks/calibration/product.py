"""The product as it is called: spice_fit(trials), spice_group(fit, "~ x + z"), kernels("x").

python -m benchmarks.calibration.product SECONDS    goes on until so much processor time is used, and writes the table

Replicate r of a cell always has the same seed; one line of JSON each in results/product.jsonl.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.kernels.coverage import Bandit
from benchmarks.tables import as_table
from spicestat import spice_fit, spice_group
from spicestat.errors import SpicestatError, SpicestatWarning
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.states import state

RESULTS = Path("benchmarks/results/product")
STATES = (state("last"), state(("rewarded", 0.5)), state(("choices", 0.8)))
MEAN, SD = np.array([0.4, 2.0, 0.6]), np.array([0.6, 0.7, 0.6])
EFFECT, BLOCKS = 0.4, 2
CELLS = [(40, t, "normal") for t in (60, 100, 200)] + [
    (100, 100, "normal"),
    (40, 100, "skewed"),
    (40, 100, "10 % guess"),
]
"""People, trials of each, and how their weights are distributed."""

_SHARED = 1e-9
# one reward moves the state by .5, .25, ..., in all 1
EFFECTS = {"x, reward": ("x", "reward", EFFECT), "z, reward": ("z", "reward", 0.0), "z, choice": ("z", "choice", 0.0)}


def weights_of(kind: str, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights of people, the second of which goes up with x."""
    n = len(x)
    away = rng.standard_normal((n, 3)) if kind != "skewed" else (rng.gamma(2.0, size=(n, 3)) - 2.0) / np.sqrt(2.0)
    weights = MEAN + SD * away
    weights[:, 1] += EFFECT * x
    if kind == "10 % guess":
        weights[rng.random(n) < 0.1] = 0.0
    return weights


def one(cell: tuple[int, int, str], replicate: int) -> dict[str, Any]:
    """Simulate a study and analyse it as anybody would."""
    n, n_trials, kind = cell
    rng = np.random.default_rng([CELLS.index(cell), replicate, 16])
    people = pd.DataFrame({"participant": np.arange(n), "x": rng.standard_normal(n), "z": rng.standard_normal(n)})
    owner = np.repeat(np.arange(n), BLOCKS)
    weights = weights_of(kind, people["x"].to_numpy(), rng)
    played = play_states(STATES, weights[owner], Bandit(len(owner), rng), 2, n_trials // BLOCKS, rng)
    trials = as_table(pack_sessions(played.choice, played.rewards, owner, 2))
    begun, record = time.process_time(), {"cell": list(cell), "replicate": replicate}
    try:
        group = spice_group(spice_fit(trials, block="block", people=people), "~ x + z")
    except SpicestatError as error:
        return record | {"error": str(error)}
    record |= {"seconds": time.process_time() - begun, "withheld": bool(group.glance()["withheld"].any())}
    for name, (covariate, event, _) in EFFECTS.items():
        table = group.kernels(covariate, events=[event]).tidy()
        row = table[(table["quantity"] == "total") & table["contrast"].notna()].iloc[0]
        numbers = row[["estimate", "std_error", "conf_low", "conf_high"]]
        record[name] = [float(number) if np.isfinite(number) else None for number in numbers]
    return record


def summary(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per cell and effect."""
    rows = []
    for cell in CELLS:
        own = [record for record in records if tuple(record["cell"]) == cell]
        for name, (_, _, truth) in EFFECTS.items():
            # of weights that everybody shares nothing is known, and the product says so
            there = [record[name] for record in own if name in record and (record[name][1] or 0.0) > _SHARED]
            found = [numbers for numbers in there if numbers[2] is not None]
            if len(found) < 2:
                continue
            estimate, error, low, high = np.array(found, dtype=float).T
            rows.append(
                {
                    "people": cell[2],
                    "N": cell[0],
                    "T": cell[1],
                    "effect": name,
                    "studies": len(own),
                    "no result": sum("error" in record for record in own),
                    "all shared": sum(name in record for record in own) - len(there),
                    "withheld": sum(record.get("withheld", False) for record in own),
                    "bias": round(float(estimate.mean() - truth), 3),
                    "mean SE / SD": round(float(error.mean() / estimate.std(ddof=1)), 2),
                    "covered": round(float(np.mean((low <= truth) & (truth <= high))), 3),
                    "significant": round(float(np.mean((low > 0) | (high < 0))), 3),
                    "seconds": round(float(np.median([record["seconds"] for record in own if "seconds" in record])), 1),
                }
            )
    return pd.DataFrame(rows)


def main(seconds: float) -> None:
    """Run the replicates that are missing, in turn, while there is time; then write the table."""
    warnings.simplefilter("ignore", SpicestatWarning)
    file = RESULTS.with_suffix(".jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(tuple(record["cell"]), record["replicate"]) for record in records}
    replicate = 0
    with file.open("a") as out:
        while time.process_time() < seconds:
            for cell in CELLS:
                if (cell, replicate) not in done and time.process_time() < seconds:
                    records.append(one(cell, replicate))
                    out.write(json.dumps(records[-1]) + "\n")
                    out.flush()
            replicate += 1
    table = summary(records)
    head = "| " + " | ".join(table.columns) + " |\n" + "|---" * table.shape[1] + "|\n"
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    RESULTS.with_suffix(".md").write_text(
        "# The product as it is called\n\n"
        "Slopes of the total influence of one reward, or one choice, on covariates: `spice_fit(trials)`, "
        '`spice_group(fit, "~ x + z")`, `kernels("x")`. Nothing is given but choices; x raises the weight of rewards '
        "by .4, z does nothing. `all shared`: studies in which the search found no differences between people in what "
        "the event changes, so that there is no slope. With 30 studies, 95 % of shares lie within .87 and 1.00 where "
        ".95 is right. `benchmarks/calibration/run.sh product`.\n\n" + head + "\n".join(lines) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0)
