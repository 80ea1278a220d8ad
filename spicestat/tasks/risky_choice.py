"""Risky choice: a gamble of a gain and a loss, or a certain amount."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import ConfigError
from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World, find_action
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_GAMBLE = ("gamble", "1", "1.0", "true", "yes", "risky", "accept")


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield tau times the utilities of both."""
    gamble = find_action(trials.actions, _GAMBLE, "the gamble")
    for t in trials.times:
        gain, loss, certain = (np.sign(values[t]) * np.abs(values[t]) ** p["rho"] for values in trials.context)
        risky = 0.5 * gain - 0.5 * p["lambda"] * np.abs(loss)
        said = np.stack([risky, certain], axis=-1)
        yield p["tau"][..., None] * (said if gamble == 0 else said[..., ::-1])


def check(trials: TaskTrials) -> None:
    """Raise where there are not three contexts, or it is not clear which choice is the gamble."""
    if len(trials.context) != 3:
        raise ConfigError(
            "risky choice has three contexts: the gain, the loss and the certain amount",
            got=f"{len(trials.context)} contexts",
            do="pass context=['gain', 'loss', 'certain'], your columns in this order",
        )
    find_action(trials.actions, _GAMBLE, "the gamble")


def world(size: Size, rng: np.random.Generator) -> World:
    """Offer mixed gambles against nothing, and gains against a certain amount, in turns."""
    shape = (size.n_trials, size.n_sessions)
    gain, mixed = rng.uniform(2.0, 30.0, shape).round(2), rng.random(shape) < 0.6
    loss = np.where(mixed, -gain * rng.uniform(0.2, 2.0, shape), 0.0).round(2)
    certain = np.where(mixed, 0.0, gain * rng.uniform(0.2, 0.6, shape)).round(2)
    yield Shown(context={"gain": gain, "loss": loss, "certain": certain})
    for _ in range(size.n_trials):
        yield None


TASKS = (
    Task(
        name="risky_choice",
        title="risky choice, prospect utility",
        equations="U[gamble] = .5 gain^ρ - .5 λ |loss|^ρ, U[certain] = certain^ρ; P = softmax(τ U)",
        source="Sokol-Hessner et al. 2009, doi:10.1073/pnas.0806761106",
        needs=(("context",),),
        parameters=(
            TaskParameter("rho", "shape of the utility of amounts", 0.8, "log", 0.25),
            TaskParameter("lambda", "loss aversion", 1.5, "log", 0.4),
            TaskParameter("tau", "weight of utilities (consistency)", 30.0, "log", 0.4, "1/context"),
        ),
        utilities=utilities,
        world=world,
        columns={
            "trial": "trial",
            "choice": "chosen",
            "reward": None,
            "context": ["gain", "loss", "certain"],
        },
        actions=("certain", "gamble"),
        n_trials=140,
        learns=False,
        check=check,
    ),
)
