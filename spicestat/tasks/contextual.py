"""Contextual bandits: weights of features, learned by least mean squares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_FEATURES = ("x1", "x2", "x3")
_NOISE = 0.2


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b w x of the actions."""
    rows, features = trials.rows, np.stack(trials.context, axis=-1)
    w = trials.zeros(p["beta"], trials.n_actions, features.shape[-1])
    for t in trials.times:
        q = (w * features[t][:, None]).sum(axis=-1)
        yield p["beta"][..., None] * q
        choice = trials.choice[t]
        error = trials.error(t, q[:, rows, choice])
        w[:, rows, choice] += (p["alpha"] * error)[..., None] * features[t]


def world(size: Size, rng: np.random.Generator) -> World:
    """Three arms, whose rewards are weighted sums of three features, each there or not."""
    shown = {name: rng.integers(0, 2, (size.n_trials, size.n_sessions)).astype(float) for name in _FEATURES}
    weights = rng.normal(0.0, 0.5, (size.n_sessions, 3, 3))
    features = np.stack(list(shown.values()), axis=-1)
    choice = yield Shown(context=shown)
    for t in range(size.n_trials):
        mean = (weights[np.arange(size.n_sessions), choice] * features[t]).sum(axis=-1)
        choice = yield mean + _NOISE * rng.standard_normal(size.n_sessions)


TASKS = (
    Task(
        name="contextual",
        title="contextual bandit, least mean squares",
        equations="Q[a] = w[a] x; w[c] += α (r - Q[c]) x; P = softmax(β Q)",
        source="Sutton & Barto 2018, chapter 9; people: Schulz et al. 2018, doi:10.1037/xlm0000463",
        needs=(("context",),),
        parameters=(
            TaskParameter("alpha", "learning rate", 0.15, "logit", 0.6),
            TaskParameter("beta", "weight of values (inverse temperature)", 8.0, "log", 0.4, "1/reward"),
        ),
        utilities=utilities,
        world=world,
        columns={"trial": "trial", "choice": "choice", "reward": "reward", "context": list(_FEATURES)},
        actions=("a", "b", "c"),
        n_trials=150,
        reward_size=1.5,
    ),
)
