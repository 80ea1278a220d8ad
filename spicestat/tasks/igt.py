"""Iowa gambling: outcome-representation learning, and prospect-valence learning with a delta rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_UNIT = 100.0
_GAINS = np.array([100.0, 100.0, 50.0, 50.0])
_LOSSES = np.array([-250.0, -1250.0, -50.0, -250.0])
_CHANCE = np.array([0.5, 0.1, 0.5, 0.1])


def outcome_representation(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield V + bF F + bP S."""
    rows, n = trials.rows, trials.n_actions
    v, f, s = (trials.zeros(p["beta_f"], n) for _ in range(3))
    fade = 3.0 ** p["K"][..., None]
    for t in trials.times:
        yield v + p["beta_f"][..., None] * f + p["beta_p"][..., None] * s
        choice, x = trials.choice[t], np.nan_to_num(trials.reward[t]) / _UNIT
        seen, won = ~np.isnan(trials.reward[t]), x >= 0
        own = np.where(won, p["a_rew"], p["a_pun"]) * seen
        other = np.where(won, p["a_pun"], p["a_rew"]) * seen
        v[:, rows, choice] += own * (x - v[:, rows, choice])
        taken = f[:, rows, choice] + own * (np.sign(x) - f[:, rows, choice])
        f += other[..., None] * (-np.sign(x)[:, None] / (n - 1) - f)
        f[:, rows, choice] = taken
        s[:, rows, choice] = 1.0
        s /= fade


def prospect_valence(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield (3^c - 1) E."""
    rows = trials.rows
    e = trials.zeros(p["a"], trials.n_actions)
    weight = 3.0 ** p["c"][..., None] - 1.0
    for t in trials.times:
        yield weight * e
        x = trials.reward[t] / _UNIT
        felt = np.where(x >= 0, 1.0, -p["lambda"]) * np.abs(x) ** p["A"]
        choice = trials.choice[t]
        e[:, rows, choice] += p["a"] * trials.error(t, e[:, rows, choice], felt)


def world(size: Size, rng: np.random.Generator) -> World:
    """Four decks, of which the two with the larger gains lose in the long run."""
    choice = yield Shown()
    for _ in range(size.n_trials):
        lost = rng.random(size.n_sessions) < _CHANCE[choice]
        choice = yield _GAINS[choice], np.where(lost, _LOSSES[choice], 0.0)


_COLUMNS = {"trial": "trial", "choice": "deck", "gain": "gain", "loss": "loss"}

TASKS = (
    Task(
        name="igt",
        title="Iowa gambling, outcome-representation learning",
        equations="x = outcome / 100; V[c] += a (x - V[c]), F[c] += a (sign x - F[c]), "
        "F[u] += a' (-sign x / 3 - F[u]), a, a' = Arew, Apun for x >= 0, else Apun, Arew; "
        "S[c] = 1, then all S /= 3^K; P = softmax(V + βF F + βP S)",
        source="Haines et al. 2018, doi:10.1111/cogs.12688",
        parameters=(
            TaskParameter("a_rew", "learning rate of gains", 0.3, "logit", 0.6),
            TaskParameter("a_pun", "learning rate of losses", 0.1, "logit", 0.6),
            TaskParameter("K", "decay of perseverance", 0.8, "log", 0.5),
            TaskParameter("beta_f", "weight of how often a deck wins", 1.5, "identity", 1.0),
            TaskParameter("beta_p", "weight of perseverance", 1.0, "identity", 1.0),
        ),
        utilities=outcome_representation,
        world=world,
        columns=_COLUMNS,
        actions=("A", "B", "C", "D"),
        n_trials=100,
    ),
    Task(
        name="igt_pvl_delta",
        title="Iowa gambling, prospect-valence learning with a delta rule",
        equations="x = outcome / 100; u = x^A or -λ |x|^A; E[c] += a (u - E[c]); P = softmax((3^c - 1) E)",
        source="Ahn et al. 2008, doi:10.1080/03640210802352992",
        parameters=(
            TaskParameter("a", "learning rate", 0.2, "logit", 0.6),
            TaskParameter("A", "shape of the utility of outcomes", 0.5, "logit", 0.6),
            TaskParameter("lambda", "loss aversion", 1.0, "log", 0.4),
            TaskParameter("c", "consistency of choices", 1.0, "log", 0.3),
        ),
        utilities=prospect_valence,
        world=world,
        columns=_COLUMNS,
        actions=("A", "B", "C", "D"),
        n_trials=100,
    ),
)
