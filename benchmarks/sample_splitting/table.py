"""Summary of the replicates: ``python -m benchmarks.sample_splitting.table FOLDER RESULTS``."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.sample_splitting.study import N_BLOCKS, N_PARTICIPANTS, N_TRIALS, RATE, SETTINGS
from benchmarks.tutorial4.results import write_json

LABELS = {
    "type_i": "type-I error at .05, covariates without effect, all true terms",
    "coverage_mean": "coverage of the mean coefficient by its 95 % interval, true terms",
    "coverage_slope": "coverage of anxiety's effect on the learning rate",
    "power_slope": "power for that effect",
    "error_ratio": "mean standard error / standard deviation over replicates, that effect",
    "slope_error": "mean standard error of that effect",
    "right_structure": "exactly the true terms found",
    "spurious_terms": "spurious terms per fit",
    "spurious_significant": "spurious terms whose mean is significant, per spurious term",
    "share_unidentified": "participants without an identified estimate",
    "cpu_seconds": "CPU seconds of fit and tests",
}


def summary(replicates: list[dict[str, Any]], way: str) -> dict[str, list[float]]:
    """Each figure with its Monte-Carlo standard error over replicates, within which tests are not independent."""
    parts = []
    for content in replicates:
        rows = pd.DataFrame(content[way]["rows"])
        true, spurious = rows[~rows["spurious"]], rows[rows["spurious"]]
        rate = true[(true["module"] == RATE[0]) & (true["term"] == RATE[1])]
        parts.append(
            {
                "type_i": true["false_positives"].sum() / true["null_tests"].sum(),
                "coverage_mean": true["covered"].mean(),
                "coverage_slope": rate["slope_covered"].mean(),
                "power_slope": (rate["slope_p"] < 0.05).mean() if len(rate) else np.nan,
                "slope": rate["slope"].mean(),
                "slope_error": rate["slope_error"].mean(),
                "right_structure": float(content[way]["right_structure"]),
                "spurious_terms": float(len(spurious)),
                "spurious_significant": (~spurious["covered"]).mean() if len(spurious) else np.nan,
                "share_unidentified": content[way]["share_unidentified"],
                "cpu_seconds": content[way]["cpu_seconds"],
            }
        )
    frame = pd.DataFrame(parts)
    figures = {name: [frame[name].mean(), frame[name].std(ddof=1) / np.sqrt(frame[name].count())] for name in frame}
    n = frame["slope"].count()
    ratio = frame["slope_error"].mean() / frame["slope"].std(ddof=1)
    figures["error_ratio"] = [ratio, ratio / np.sqrt(2 * (n - 1))]
    return figures


def main(folder: Path, results: Path) -> None:
    """Write JSON and a table."""
    files = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
    replicates = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    found = {way: summary(replicates, way) for way in ("whole", "split")}
    plain = {
        way: {name: [None if np.isnan(x) else x for x in pair] for name, pair in part.items()}
        for way, part in found.items()
    }
    design = {"participants": N_PARTICIPANTS, "trials": N_TRIALS, "blocks": N_BLOCKS, "settings": SETTINGS}
    write_json(results / "sample_splitting.json", {"design": design, "replicates": replicates, "summary": plain})
    lines = [
        "# Sample splitting",
        "",
        f"{len(replicates)} cohorts of {N_PARTICIPANTS} participants with {N_TRIALS} trials in {N_BLOCKS} blocks",
        f"(`simulate_cohort`, model `{SETTINGS['model']}`, {SETTINGS['epochs']} epochs), each fitted with all blocks",
        "and with equations from half of them and coefficients from the others (`spice_fit_split`); meta-regression",
        "of each coefficient. In brackets the Monte-Carlo standard error over replicates; differences below twice that",
        "are noise. Run by `benchmarks/sample_splitting/run.sh`.",
        "",
        "| | all blocks | split |",
        "|---|---|---|",
    ]
    for name, label in LABELS.items():
        cells = [" (".join(f"{x:.3f}" for x in found[way][name]) + ")" for way in ("whole", "split")]
        lines.append(f"| {label} | {' | '.join(cell.replace('nan (nan)', '-') for cell in cells)} |")
    (results / "sample_splitting.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
