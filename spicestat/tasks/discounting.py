"""Delay discounting: amounts that count less the later they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import ConfigError, DataError
from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_DELAYS = np.array([2.0, 7.0, 14.0, 30.0, 90.0, 180.0])


def hyperbolic(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b A / (1 + k D)."""
    beta, k = p["beta"][..., None], p["k"][..., None]
    for t in trials.times:
        yield beta * trials.attributes["amount"][t] / (1.0 + k * trials.attributes["delay"][t])


def constant_sensitivity(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b A exp(-(r D)^s)."""
    beta, r, s = (p[name][..., None] for name in ("beta", "r", "s"))
    for t in trials.times:
        yield beta * trials.attributes["amount"][t] * np.exp(-((r * trials.attributes["delay"][t]) ** s))


def check(trials: TaskTrials) -> None:
    """Raise where amounts or delays are absent, or delays are below 0."""
    absent = {"amount", "delay"} - trials.attributes.keys()
    if absent:
        raise ConfigError(
            "discounting reads the attributes 'amount' and 'delay'",
            got=", ".join(trials.attributes),
            do="pass attributes={'amount': ['amount_sooner', 'amount_later'], 'delay': ['delay_sooner', "
            "'delay_later']}, with your columns in the order of the actions",
        )
    if trials.attributes["delay"].min() < 0:
        raise DataError("delays are below 0", got=float(trials.attributes["delay"].min()), allowed="0 and above")


def world(size: Size, rng: np.random.Generator) -> World:
    """Offer 20 later or 5 to 95 % of it now."""
    shape = (size.n_trials, size.n_sessions)
    now = 20.0 * rng.uniform(0.05, 0.95, shape).round(2)
    delay = rng.choice(_DELAYS, shape)
    offer = {
        "amount": np.stack([np.full(shape, 20.0), now], axis=-1),
        "delay": np.stack([delay, np.zeros(shape)], axis=-1),
    }
    yield Shown(attributes=offer)
    for _ in range(size.n_trials):
        yield None


_BETA = TaskParameter("beta", "weight of discounted amounts", 10.0, "log", 0.4, "1/amount")
_COLUMNS = {
    "trial": "trial",
    "choice": "chosen",
    "reward": None,
    "attributes": {"amount": ["amount_later", "amount_sooner"], "delay": ["delay_later", "delay_sooner"]},
}

TASKS = (
    Task(
        name="discounting",
        title="delay discounting, hyperbolic",
        equations="V = amount / (1 + k delay); P = softmax(β V)",
        source="Mazur 1987, in Commons et al. (eds.), Quantitative Analyses of Behavior 5, 55-73",
        needs=(("attributes",),),
        parameters=(TaskParameter("k", "discount rate, per unit of delay", 4.0, "log", 1.0, "1/delay"), _BETA),
        utilities=hyperbolic,
        world=world,
        columns=_COLUMNS,
        actions=("later", "sooner"),
        n_trials=100,
        learns=False,
        check=check,
    ),
    Task(
        name="discounting_constant_sensitivity",
        title="delay discounting, constant sensitivity",
        equations="V = amount exp(-(r delay)^s); P = softmax(β V)",
        source="Ebert & Prelec 2007, doi:10.1287/mnsc.1060.0671",
        needs=(("attributes",),),
        parameters=(
            TaskParameter("r", "impatience, per unit of delay", 4.0, "log", 0.8, "1/delay"),
            TaskParameter("s", "sensitivity to delay; 1 is exponential discounting", 0.7, "log", 0.3),
            _BETA,
        ),
        utilities=constant_sensitivity,
        world=world,
        columns=_COLUMNS,
        actions=("later", "sooner"),
        n_trials=150,
        learns=False,
        check=check,
    ),
)
