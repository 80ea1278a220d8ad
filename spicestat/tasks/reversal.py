"""Reversal learning: fictitious updates of what was not chosen, and experience-weighted attraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import DataError
from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_CORRECT, _SHORTEST, _LONGEST = 0.8, 15, 25


def fictitious(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b Q."""
    q, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows
    alpha = p["alpha"][..., None]
    for t in trials.times:
        yield p["beta"][..., None] * trials.of_actions(q, t)
        chosen = np.arange(trials.n_actions) == trials.choice[t][:, None]
        outcome = np.where(chosen, 1.0, -1.0) * trials.reward[t][:, None]
        q[:, rows[:, None], trials.slot[t]] += alpha * trials.error(t, trials.of_actions(q, t), outcome)


def attraction(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b v."""
    v, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows
    n = np.zeros_like(v)
    for t in trials.times:
        yield p["beta"][..., None] * trials.of_actions(v, t)
        taken, reward = trials.taken(t), trials.reward[t]
        before, old = n[:, rows, taken], v[:, rows, taken]
        after = p["rho"] * before + 1.0
        seen = ~np.isnan(reward)
        n[:, rows, taken] = np.where(seen, after, before)
        v[:, rows, taken] = np.where(seen, (p["phi"] * before * old + reward) / after, old)


def check(trials: TaskTrials) -> None:
    """Raise where no outcome is below 0: what was not chosen would then be thought to have had less than nothing."""
    if np.nanmin(trials.rewards, initial=np.inf) >= 0:
        raise DataError(
            "the fictitious update takes outcomes for gains and losses, as 1 and -1",
            got=f"outcomes of {np.nanmin(trials.rewards):g} and above",
            allowed="outcomes on both sides of 0",
            do="recode 0 and 1 as -1 and 1",
        )


def world(size: Size, rng: np.random.Generator) -> World:
    """Two actions, of which one wins with .8 and the other with .2, until they change places."""
    good = rng.integers(0, 2, size.n_sessions)
    left = rng.integers(_SHORTEST, _LONGEST, size.n_sessions)
    choice = yield Shown()
    for _ in range(size.n_trials):
        wins = rng.random(size.n_sessions) < np.where(choice == good, _CORRECT, 1.0 - _CORRECT)
        choice = yield np.where(wins, 1.0, -1.0)
        left = left - 1
        good = np.where(left == 0, 1 - good, good)
        left = np.where(left == 0, rng.integers(_SHORTEST, _LONGEST, size.n_sessions), left)


_BETA = TaskParameter("beta", "weight of values (inverse temperature)", 2.0, "log", 0.4, "1/reward")
_COLUMNS = {"trial": "trial", "choice": "choice", "reward": "outcome"}

TASKS = (
    Task(
        name="reversal",
        title="reversal learning, fictitious update",
        equations="Q[c] += α (r - Q[c]), Q[u] += α (-r - Q[u]), r in -1, 1; P = softmax(β Q)",
        source="Gläscher et al. 2009, doi:10.1093/cercor/bhn098",
        takes=("stimulus", "options"),
        parameters=(TaskParameter("alpha", "learning rate", 0.4, "logit", 0.7), _BETA),
        utilities=fictitious,
        world=world,
        columns=_COLUMNS,
        actions=("left", "right"),
        n_trials=160,
        check=check,
    ),
    Task(
        name="reversal_ewa",
        title="reversal learning, experience-weighted attraction",
        equations="n' = n[c], n[c] = ρ n' + 1, v[c] = (φ n' v[c] + r) / n[c]; P = softmax(β v)",
        source="den Ouden et al. 2013, doi:10.1016/j.neuron.2013.08.030",
        takes=("stimulus", "options"),
        parameters=(
            TaskParameter("phi", "how much of a value is kept", 0.6, "logit", 0.6),
            TaskParameter("rho", "how much experience counts, so that learning slows down", 0.4, "logit", 0.6),
            _BETA,
        ),
        utilities=attraction,
        world=world,
        columns=_COLUMNS,
        actions=("left", "right"),
        n_trials=300,
    ),
)
