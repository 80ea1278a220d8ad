"""Bandits with n arms: the delta rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_WINS = np.array([0.75, 0.5, 0.25])


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b Q."""
    q, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows
    for t in trials.times:
        yield p["beta"][..., None] * trials.of_actions(q, t)
        taken = trials.taken(t)
        q[:, rows, taken] += p["alpha"] * trials.error(t, q[:, rows, taken])


def world(size: Size, rng: np.random.Generator) -> World:
    """Three arms, whose probabilities are shuffled in every block."""
    wins = rng.permuted(np.tile(_WINS, (size.n_sessions, 1)), axis=1)
    choice = yield Shown()
    for _ in range(size.n_trials):
        choice = yield (rng.random(size.n_sessions) < wins[np.arange(size.n_sessions), choice]).astype(float)


TASKS = (
    Task(
        name="bandit",
        title="bandit with n arms",
        equations="Q[c] += α (r - Q[c]); P = softmax(β Q)",
        source="Rescorla & Wagner 1972; Sutton & Barto 2018, chapter 2",
        takes=("stimulus", "options"),
        parameters=(
            TaskParameter("alpha", "learning rate", 0.3, "logit", 0.7),
            TaskParameter("beta", "weight of values (inverse temperature)", 4.0, "log", 0.4, "1/reward"),
        ),
        utilities=utilities,
        world=world,
        columns={"block": "block", "trial": "trial", "choice": "choice", "reward": "reward"},
        actions=("a", "b", "c"),
        n_trials=60,
        n_blocks=3,
    ),
)
