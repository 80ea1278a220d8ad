"""Simulated people who play a task by its model, and the trials that they leave behind."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat.errors import ConfigError
from spicestat.pooled.packed import Floats, Ints, Sessions, Shown
from spicestat.tasks.task import Size, Task
from spicestat.tasks.task_likelihood import by_name, walk
from spicestat.tasks.task_trials import TaskTrials, task_trials

__all__ = ["TaskCohort", "play_parameters", "play_task"]


@dataclass(frozen=True, eq=False)
class TaskCohort:
    """Simulated trials of a task, and the truth behind them.

    Attributes
    ----------
    trials : DataFrame
        One row per trial, with the columns that `Task.columns` names.
    truth : DataFrame
        One row per person: ``participant``, and the parameters.
    """

    trials: pd.DataFrame
    truth: pd.DataFrame

    def __repr__(self) -> str:
        return f"<TaskCohort: {len(self.truth)} participants, {len(self.trials)} trials>"


def play_task(
    task: Task, n_participants: int, n_trials: int | None, seed: int, parameters: dict[str, Any]
) -> TaskCohort:
    """Draw people and let them play; see `Task.simulate`."""
    n_people = whole_number("n_participants", n_participants, 1)
    length = task.n_trials if n_trials is None else whole_number("n_trials", n_trials, 1)
    rng = np.random.default_rng(seed_number(seed))
    unknown = sorted(set(parameters) - {one.name for one in task.parameters})
    if unknown:
        raise ConfigError(
            f"the task '{task.name}' has no such parameters",
            got=", ".join(unknown),
            allowed=", ".join(one.name for one in task.parameters),
        )
    size = Size(length, np.repeat(np.arange(n_people), task.n_blocks))
    world = task.world(size, rng)
    shown = next(world)
    sizes = {name: float(np.abs(values).max()) for name, values in shown.attributes.items()}
    sizes["context"] = max((float(np.abs(values).max()) for values in shown.context.values()), default=0.0)
    truth = _people(task, n_people, {"reward": task.reward_size, **sizes}, parameters, rng)
    labels = [f"p{code + 1:0{len(str(n_people))}d}" for code in range(n_people)]
    trials = _played(task, size, world, shown, truth, rng, labels)
    named = pd.DataFrame(truth, columns=[one.name for one in task.parameters])
    named.insert(0, "participant", labels)
    return TaskCohort(trials, named)


def play_parameters(
    task: Task, parameters: Floats, labels: Sequence[Hashable], n_trials: int, n_blocks: int, seed: int
) -> pd.DataFrame:
    """Let people with given parameters (P, K) play the task."""
    rng = np.random.default_rng(seed)
    size = Size(n_trials, np.repeat(np.arange(len(labels)), n_blocks))
    world = task.world(size, rng)
    return _played(task, size, world, next(world), parameters, rng, labels)


def _people(
    task: Task, n_people: int, sizes: Mapping[str, float], given: Mapping[str, Any], rng: np.random.Generator
) -> Floats:
    """Draw parameters (P, K), and take those that are given."""
    truth = np.empty((n_people, len(task.parameters)))
    for k, one in enumerate(task.parameters):
        drawn = one.found_link.to_natural(one.start(sizes) + one.spread * rng.standard_normal(n_people))
        truth[:, k] = drawn if one.name not in given else _given(one.name, given[one.name], n_people, one.range)
    return truth


def _given(name: str, value: Any, n_people: int, allowed: tuple[float, float]) -> Floats:
    try:
        values = np.broadcast_to(np.asarray(value, dtype="float64"), (n_people,))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"parameter '{name}' is not a number, or one for each participant", got=repr(value), allowed=n_people
        ) from error
    low, high = allowed
    if not ((values >= low) & (values <= high) & np.isfinite(values)).all():
        raise ConfigError(f"parameter '{name}' is out of range", got=repr(value), allowed=f"{low:g} to {high:g}")
    return values


def _played(
    task: Task,
    size: Size,
    world: Any,
    shown: Shown,
    truth: Floats,
    rng: np.random.Generator,
    labels: Sequence[Hashable],
) -> pd.DataFrame:
    """Play one trial after the other: the model says, chance chooses, the world answers."""
    shape = (size.n_trials, size.n_sessions)
    if "state2" in task.columns:
        shown = replace(shown, state=np.zeros(shape, dtype=np.int64), second=np.zeros(shape, dtype=np.int64))
    losses = np.zeros(shape)
    rewards = np.full((*shape, len(task.actions)), np.nan)
    blank = Sessions(np.zeros(shape, dtype=np.int64), rewards, np.zeros(shape, dtype=np.int64), size.person, 1.0, shown)
    trials = task_trials(blank, task.actions, np.zeros(shape))
    trials = replace(trials, complete=True, common=np.arange(len(task.actions)))
    parameters = by_name(task, truth[None, size.person])
    for t, second, said in walk(task, trials, parameters):
        choice = task.rule.draw(said, trials, t, rng)
        if second and trials.second is not None:
            trials.second[t] = choice
        else:
            trials.choice[t] = choice
        answer = world.send(choice)
        if trials.second is not None and not second and trials.state is not None:
            trials.state[t] = answer
        elif isinstance(answer, tuple):
            trials.reward[t], losses[t] = answer[0] + answer[1], answer[1]
        elif answer is not None and answer.ndim == 2:
            trials.rewards[t] = answer
            trials.reward[t] = answer[trials.rows, choice]
        elif answer is not None:
            trials.reward[t] = answer
    return _frame(task, size, trials, shown, losses, labels)


def _frame(
    task: Task, size: Size, trials: TaskTrials, shown: Shown, losses: Floats, labels: Sequence[Hashable]
) -> pd.DataFrame:
    """Lay trials out as a table, under the names of the task's columns."""
    block = np.concatenate([np.arange(count) for count in np.unique(size.person, return_counts=True)[1]])
    columns: dict[str, np.ndarray] = {
        "participant": _labelled(labels, np.broadcast_to(size.person, trials.choice.shape))
    }
    if task.columns.get("block"):
        columns["block"] = np.broadcast_to(block + 1, trials.choice.shape)
    columns["trial"] = np.broadcast_to(np.arange(1, size.n_trials + 1)[:, None], trials.choice.shape)
    columns |= _on_screen(task, shown)
    columns[task.columns.get("choice", "choice")] = _labelled(task.actions, trials.choice)
    if trials.state is not None and trials.second is not None:
        columns[task.columns["state2"]] = _labelled(task.labels["state"], trials.state)
        columns[task.columns["choice2"]] = _labelled(task.labels["second"], trials.second)
    columns |= _outcomes(task, trials, losses)
    if trials.rt is not None and task.columns.get("rt"):
        columns[task.columns["rt"]] = trials.rt
    return pd.DataFrame({name: values.T.ravel() for name, values in columns.items()})


def _on_screen(task: Task, shown: Shown) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if shown.stimulus is not None:
        found[task.columns["stimulus"]] = _labelled(task.labels["stimulus"], shown.stimulus)
    if shown.item is not None:
        for place, name in enumerate(task.columns["options"].values()):
            found[name] = _labelled(task.labels["item"], shown.item[..., place])
    for attribute, values in shown.attributes.items():
        for place, name in enumerate(task.columns["attributes"][attribute]):
            found[name] = values[..., place]
    return found | dict(shown.context)


def _outcomes(task: Task, trials: TaskTrials, losses: Floats) -> dict[str, np.ndarray]:
    columns = task.columns
    if "gain" in columns:
        return {columns["gain"]: trials.reward - losses, columns["loss"]: losses}
    if not task.learns:
        return {}
    found = {columns["reward"]: trials.reward}
    if "foregone" in columns:
        other = np.take_along_axis(trials.rewards, 1 - trials.choice[..., None], axis=2)[..., 0]
        found[columns["foregone"]] = other
    return found


def _labelled(labels: Sequence[Hashable], codes: Ints) -> np.ndarray:
    return np.array(list(labels))[codes]
