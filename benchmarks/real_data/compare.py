"""Compare the command line's and R's tables of the real data, and write the figures as JSON."""

import json
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd

LIMIT = 1e-8


def largest_difference(first: pd.DataFrame, second: pd.DataFrame, names: dict[str, str]) -> float:
    """Largest relative difference of the named columns, which must be missing in the same rows."""
    worst = 0.0
    for name, other in names.items():
        one, two = first[name].to_numpy(dtype="float64"), second[other].to_numpy(dtype="float64")
        if not np.array_equal(np.isnan(one), np.isnan(two)):
            raise SystemExit(f"{name} is missing in other rows")
        worst = max(worst, float(np.nanmax(np.abs(one - two) / np.maximum(1.0, np.abs(one)))))
    return worst


def main(folder: Path, model: str, results: Path) -> None:
    """Read the four tables and the two timings, and write the comparison beside those of other models."""
    group, group_r = pd.read_csv(folder / "group.csv"), pd.read_csv(folder / "group_r.csv")
    group = group[group["effect"] == "fixed"].reset_index(drop=True)
    table, table_r = pd.read_csv(folder / "coefficients.csv"), pd.read_csv(folder / "coefficients_r.csv")
    dots = {name: name.replace("_", ".") for name in ("estimate", "std_error", "p_value", "p_adjusted", "conf_low")}
    figures = {
        "participants": int(table["participant"].nunique()),
        "largest_difference_group": largest_difference(group, group_r, dots),
        "largest_difference_coefficients": largest_difference(
            table, table_r, {"estimate": "estimate", "std_error": "std.error"}
        ),
        "seconds_command_line": float((folder / "seconds_cli").read_text()),
        "seconds_r": float((folder / "seconds_r").read_text()),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    known = json.loads(results.read_text()) if results.exists() else {}
    results.write_text(json.dumps({**known, model: figures}, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    if max(figures["largest_difference_group"], figures["largest_difference_coefficients"]) > LIMIT:
        raise SystemExit("R and Python disagree")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
