"""Summary of the replicates: ``python -m benchmarks.reliability.table FOLDER RESULTS``."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.reliability.study import CELLS, N_BLOCKS, N_PARTICIPANTS, N_SPLITS
from benchmarks.tutorial4.results import write_json

SHORT = {"x_learning_rate_reward": "learning rate", "x_value_reward_not_chosen": "share kept", "beta": "beta"}
COLUMNS = ("cohorts", "missing", "people", "squared_correlation", "reliability", "error", "covered")


def gather(folder: Path) -> pd.DataFrame:
    """Return one row per cell, cohort, coefficient and method; only cohorts that all cells have."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    rows = pd.DataFrame([row | {"cell": c["cell"], "number": c["number"]} for c in contents for row in c["rows"]])
    whole = rows.groupby("number")["cell"].nunique() == len(CELLS)
    return rows[rows["number"].map(whole)].sort_values(["number", "cell", "module", "method"], ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, coefficient and method; intervals are covered or not where there is one."""
    target = rows["squared_correlation"]
    held = (rows["conf_low"] <= target) & (target <= rows["conf_high"])
    rows = rows.assign(
        coefficient=rows["module"].map(SHORT),
        error=(rows["reliability"] - target).abs(),
        covered=held.astype(float).where(rows["conf_low"].notna()),
        missing=rows["reliability"].isna(),
        cohorts=1,
        people=rows["n"],
    )
    order = [list(CELLS), list(SHORT.values()), ["odd_even", "first_second", "random"]]
    sums = dict.fromkeys(COLUMNS, "mean") | {"cohorts": "sum", "missing": "sum"}
    found = rows.groupby(["cell", "coefficient", "method"]).agg(sums)
    return found.reindex(pd.MultiIndex.from_product(order, names=found.index.names))


def main(folder: Path, results: Path) -> None:
    """Write JSON and a table."""
    rows = gather(folder)
    table = summary(rows)
    n = int(table["cohorts"].iloc[0])
    design = {"participants": N_PARTICIPANTS, "blocks": N_BLOCKS, "random_splits": N_SPLITS, "cohorts_per_cell": n}
    plain = rows.astype(object).where(rows.notna(), None).to_dict("records")
    summarised = table.reset_index().astype(object)
    summarised = summarised.where(summarised.notna(), None).to_dict("records")
    write_json(results / "reliability.json", {"design": design, "summary": summarised, "rows": plain})
    lines = [
        "# Reliability of split halves",
        "",
        f"{n} cohorts per kind of {N_PARTICIPANTS} people with {N_BLOCKS} blocks of a drifting bandit; the true",
        "equations are given and estimated by maximum likelihood per person. Natural: truncated normal coefficients;",
        "skewed: rates piled up near 0 and 1, log-normal betas, a tenth who guess. The truth is the squared",
        "correlation, over the people identified with all trials, of estimates and true coefficients; `people` are",
        "those in the row of `spice_reliability`, who are identified in all halves. Means over cohorts; `error` is",
        "the mean absolute difference, `covered` the share of 95 % intervals that hold the truth, with a Monte-Carlo",
        f"standard error of up to {0.5 / np.sqrt(n):.2f} in a row. Run by `benchmarks/reliability/run.sh`.",
        "",
        "| people and trials | coefficient | method | people | truth | reliability | error | covered | not computed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (cell, coefficient, method), row in table.iterrows():
        numbers = [f"{row['people']:.1f}"]
        numbers += [f"{row[name]:.2f}" for name in ("squared_correlation", "reliability", "error", "covered")]
        numbers.append(f"{row['missing']:.0f}")
        lines.append(f"| {cell} | {coefficient} | {method} | {' | '.join(numbers)} |")
    (results / "reliability.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
