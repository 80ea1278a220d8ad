"""How often does the audit card flag what it should, and what it should not? measure.py results/card [COHORTS]."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.card.cohorts import (
    BLOCKS,
    EQUATIONS,
    PEOPLE,
    STRUCTURES,
    TRIALS,
    equations,
    history,
    oracle,
    updated,
)
from spicestat import HistoryFit, SpiceFit, simulate_cohort, spice_fit
from spicestat.studies.card import spice_card
from spicestat.studies.card_checks import choice_curves, flat_directions, pairs_of_coefficients, pairs_of_means
from spicestat.studies.power import wilson_interval
from spicestat.studies.redrawn import redrawn

_TEXT = f"""# What the audit card flags

{PEOPLE} people, {BLOCKS} x {TRIALS} trials. Structures are given; one pair of their coefficients cannot be told apart
(sum, near, edge), or all can (clean, apart). The largest correlation is that of two weights of a person, in choices of
1,000 people at their true weights. `bash benchmarks/card/run.sh`

| cohorts | n | largest correlation | planted pair flagged | other pair flagged | flat direction | choice curve |
|---|---|---|---|---|---|---|
"""


def kinds() -> Iterator[tuple[str, frozenset[str], Callable[[int], SpiceFit | HistoryFit]]]:
    """Yield each kind of cohort with its planted pairs, and what fits one."""
    for name, (_, planted) in STRUCTURES.items():
        yield f"history, {name}", planted, lambda seed, name=name: history(name, seed)
    for name, (_, planted) in EQUATIONS.items():
        base = equations(name)
        yield f"equations, {name}", planted, lambda seed, base=base: updated(base, seed)


def one(fit: SpiceFit | HistoryFit, planted: frozenset[str], seed: int) -> dict[str, bool]:
    """Say what is flagged in one cohort: the planted pair, any other pair, a flat direction, a choice curve."""
    flagged = {check.subject for check in (*pairs_of_coefficients(fit), *pairs_of_means(fit)) if check.flag}
    found = {
        "planted": bool(planted) and planted <= flagged,
        "other pairs": bool(flagged - planted),
        "flat direction": any(check.flag for check in flat_directions(fit)),
    }
    if isinstance(fit, HistoryFit) and not planted:
        curves = choice_curves(redrawn(fit), np.random.default_rng(seed))
        found["choice curve"] = any(check.flag for check in curves)
    return found


def share(cohorts: list[dict[str, bool]], what: str) -> str:
    """Share of cohorts in which something is flagged, with its 95 % interval; "" where it was not asked."""
    if what not in cohorts[0]:
        return ""
    n = sum(cohort[what] for cohort in cohorts)
    low, high = wilson_interval(n, len(cohorts))
    return f"{n / len(cohorts):.3f} [{low:.2f}, {high:.2f}]"


def main(target: Path, n_cohorts: int) -> None:
    """Take up where the results stop; seeds are 0, 1, ..."""
    file = target.with_suffix(".json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    lines = []
    for kind, planted, fit in kinds():
        done = results.setdefault(kind, [])
        for seed in range(len(done), n_cohorts):
            done.append(one(fit(seed), planted, seed))
            if seed % 10 == 9 or seed == n_cohorts - 1:
                file.write_text(json.dumps(results), encoding="utf-8")
        name = kind.partition(", ")[2]
        known = f"{oracle(name):.3f}" if kind.startswith("history") else ("1.000" if planted else "")
        cells = [kind, len(done), known, share(done, "planted") if planted else "",
                 *(share(done, what) for what in ("other pairs", "flat direction", "choice curve"))]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    file.with_suffix(".md").write_text(_TEXT + "\n".join(lines) + f"\n\n{whole()}\n", encoding="utf-8")


def whole() -> str:
    """Time of a whole card of 100 people with 200 trials."""
    fit = spice_fit(simulate_cohort(100, 200, n_blocks=4, seed=1).trials, block="block", trial="trial")
    started = time.process_time()
    card = spice_card(fit)
    spent = time.process_time() - started
    return f"A whole card of 100 people with 200 trials ({len(card.table)} checks): {spent:.0f} s of processor time."


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
