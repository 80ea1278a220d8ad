"""What the default method must hold: the bands of the protocol, set before the replicates were run."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from benchmarks.calibration.cells import CONFOUNDED, LOW_BETA, MAIN

DEFAULT = "hierarchical"


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell and criterion: value, band, whether it is met."""
    return pd.DataFrame(_verdicts(table.set_index(["cell", "method"])))


def _verdicts(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    done = [cell for cell in (*MAIN, *CONFOUNDED, *LOW_BETA) if (cell, DEFAULT) in table.index]
    for cell in done:
        row = table.loc[(cell, DEFAULT)]
        yield _within("oracle coverage", cell, table.loc[(cell, "oracle")]["coverage"], 0.92, 0.98)
        yield from _cell_verdicts(cell, row)
    main = [table.loc[(cell, DEFAULT)]["coverage"] for cell in MAIN if cell in done]
    if main:
        yield _within("pooled coverage", "main cells", sum(main) / len(main), 0.935, 0.965)
    yield from _power_verdicts(table, [cell for cell in MAIN if cell in done and "N100" in cell and "g=0.4" in cell])


def _cell_verdicts(cell: str, row: pd.Series) -> Iterator[dict[str, Any]]:
    confounded = cell in CONFOUNDED
    if not confounded:
        yield _within("coverage", cell, row["coverage"], 0.92, 0.98)
    if row["target"] == 0.0:
        yield _within("type-I error", cell, row["rejected"], 0.0, 0.09 if confounded else 0.07)
    limit = 0.02 if "T400" in cell else 0.03
    yield _within("bias", cell, row["bias"], -limit, limit)
    yield _within("mean SE / empirical SD", cell, row["se_over_sd"], 0.88, 1.10)
    yield _within("not converged", cell, row["failed"], 0.0, 0.01)


def _power_verdicts(table: pd.DataFrame, cells: list[str]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        share = table.loc[(cell, DEFAULT)]["rejected"] / table.loc[(cell, "oracle")]["rejected"]
        yield _within("power / power of the oracle", cell, share, 0.90, float("inf"))


def _within(criterion: str, cell: str, value: float, low: float, high: float) -> dict[str, Any]:
    met = bool(low <= value <= high)
    return {"criterion": criterion, "cell": cell, "value": float(value), "low": low, "high": high, "met": met}
