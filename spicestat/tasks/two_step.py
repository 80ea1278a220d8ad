"""Two-step task: values by experience and by planning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import DataError
from spicestat.pooled.packed import Floats, Shown
from spicestat.pooled.softmax import over_actions
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_COMMON, _LEAST_COMMON = 0.7, 0.6


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield utilities of the first stage and of the second, in turns."""
    assert trials.state is not None and trials.second is not None
    rows, beta1, beta2, w = trials.rows, p["beta1"], p["beta2"], p["w"][..., None]
    n_seconds = max(2, int(trials.second.max(initial=0)) + 1)
    m, s = trials.zeros(beta1, 2), trials.zeros(beta1, 2, n_seconds)
    last = np.zeros((trials.n_sessions, 2))
    for t in trials.times:
        best = over_actions(np.maximum, s, -1)[..., trials.common]
        planned = _COMMON * best + (1.0 - _COMMON) * best[..., ::-1]
        yield beta1[..., None] * (w * planned + (1.0 - w) * m) + p["pi"][..., None] * last
        choice = trials.choice[t]
        state = np.maximum(trials.state[t], 0)
        yield beta2[..., None] * s[:, rows, state]
        made = (trials.state[t] >= 0) & (trials.second[t] >= 0)
        second = np.maximum(trials.second[t], 0)
        old = s[:, rows, state, second]
        error = np.where(made, trials.error(t, old), 0.0)
        first = np.where(made, old - m[:, rows, choice], 0.0)
        m[:, rows, choice] += p["alpha1"] * (first + p["lambda"] * error)
        s[:, rows, state, second] += p["alpha2"] * error
        last = (np.arange(2) == choice[:, None]).astype(float)


def check(trials: TaskTrials) -> None:
    """Raise where there are not two actions, each of which mostly leads to a state of its own."""
    assert trials.state is not None
    if trials.n_actions != 2 or trials.state.max(initial=0) != 1 or sorted(trials.common.tolist()) != [0, 1]:
        raise DataError(
            "each of the two first choices must mostly lead to a state of its own, of two",
            got=f"{trials.n_actions} actions, {int(trials.state.max(initial=0)) + 1} states",
            do="name the right columns in choice and state2",
        )
    there = trials.state >= 0
    share = float((trials.state == trials.common[trials.choice])[there].mean())
    if share < _LEAST_COMMON:
        raise DataError(
            "it is not clear which state each first choice mostly leads to",
            got=f"{100 * share:.0f} % of the transitions are the more frequent ones",
            allowed="about 70 %, the same state for everybody",
            do="recode the choices of people for whom the states are exchanged",
        )


def world(size: Size, rng: np.random.Generator) -> World:
    """Two states with two options each, whose chances drift between .25 and .75."""
    rows = np.arange(size.n_sessions)
    chance = rng.uniform(0.25, 0.75, (size.n_sessions, 2, 2))
    choice = yield Shown()
    for _ in range(size.n_trials):
        state = np.where(rng.random(size.n_sessions) < _COMMON, choice, 1 - choice)
        second = yield state
        choice = yield (rng.random(size.n_sessions) < chance[rows, state, second]).astype(float)
        chance = chance + 0.025 * rng.standard_normal(chance.shape)
        chance = np.where(chance > 0.75, 1.5 - chance, np.where(chance < 0.25, 0.5 - chance, chance))


TASKS = (
    Task(
        name="two_step",
        title="two-step task, hybrid of planning and experience",
        equations="U1[j] = β1 (w B[j] + (1 - w) M[j]) + π [j = last choice], B[j] = .7 max S[common] + .3 max S[rare]; "
        "U2 = β2 S[s]; M[c] += α1 (S[s, c2] - M[c]) + λ α1 (r - S[s, c2]), then S[s, c2] += α2 (r - S[s, c2])",
        source="Daw et al. 2011, doi:10.1016/j.neuron.2011.02.027",
        needs=(("state2",), ("choice2",)),
        parameters=(
            TaskParameter("alpha1", "learning rate of first-stage values", 0.5, "logit", 0.6),
            TaskParameter("alpha2", "learning rate of second-stage values", 0.5, "logit", 0.6),
            TaskParameter("beta1", "weight of values at the first stage", 4.0, "log", 0.3, "1/reward"),
            TaskParameter("beta2", "weight of values at the second stage", 3.0, "log", 0.3, "1/reward"),
            TaskParameter("w", "share of planning", 0.5, "logit", 0.8),
            TaskParameter("pi", "perseveration at the first stage", 0.2, "identity", 0.2),
            TaskParameter("lambda", "eligibility of the first choice for the last outcome", 0.6, "logit", 0.6),
        ),
        utilities=utilities,
        world=world,
        columns={
            "trial": "trial",
            "choice": "choice1",
            "reward": "reward",
            "state2": "state2",
            "choice2": "choice2",
        },
        actions=("left", "right"),
        labels={"state": ("red", "blue"), "second": ("up", "down")},
        n_trials=201,
        check=check,
    ),
)
