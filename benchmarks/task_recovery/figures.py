"""True and pooled parameters of one simulated cohort of each task, drawn into docs/images/tasks.

    python -m benchmarks.task_recovery.figures [TASK ...]

The cohort is the first of those of `measure`.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.task_recovery.measure import CHEAP_FIRST, fitted_cohort
from spicestat._colours import BLUE
from spicestat._drawing import panels
from spicestat.errors import SpicestatWarning
from spicestat.group.inputs.links import Link
from spicestat.tasks import TASKS, Task

FOLDER = Path("docs/images/tasks")


def main() -> None:
    """Draw the tasks that are named, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or CHEAP_FIRST:
        draw(TASKS[name], FOLDER / f"{name}.png")


def draw(task: Task, file: Path) -> None:
    """Simulate, fit, and draw a panel for each parameter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpicestatWarning)
        cohort, fit, _ = fitted_cohort(task, seed=0)
    means, sds = fit.coefficients.wide("pooled"), fit.coefficients.wide("pooled_sd")
    figure, axes = panels(len(task.parameters), 2.1, 2.1)
    for axis, one in zip(axes, task.parameters, strict=True):
        key = (task.name, one.name)
        compare(axis, one.found_link, cohort.truth[one.name].to_numpy(), means[key].to_numpy(), sds[key].to_numpy())
        axis.set_title(one.name, fontsize=9)
    axes[0].set(xlabel="true", ylabel="pooled")
    figure.savefig(file, dpi=80)


def compare(axis: Axes, link: Link, true: np.ndarray, pooled: np.ndarray, sd: np.ndarray) -> None:
    """Draw people's pooled values, with their posterior standard deviations, against true ones."""
    axis.errorbar(true, pooled, sd, fmt="o", color=BLUE, markersize=3, elinewidth=0.5, ecolor="#9aa5ad")
    if link.name == "log":
        axis.set(xscale="log", yscale="log")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            one.set_major_formatter("{x:g}")
            one.set_minor_locator(NullLocator())
    axis.axline((true.mean(), true.mean()), (true.max(), true.max()), color="#9aa5ad", linewidth=0.8, zorder=0)
    axis.tick_params(labelsize=7)


if __name__ == "__main__":
    main()
