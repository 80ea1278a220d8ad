"""Counterfactual feedback: learning that confirms choices, or does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import ConfigError
from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_WINS = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.85, 0.15]])


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield b Q."""
    q, rows = trials.zeros(p["beta"], trials.n_slots), trials.rows[:, None]
    confirms, opposes = p["alpha_conf"][..., None], p["alpha_disc"][..., None]
    for t in trials.times:
        own = trials.of_actions(q, t)
        yield p["beta"][..., None] * own
        error = trials.error(t, own, trials.rewards[t])
        chosen = np.arange(trials.n_actions) == trials.choice[t][:, None]
        q[:, rows, trials.slot[t]] += np.where((error > 0) == chosen, confirms, opposes) * error


def check(trials: TaskTrials) -> None:
    """Raise where no outcome of what was not chosen was seen."""
    other = np.arange(trials.n_actions) != trials.choice[..., None]
    if not np.isfinite(trials.rewards[other & trials.predicted[..., None]]).any():
        raise ConfigError(
            "counterfactual feedback needs outcomes of what was not chosen",
            got="those of chosen actions alone",
            do="pass foregone='outcome_unchosen', or reward=[...] with one column for each action",
        )


def world(size: Size, rng: np.random.Generator) -> World:
    """Four pairs of symbols, with both outcomes shown."""
    order = np.tile(np.arange(4), -(-size.n_trials // 4))[: size.n_trials]
    pair = rng.permuted(np.tile(order[:, None], (1, size.n_sessions)), axis=0)
    yield Shown(stimulus=pair)
    for t in range(size.n_trials):
        yield np.where(rng.random((size.n_sessions, 2)) < _WINS[pair[t]], 1.0, -1.0)


TASKS = (
    Task(
        name="counterfactual_feedback",
        title="counterfactual feedback, confirmation bias",
        equations="d[i] = r[i] - Q[i]; Q[c] += αC [d]+ + αD [d]-, Q[u] += αD [d]+ + αC [d]-; P = softmax(β Q)",
        source="Palminteri et al. 2017, doi:10.1371/journal.pcbi.1005684",
        takes=("foregone", "stimulus", "options"),
        parameters=(
            TaskParameter("alpha_conf", "learning rate of what confirms the choice", 0.3, "logit", 0.6),
            TaskParameter("alpha_disc", "learning rate of what speaks against it", 0.15, "logit", 0.6),
            TaskParameter("beta", "weight of values (inverse temperature)", 2.0, "log", 0.4, "1/reward"),
        ),
        utilities=utilities,
        world=world,
        columns={
            "trial": "trial",
            "choice": "symbol",
            "reward": "outcome",
            "foregone": "outcome_unchosen",
            "stimulus": "pair",
        },
        actions=("left", "right"),
        labels={"stimulus": (1, 2, 3, 4)},
        n_trials=192,
        check=check,
    ),
)
