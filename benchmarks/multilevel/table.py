"""Write the table of the study: python -m benchmarks.multilevel.table FOLDER benchmarks/results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.multilevel.cohorts import CELLS

LABELS = {"(Intercept)": "mean", "drugactive": "within", "anxiety": "between", "drugactive:anxiety": "interaction"}


def read(folder: Path) -> pd.DataFrame:
    """Read all estimates, one a row."""
    rows = []
    for name in CELLS:
        file = folder / f"{name.replace(' ', '_')}.jsonl"
        for line in file.read_text().splitlines() if file.exists() else []:
            run = json.loads(line)
            same = {"cell": name, "method": run["method"], "seconds": run["seconds"], "seed": run["seed"]}
            rows += [{**same, "converged": run["converged"], **row} for row in run["rows"]]
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Coverage, rejections, bias and errors by cell, method and effect."""
    table = table.assign(
        covered=(table["low"] <= table["truth"]) & (table["truth"] <= table["high"]),
        significant=table["p_value"] < 0.05,
        off=table["estimate"] - table["truth"],
        effect=table["term"].map(LABELS) + (table["truth"] == 0).map({True: ", none", False: ""}),
    )
    found = []
    for (cell, effect, method), own in table.groupby(["cell", "effect", "method"], sort=False):
        spread = own.groupby("state")["off"].std()
        found.append(
            {
                "cell": cell,
                "effect": effect,
                "method": method,
                "cohorts": own["seed"].nunique(),
                "covered": own["covered"].mean(),
                "significant": own["significant"].mean(),
                "bias": own["off"].mean() / own["truth"].mean() if own["truth"].any() else own["off"].mean(),
                "SE/SD": (own.groupby("state")["std_error"].mean() / spread).mean(),
                "converged": own["converged"].mean(),
                "seconds": own["seconds"].mean(),
            }
        )
    return pd.DataFrame(found)


def main(arguments: Sequence[str]) -> None:
    """Write multilevel.json and multilevel.md."""
    found = summary(read(Path(arguments[0])))
    out = Path(arguments[1])
    (out / "multilevel.json").write_text(json.dumps(found.to_dict("records"), indent=1) + "\n")
    head = "| " + " | ".join(found.columns) + " |\n|" + "---|" * len(found.columns)
    lines = [
        "| " + " | ".join(f"{x:.3f}" if isinstance(x, float) else str(x) for x in row) + " |"
        for row in found.itertuples(index=False)
    ]
    text = (
        "# Group models within people and between sites: intervals and tests as they are called\n\n"
        "Simulated people with known weights of three states of choice history (`benchmarks/multilevel/cohorts.py`); "
        "states given. An effect is on the first weight, all others have none; means are of all three. Bias is "
        "relative where there is an effect. 95 % intervals; seconds of processor time.\n\n"
    )
    (out / "multilevel.md").write_text(text + "\n".join([head, *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
