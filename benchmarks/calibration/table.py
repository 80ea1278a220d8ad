"""Summarise the replicates: python -m benchmarks.calibration.table BUILD RESULTS."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import t as student

from benchmarks.calibration.cells import CELLS, Cell
from benchmarks.calibration.methods import METHODS
from spicestat.group.methods.registry import find_method

_LINKED = {name for name, options in METHODS.items() if "links" in options} | {"oracle"}
DOCS = Path("docs/group-models.md")
BEGIN, END = "<!-- calibration table -->", "<!-- end of calibration table -->"
STUDIES = (
    "N40 T100",
    "N100 T100",
    "N40 T400",
    "N100 T400",
    "lowb N100 T100",
    "lowb start N100 T100",
    "diagnosis",
    "unequal T",
    "short T40",
    "correlated",
)


def natural_effect(cell: Cell) -> float:
    """Slope of the learning rate itself on the covariate: Cov(alpha, z) / Var(z), by quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    mean = expit(-0.6 + cell.effect * np.array([0.0, 1.0])[:, None] + 0.7 * points) @ weights
    if cell.binary:
        return float(mean[1] - mean[0])
    given_z = expit(-0.6 + cell.effect * points[:, None] + 0.7 * points) @ weights
    return float(np.sum(weights * points * given_z))


def summarise(records: list[dict[str, Any]], method: str, target: float) -> dict[str, Any] | None:
    """Bias to power of one method in one cell."""
    found = [record[method] for record in records if method in record]
    usable = [one for one in found if one.get("estimate") is not None and np.isfinite(one.get("std_error") or np.nan)]
    if len(usable) < 2:
        return None
    estimate, error, df = (np.array([one[name] for one in usable]) for name in ("estimate", "std_error", "df"))
    half = student.ppf(0.975, df) * error
    significant = np.abs(estimate) > half
    return {
        "replicates": len(found),
        "bias": float(estimate.mean() - target),
        "rmse": float(np.sqrt(np.mean((estimate - target) ** 2))),
        "sd": float(estimate.std(ddof=1)),
        "se_over_sd": float(error.mean() / estimate.std(ddof=1)),
        "coverage": float(np.mean(np.abs(estimate - target) <= half)),
        "rejected": float(significant.mean()),
        "failed": 1.0 - float(np.mean([one.get("converged", True) and "error" not in one for one in found])),
        "seconds": float(np.median([one.get("seconds", np.nan) for one in usable])),
    }


def rows(build: Path) -> Iterator[dict[str, Any]]:
    """One row per cell and method."""
    for name, cell in CELLS.items():
        files = sorted(build.glob(f"{name.replace(' ', '_')}.*.jsonl"))
        records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        shares = [record["share_unidentified"] for record in records]
        for method in ("oracle", *METHODS):
            target = cell.effect if method in _LINKED else natural_effect(cell)
            summary = summarise(records, method, target)
            if summary is not None:
                yield {
                    "cell": name,
                    "method": method,
                    "scale": "link" if method in _LINKED else "natural",
                    "target": target,
                    **summary,
                    "share_unidentified": float(np.mean(shares)),
                    "withheld": float(np.mean(np.array(shares) > _limit(method))),
                }


def _limit(method: str) -> float:
    """Share of participants without an identified estimate above which a method's inference is withheld."""
    options = METHODS.get(method)
    return 1.0 if options is None else find_method(options["method"]).max_unidentified


def main() -> None:
    """Write calibration.json and calibration.md."""
    build, results = Path(sys.argv[1]), Path(sys.argv[2])
    table = pd.DataFrame(rows(build))
    content = {"rows": table.to_dict("records")}
    (results / "calibration.json").write_text(json.dumps(content, indent=1) + "\n")
    (results / "calibration.md").write_text(_markdown(table))
    if DOCS.exists():
        DOCS.write_text(with_table(DOCS.read_text(), pipes(condensed(table))))


def condensed(table: pd.DataFrame) -> pd.DataFrame:
    """One row per study and method: what happens with an effect, and how often none is taken for one."""
    by_cell = table.set_index(["cell", "method"])
    found = []
    for study in STUDIES:
        for method in ("oracle", *METHODS):
            effect, nothing = ((f"{study} g={size}", method) for size in (0.4, 0.0))
            if effect in by_cell.index and nothing in by_cell.index:
                row, null = by_cell.loc[effect], by_cell.loc[nothing]
                relative = {name: row[name] / row["target"] for name in ("bias", "rmse")}
                found.append(
                    {
                        "study": study,
                        "method": method,
                        "bias": f"{100 * relative['bias']:+.0f} %",
                        "RMSE": f"{100 * relative['rmse']:.0f} %",
                        "coverage": f"{row['coverage']:.3f}",
                        "type-I error": f"{null['rejected']:.3f}",
                        "power": f"{row['rejected']:.2f}",
                        "seconds": "" if np.isnan(row["seconds"]) else f"{row['seconds']:.2f}",
                        "replicates": f"{row['replicates']:.0f}",
                    }
                )
    return pd.DataFrame(found)


def with_table(page: str, table: str) -> str:
    """Return a page with the table between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise SystemExit(f"{DOCS} lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _markdown(table: pd.DataFrame) -> str:
    parts = [
        "# Calibration of the group methods, with the equations known",
        "",
        "Written by `benchmarks/calibration/run.sh table`. The default method, as it is called, is in "
        "[product.md](product.md) and [multilevel.md](multilevel.md).",
        "",
    ]
    for method, block in table.groupby("method", sort=False):
        parts += [f"## {method}", "", pipes(block.drop(columns="method")), ""]
    return "\n".join(parts)


def pipes(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * table.shape[1]]
    lines += [[_shown(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _shown(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "**no**"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
