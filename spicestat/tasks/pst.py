"""Probabilistic selection: values of items that are on offer in pairs, with two learning rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_WINS = np.array([0.8, 0.2, 0.7, 0.3, 0.6, 0.4])


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b Q of the items on offer."""
    q, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows
    for t in trials.times:
        yield p["beta"][..., None] * trials.of_actions(q, t)
        taken = trials.taken(t)
        error = trials.error(t, q[:, rows, taken])
        q[:, rows, taken] += np.where(error > 0, p["alpha_gain"], p["alpha_loss"]) * error


def world(size: Size, rng: np.random.Generator) -> World:
    """Show three pairs in random order and places; items win with .8 to .2."""
    shape = (size.n_trials, size.n_sessions)
    item = 2 * rng.integers(0, 3, shape)[..., None] + np.array([0, 1])
    item = np.where(rng.random(shape)[..., None] < 0.5, item, item[..., ::-1])
    choice = yield Shown(item=item)
    for t in range(size.n_trials):
        taken = item[t, np.arange(size.n_sessions), choice]
        choice = yield (rng.random(size.n_sessions) < _WINS[taken]).astype(float)


TASKS = (
    Task(
        name="pst",
        title="probabilistic selection, with learning rates for gains and losses",
        equations="Q[c] += αG [d]+ + αL [d]-, d = r - Q[c]; P = softmax(β Q) of the two items on offer",
        source="Frank et al. 2007, doi:10.1073/pnas.0706111104",
        needs=(("options", "stimulus"),),
        parameters=(
            TaskParameter("alpha_gain", "learning rate where the outcome is better than expected", 0.3, "logit", 0.7),
            TaskParameter("alpha_loss", "learning rate where it is worse", 0.2, "logit", 0.7),
            TaskParameter("beta", "weight of values (inverse temperature)", 5.0, "log", 0.4, "1/reward"),
        ),
        utilities=utilities,
        world=world,
        columns={
            "trial": "trial",
            "choice": "response",
            "reward": "feedback",
            "options": {"left": "stim_left", "right": "stim_right"},
        },
        actions=("left", "right"),
        labels={"item": tuple("ABCDEF")},
        n_trials=180,
    ),
)
