"""Recovery of the task library: 30 people with the usual number of trials, cohort after cohort, task after task.

Every cohort is one record of the results file, so that a run goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spicestat import spice_fit, spice_group
from spicestat.errors import SpicestatWarning
from spicestat.fit.task_fit import TaskFit
from spicestat.tasks import TASKS, Task
from spicestat.tasks.playing import TaskCohort

N_PEOPLE = 30
CHEAP_FIRST = (
    "bandit",
    "discounting",
    "effort",
    "reversal",
    "pst",
    "counterfactual_feedback",
    "discounting_constant_sensitivity",
    "contextual",
    "risky_choice",
    "effort_sigmoid",
    "reversal_ewa",
    "igt_pvl_delta",
    "ddm",
    "restless",
    "igt",
    "go_nogo",
    "rlwm",
    "two_step",
)


def main() -> None:
    """Add cohorts to the results until there are enough or the time is up, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("tasks", nargs="*", default=[])
    parser.add_argument("--cohorts", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=600.0)
    arguments = parser.parse_intermixed_args()
    unknown = set(arguments.tasks) - set(CHEAP_FIRST)
    if unknown:
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}")
    store = arguments.out.with_suffix(".json")
    results: dict[str, list[dict[str, Any]]] = json.loads(store.read_text()) if store.exists() else {}
    begun = time.process_time()
    # round after round, so that a run that is stopped leaves as many cohorts of every task
    for number in range(arguments.cohorts):
        for name in arguments.tasks or CHEAP_FIRST:
            records = results.setdefault(name, [])
            if len(records) == number and time.process_time() - begun < 60.0 * arguments.minutes:
                records.append(one_cohort(TASKS[name], seed=number))
                store.write_text(json.dumps(results, indent=0), encoding="utf-8")
                arguments.out.with_suffix(".md").write_text(page(results), encoding="utf-8")


def one_cohort(task: Task, seed: int) -> dict[str, Any]:
    """Simulate, fit, and compare with the truth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpicestatWarning)
        cohort, fit, seconds = fitted_cohort(task, seed)
        # withheld intervals are what is to be judged
        group = spice_group(fit, "~ 1", max_unidentified=1.0)
    means, parameters = group.tidy().set_index("sparse_term"), {}
    pooled = fit.coefficients.wide("pooled")
    sizes = true_sizes(task, fit.choice_likelihood().trials.sizes, fit.choice_likelihood().trials.attributes)
    for one in task.parameters:
        link, row = one.found_link, means.loc[one.name]
        both = [link.to_unconstrained(values) for values in (pooled[task.name, one.name], cohort.truth[one.name])]
        parameters[one.name] = {
            "correlation": float(np.corrcoef(*both)[0, 1]),
            "estimate": float(row["estimate"]),
            "std_error": float(row["std_error"]),
            "held": bool(row["conf_low"] <= one.start(sizes) <= row["conf_high"]),
            "true": one.start(sizes),
        }
    return {
        "seed": seed,
        "seconds": seconds,
        "converged": bool(fit.estimates.converged),
        "unidentified": fit.coefficients.share_unidentified,
        "parameters": parameters,
    }


def fitted_cohort(task: Task, seed: int) -> tuple[TaskCohort, TaskFit, float]:
    """Simulate a cohort and fit it; also seconds of processor time."""
    cohort, begun = task.simulate(N_PEOPLE, seed=seed), time.process_time()
    fit = spice_fit(cohort.trials, model=task.name, **task.columns)
    return cohort, fit, time.process_time() - begun


def true_sizes(task: Task, found: Mapping[str, float], attributes: Mapping[str, object]) -> dict[str, float]:
    """Sizes about which people were drawn: of rewards those of the task, of all else those of the trials."""
    return dict(found) if "reward" in attributes else {**found, "reward": task.reward_size}


def page(results: Mapping[str, list[dict[str, Any]]]) -> str:
    """Write the table of all cohorts."""
    rows = []
    for name, records in results.items():
        for parameter in records[0]["parameters"] if records else ():
            own = [record["parameters"][parameter] for record in records]
            rows.append(
                {
                    "task": name,
                    "parameter": parameter,
                    "cohorts": len(own),
                    "correlation": np.mean([one["correlation"] for one in own]),
                    "coverage": np.mean([one["held"] for one in own]),
                    "bias": np.mean([(one["estimate"] - one["true"]) / one["std_error"] for one in own]),
                    "unidentified": np.mean([record["unidentified"] for record in records]),
                    "seconds": np.mean([record["seconds"] for record in records]),
                }
            )
    table = pd.DataFrame(rows)
    lines = [
        "# Recovery of the task library",
        "",
        f"{N_PEOPLE} people with the usual number of trials, parameters drawn about usual values on the scale of",
        "their links. Correlation: of true and pooled parameters over people, on that scale, mean over cohorts.",
        "Coverage: share of cohorts whose 95 % interval of the group's mean holds the mean that people were drawn",
        'about (`spice_group(fit, "~ 1")`). Bias: mean of estimate less truth, in standard errors. Unidentified: share',
        "of people with a parameter that their own choices do not bound. Seconds of one processor for a fit.",
        "`bash benchmarks/task_recovery/run.sh`.",
        "",
        "| task | parameter | cohorts | correlation | coverage | bias | unidentified | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples(index=False):
        lines.append(
            f"| {row.task} | {row.parameter} | {row.cohorts} | {row.correlation:.2f} | {row.coverage:.2f} | "
            f"{row.bias:+.2f} | {row.unidentified:.2f} | {row.seconds:.1f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
