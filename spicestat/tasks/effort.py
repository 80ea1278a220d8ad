"""Effort: rewards that count less the more they cost, by a parabola or a sigmoid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import ConfigError, DataError
from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]


def parabolic(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b (R - k E^2)."""
    beta, k = p["beta"][..., None], p["k"][..., None]
    for t in trials.times:
        yield beta * (trials.attributes["reward"][t] - k * trials.attributes["effort"][t] ** 2)


def sigmoid(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b R (1 - C(E)), with a sigmoid C that is 0 without effort and goes to 1."""
    beta, slope, turn = (p[name][..., None] for name in ("beta", "k", "p"))
    zero = 1.0 / (1.0 + np.exp(slope * turn))
    for t in trials.times:
        cost = 1.0 / (1.0 + np.exp(-slope * (trials.attributes["effort"][t] - turn)))
        yield beta * trials.attributes["reward"][t] * (1.0 - (cost - zero) / (1.0 - zero))


def check(trials: TaskTrials) -> None:
    """Raise where rewards or efforts are absent, or efforts are below 0."""
    absent = {"reward", "effort"} - trials.attributes.keys()
    if absent:
        raise ConfigError(
            "effort reads the attributes 'reward' and 'effort'",
            got=", ".join(trials.attributes),
            do="pass attributes={'reward': ['reward_rest', 'reward_work'], 'effort': ['effort_rest', 'effort_work']}, "
            "with your columns in the order of the actions",
        )
    if trials.attributes["effort"].min() < 0:
        raise DataError("efforts are below 0", got=float(trials.attributes["effort"].min()), allowed="0 and above")


def world(size: Size, rng: np.random.Generator) -> World:
    """Offer 1 for rest, or 2 to 10 for an effort of .1 to 1."""
    shape = (size.n_trials, size.n_sessions)
    work = rng.integers(2, 11, shape).astype(float)
    effort = rng.integers(1, 11, shape) / 10.0
    offer = {
        "reward": np.stack([np.ones(shape), work], axis=-1),
        "effort": np.stack([np.zeros(shape), effort], axis=-1),
    }
    yield Shown(attributes=offer)
    for _ in range(size.n_trials):
        yield None


_BETA = TaskParameter("beta", "weight of net values", 10.0, "log", 0.4, "1/reward")
_COLUMNS = {
    "trial": "trial",
    "choice": "chosen",
    "reward": None,
    "attributes": {"reward": ["reward_rest", "reward_work"], "effort": ["effort_rest", "effort_work"]},
}

TASKS = (
    Task(
        name="effort",
        title="effort, parabolic costs",
        equations="V = reward - k effort²; P = softmax(β V)",
        source="Lockwood et al. 2017, doi:10.1038/s41562-017-0131",
        needs=(("attributes",),),
        parameters=(TaskParameter("k", "cost of effort", 0.8, "log", 0.5, "reward/effort/effort"), _BETA),
        utilities=parabolic,
        world=world,
        columns=_COLUMNS,
        actions=("rest", "work"),
        n_trials=120,
        learns=False,
        check=check,
    ),
    Task(
        name="effort_sigmoid",
        title="effort, sigmoid costs",
        equations="V = reward (1 - (C(effort) - C(0)) / (1 - C(0))), C(E) = logistic(k (E - p)); P = softmax(β V)",
        source="Klein-Flügge et al. 2015, doi:10.1371/journal.pcbi.1004116",
        needs=(("attributes",),),
        parameters=(
            TaskParameter("k", "steepness of the cost", 6.0, "log", 0.3, "1/effort"),
            TaskParameter("p", "effort at which the cost turns", 0.7, "log", 0.2, "effort"),
            _BETA,
        ),
        utilities=sigmoid,
        world=world,
        columns=_COLUMNS,
        actions=("rest", "work"),
        n_trials=180,
        learns=False,
        check=check,
    ),
)
