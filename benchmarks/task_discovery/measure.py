"""Discovery beside published models: people simulated with and without a mechanism that the fitted model lacks."""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spicestat.errors import SpicestatWarning
from spicestat.fit.task_fit import fit_task
from spicestat.tasks import TASKS, Task
from spicestat.tasks.choosing import log_shares
from spicestat.tasks.task_trials import TaskTrials
from spicestat.trials import read_trials

N_PEOPLE = 30
_KEEP, _HABIT = 0.85, 1.0

Parameters = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A mechanism: what people do, what is fitted, and how the mechanism would be called."""

    mechanism: str
    people: Task
    fitted: Task
    signs: tuple[str, ...]


def forgetting(trials: TaskTrials, p: Parameters) -> Iterator[np.ndarray]:
    """Probabilistic selection, but that the values of all other items fade."""
    q, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows
    for t in trials.times:
        yield p["beta"][..., None] * trials.of_actions(q, t)
        taken = trials.taken(t)
        error = trials.error(t, q[:, rows, taken])
        new = q[:, rows, taken] + np.where(error > 0, p["alpha_gain"], p["alpha_loss"]) * error
        q *= _KEEP
        q[:, rows, taken] = new


def interference(trials: TaskTrials, p: Parameters) -> Iterator[np.ndarray]:
    """RLWM, but that a key that was right is pressed again whatever is shown."""
    rows, n, (set_size,) = trials.rows, trials.n_actions, trials.context
    q = trials.zeros(p["alpha"], trials.n_slots, fill=1.0 / n)
    memory, habit = q.copy(), trials.zeros(p["alpha"], n)
    lapse, fade = p["epsilon"][..., None], p["phi"][..., None]
    for t in trials.times:
        trust = (p["rho"] * np.minimum(1.0, p["capacity"] / set_size[t]))[..., None]
        learned, held = (np.exp(log_shares(50.0 * trials.of_actions(values, t))) for values in (q, memory))
        published = np.log((1.0 - lapse) * (trust * held + (1.0 - trust) * learned) + lapse / n)
        yield log_shares(published + _HABIT * habit)
        taken = trials.taken(t)
        share = np.where(trials.reward[t] > 0, 1.0, p["gamma"])
        q[:, rows, taken] += p["alpha"] * share * trials.error(t, q[:, rows, taken])
        memory[:, rows, taken] += share * trials.error(t, memory[:, rows, taken])
        memory += fade * (1.0 / n - memory)
        habit *= 0.5
        habit[:, rows, trials.choice[t]] += trials.reward[t]


def without_pavlov() -> Task:
    """The go/no-go model without its Pavlovian bias."""
    task = TASKS["go_nogo"]

    def utilities(trials: TaskTrials, p: Parameters) -> Iterator[np.ndarray]:
        return task.utilities(trials, {**p, "pi": np.zeros_like(p["bias"])})

    return replace(task, parameters=tuple(one for one in task.parameters if one.name != "pi"), utilities=utilities)


def cases() -> dict[str, tuple[Case, Case]]:
    """Return, by task, people with the mechanism and people without it."""
    pst, rlwm, plain = TASKS["pst"], TASKS["rlwm"], without_pavlov()
    return {
        "pst": (
            Case("forgetting", replace(pst, utilities=forgetting), pst, ("@item",)),
            Case("none", pst, pst, ()),
        ),
        "go_nogo": (
            Case("Pavlovian bias", TASKS["go_nogo"], plain, ("constant_2:",)),
            Case("none", plain, plain, ()),
        ),
        "rlwm": (
            Case(
                "interference", replace(rlwm, utilities=interference), rlwm, ("rewarded_", "value_", "last", "choices")
            ),
            Case("none", rlwm, rlwm, ()),
        ),
    }


def one_cohort(case: Case, seed: int) -> dict[str, Any]:
    """Simulate, fit and search."""
    cohort = case.people.simulate(N_PEOPLE, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpicestatWarning)
        table = read_trials(cohort.trials, **case.people.columns)
        found = fit_task(table, case.fitted).discover()
    return {"seed": seed, "terms": found.terms["term"].tolist(), "gain": found.terms["gain_per_choice"].tolist()}


def page(results: Mapping[str, list[dict[str, Any]]]) -> str:
    """Write the table."""
    lines = [
        "# What is found beside published models",
        "",
        f"{N_PEOPLE} simulated people. Found: cohorts with anything; named: with a state that says what was put in, by",
        "its name. Gain: of all that was found, nats per left-out choice, mean over cohorts that found something.",
        "`bash benchmarks/task_discovery/run.sh`.",
        "",
        "| task | put in | cohorts | found | named | gain | most frequent first find |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, pair in cases().items():
        for case in pair:
            records = results.get(f"{task}/{case.mechanism}", [])
            if not records:
                continue
            some = [record for record in records if record["terms"]]
            named = [record for record in some if any(s in term for term in record["terms"] for s in case.signs)]
            firsts = [record["terms"][0] for record in some]
            usual = f"`{max(sorted(set(firsts)), key=firsts.count)}`" if firsts else "-"
            gain = f"{np.mean([sum(record['gain']) for record in some]):.4f}" if some else "-"
            lines.append(
                f"| {task} | {case.mechanism} | {len(records)} | {len(some)} | {len(named) if case.signs else '-'} | "
                f"{gain} | {usual} |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Add cohorts until there are enough or the time is up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("tasks", nargs="*", default=[])
    parser.add_argument("--cohorts", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=600.0)
    arguments = parser.parse_intermixed_args()
    store = arguments.out.with_suffix(".json")
    results: dict[str, list[dict[str, Any]]] = json.loads(store.read_text()) if store.exists() else {}
    begun = time.process_time()
    for task in arguments.tasks or cases():
        for case in cases()[task]:
            records = results.setdefault(f"{task}/{case.mechanism}", [])
            while len(records) < arguments.cohorts and time.process_time() - begun < 60.0 * arguments.minutes:
                records.append(one_cohort(case, seed=len(records)))
                store.write_text(json.dumps(results, indent=0), encoding="utf-8")
                arguments.out.with_suffix(".md").write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
