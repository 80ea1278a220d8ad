"""Restless bandits, whose arms drift: a Kalman filter of their means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import DataError
from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_NOISE, _LEAST_REWARD = 4.0, 20.0
_DECAY, _CENTRE, _DRIFT = 0.9836, 50.0, 2.8


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b m of the arms."""
    rows, keep, centre = trials.rows, p["lambda"][..., None], p["theta"][..., None]
    mean = trials.zeros(p["beta"], trials.n_slots) + centre
    variance = trials.zeros(p["beta"], trials.n_slots, fill=_NOISE**2)
    for t in trials.times:
        yield p["beta"][..., None] * trials.of_actions(mean, t)
        taken = trials.taken(t)
        before = variance[:, rows, taken]
        gain = before / (before + _NOISE**2)
        mean[:, rows, taken] += gain * trials.error(t, mean[:, rows, taken])
        variance[:, rows, taken] = np.where(np.isnan(trials.reward[t]), before, (1.0 - gain) * before)
        mean = keep * mean + (1.0 - keep) * centre
        variance = keep**2 * variance + p["sigma"][..., None] ** 2


def check(trials: TaskTrials) -> None:
    """Raise where rewards are far smaller than the noise that they are taken to have."""
    size = trials.sizes["reward"]
    if size < _LEAST_REWARD:
        raise DataError(
            "the restless bandit has rewards of 1 to 100, with noise of 4",
            got=f"rewards of {size:g} at most",
            do="multiply the rewards, as points, or pass model='bandit'",
        )


def world(size: Size, rng: np.random.Generator) -> World:
    """Four arms that drift about 50, and rewards of 1 to 100 about them."""
    spread = _DRIFT / np.sqrt(1.0 - _DECAY**2)
    arms = _CENTRE + spread * rng.standard_normal((size.n_sessions, 4))
    choice = yield Shown()
    for _ in range(size.n_trials):
        drawn = arms[np.arange(size.n_sessions), choice] + _NOISE * rng.standard_normal(size.n_sessions)
        choice = yield np.clip(np.round(drawn), 1.0, 100.0)
        arms = _DECAY * arms + (1.0 - _DECAY) * _CENTRE + _DRIFT * rng.standard_normal(arms.shape)


TASKS = (
    Task(
        name="restless",
        title="restless bandit with rewards of 1 to 100, Kalman filter",
        equations="k = s[c] / (s[c] + 16); m[c] += k (r - m[c]), s[c] *= 1 - k; all m = λ m + (1 - λ) θ, "
        "s = λ² s + σ²; P = softmax(β m); starts m = θ, s = 16",
        source="Daw et al. 2006, doi:10.1038/nature04766",
        parameters=(
            TaskParameter(
                "lambda", "how much of its distance from the centre an arm is thought to keep", 0.95, "logit"
            ),
            TaskParameter("theta", "centre to which arms are thought to return", 50.0, "identity", 5.0),
            TaskParameter("sigma", "standard deviation by which arms are thought to move", 3.0, "log", 0.4),
            TaskParameter("beta", "weight of means (inverse temperature)", 0.15, "log", 0.4),
        ),
        utilities=utilities,
        world=world,
        columns={"trial": "trial", "choice": "choice", "reward": "points"},
        actions=("a", "b", "c", "d"),
        n_trials=300,
        reward_size=100.0,
        check=check,
    ),
)
