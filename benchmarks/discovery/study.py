"""Are states that the library lacks found, and is nothing found where there is none? study.py results/discovery."""

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.tables import as_table
from spicestat import spice_fit
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.states import Signal, State, state
from spicestat.simulate import BanditsDrift
from spicestat.simulate.user_environment import as_environment

PEOPLE, TRIALS, COHORTS = 40, 300, 10
LAST, VALUE, TRACE = state("last"), state(("value", 0.7)), state(("choices", 0.8))
LEARNER = {LAST: (0.3, 0.4), VALUE: (3.0, 0.8), TRACE: (0.8, 0.5)}
"""Means and standard deviations of people's weights."""


class Case(NamedTuple):
    """What people do, and which signals a discovery of it has."""

    weights: dict[State, tuple[float, float]]
    signals: frozenset[str]
    back: int | None = None


CASES = {
    "exploration grows with a losing streak": Case(
        {**LEARNER, State((Signal(kind="value", keep=0.7), Signal(kind="losing"))): (-1.3, 0.4)},
        frozenset({"losing", "fading"}),
    ),
    "perseveration fades with the log of the trials since a reward": Case(
        {**LEARNER, LAST: (1.5, 0.4), State((Signal(kind="last"), Signal(kind="losing"))): (-1.0, 0.4)},
        frozenset({"losing", "fading"}),
    ),
    "perseveration fades exponentially with the trials since a reward": Case(
        {VALUE: (3.0, 0.8), State((Signal(kind="last"), Signal(kind="fading", keep=0.8))): (1.5, 0.5)},
        frozenset({"losing", "fading"}),
    ),
    "the choice of three trials ago is repeated": Case(
        {**LEARNER, State((Signal(kind="ago", back=3),)): (0.7, 0.3)}, frozenset({"ago"}), back=3
    ),
    "nothing beyond the library": Case(LEARNER, frozenset()),
}


def simulate(case: Case, seed: int) -> Sessions:
    """Let a cohort play a bandit with drifting probabilities, one block each."""
    rng = np.random.default_rng(seed)
    means, sds = np.array(list(case.weights.values())).T
    weights = means + sds * rng.standard_normal((PEOPLE, len(means)))
    task = as_environment(BanditsDrift(0.2, 2), 2).vectorized(PEOPLE, rng)
    played = play_states(list(case.weights), weights, task, 2, TRIALS, rng)
    return pack_sessions(played.choice, played.rewards, np.arange(PEOPLE), 2, 1.0)


def is_it(case: Case, found: State) -> bool:
    """Whether a state that was found has the signal in question."""
    return any(s.kind in case.signals and case.back in (None, s.back) for s in found.signals)


def study(name: str) -> list[dict[str, Any]]:
    """Fit and search every cohort of a case; seeds are 0, 1, ..."""
    rows = []
    for seed in range(COHORTS):
        fit = spice_fit(as_table(simulate(CASES[name], seed)), block="block")
        started = time.process_time()
        found = fit.discover()
        rows.append(
            {
                "seed": seed,
                "found": found.terms["term"].tolist(),
                "gain": found.terms["gain_per_choice"].tolist(),
                "right": any(is_it(CASES[name], s) for s in found.fit.states if s.name in set(found.terms["term"])),
                "network": fit.network.nll_equations - fit.network.nll,
                "processor_seconds": time.process_time() - started,
            }
        )
        print(name, json.dumps(rows[-1]), flush=True)
    return rows


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Write the results as Markdown."""
    lines = ["| simulated | found in | anything else added in | terms found first |", "|---|---|---|---|"]
    for name, rows in results.items():
        right = sum(bool(row["right"]) for row in rows)
        other = sum(bool(row["found"]) and not row["right"] for row in rows)
        first = sorted({row["found"][0] for row in rows if row["found"]})
        lines.append(f"| {name} | {right} of {len(rows)} | {other} of {len(rows)} | {', '.join(first)} |")
    return (
        "# Discovery beyond the library\n\n"
        f"{COHORTS} cohorts of {PEOPLE} people with {TRIALS} trials for each row. "
        "`bash benchmarks/discovery/run.sh`\n\n" + "\n".join(lines) + "\n"
    )


def main(target: Path) -> None:
    """Run all cases and write .json and .md."""
    results = {name: study(name) for name in CASES}
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
