"""Tasks with published models: simulators, equations with their sources, and what `spice_fit` takes to fit them."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from spicestat.errors import ConfigError
from spicestat.tasks.playing import TaskCohort
from spicestat.tasks.task import Task, TaskParameter

__all__ = ["TASKS", "Task", "TaskCohort", "TaskName", "TaskParameter", "spice_task"]

TaskName = Literal[
    "bandit",
    "contextual",
    "counterfactual_feedback",
    "ddm",
    "discounting",
    "discounting_constant_sensitivity",
    "effort",
    "effort_sigmoid",
    "go_nogo",
    "igt",
    "igt_pvl_delta",
    "pst",
    "restless",
    "reversal",
    "reversal_ewa",
    "risky_choice",
    "rlwm",
    "two_step",
]
"""Names of `TASKS`, for editors that complete them."""


def _found() -> dict[str, Task]:
    """Find the tasks: every file of this folder that has ``TASKS``."""
    files = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {task.name: task for file in files for task in getattr(file, "TASKS", ())}


TASKS: Mapping[str, Task] = _found()
"""Tasks by name, which is ``model=`` of `spice_fit`."""


def spice_task(name: str) -> Task:
    """Return a task of the library: its model, what it reads, and a simulator.

    Parameters
    ----------
    name : str
        One of `TASKS`.

    Returns
    -------
    Task

    Raises
    ------
    ConfigError
        There is no such task.

    Examples
    --------
    >>> task = spice_task("pst")
    >>> task.roles
    ('choice', 'reward', 'options or stimulus')
    >>> cohort = task.simulate(n_participants=3, n_trials=20, seed=1)
    >>> list(cohort.trials), list(cohort.truth)[1:]
    (['participant', 'trial', 'stim_left', 'stim_right', 'response', 'feedback'], ['alpha_gain', 'alpha_loss', 'beta'])
    """
    if name not in TASKS:
        raise ConfigError("unknown task", got=name, allowed=", ".join(TASKS))
    return TASKS[name]
