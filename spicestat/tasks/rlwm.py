"""RLWM: reinforcement learning beside a working memory of limited size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import ConfigError, DataError
from spicestat.pooled.packed import Floats, Shown
from spicestat.pooled.softmax import softmax
from spicestat.tasks.choosing import GIVEN
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_BETA = 50.0
_SET_SIZES = np.array([2, 3, 4, 6])


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield log-probabilities of the mixture of both policies."""
    rows, n, (set_size,) = trials.rows, trials.n_actions, trials.context
    q = trials.zeros(p["alpha"], trials.n_slots, fill=1.0 / n)
    memory = q.copy()
    lapse, fade = p["epsilon"][..., None], p["phi"][..., None]
    for t in trials.times:
        trust = (p["rho"] * np.minimum(1.0, p["capacity"] / set_size[t]))[..., None]
        learned, held = (softmax(_BETA * trials.of_actions(values, t)) for values in (q, memory))
        yield np.log((1.0 - lapse) * (trust * held + (1.0 - trust) * learned) + lapse / n)
        taken = trials.taken(t)
        share = np.where(trials.reward[t] > 0, 1.0, p["gamma"])
        q[:, rows, taken] += p["alpha"] * share * trials.error(t, q[:, rows, taken])
        memory[:, rows, taken] += share * trials.error(t, memory[:, rows, taken])
        memory += fade * (1.0 / n - memory)


def check(trials: TaskTrials) -> None:
    """Raise where the set size is not one number of 1 or more."""
    if len(trials.context) != 1 or (trials.context[0] < 1)[trials.predicted].any():
        raise ConfigError(
            "the context of RLWM is the set size",
            got=f"{len(trials.context)} contexts",
            allowed="one column of numbers, 1 and above",
            do="pass context='set_size'",
        )
    low, high = np.nanmin(trials.reward), np.nanmax(trials.reward)
    if low < 0 or high > 1:
        raise DataError(
            "RLWM takes outcomes for right and wrong answers",
            got=f"outcomes from {low:g} to {high:g}",
            allowed="0 (wrong) to 1 (right)",
            do="recode the outcomes",
        )


def world(size: Size, rng: np.random.Generator) -> World:
    """Blocks of 2, 3, 4 or 6 images, each with one right key of three."""
    n_sessions = size.n_sessions
    # everybody has each set size equally often
    block = np.concatenate([np.arange(count) for count in np.unique(size.person, return_counts=True)[1]])
    set_size = _SET_SIZES[block % len(_SET_SIZES)]
    image = np.stack([np.arange(size.n_trials) % own for own in set_size], axis=1)
    image = rng.permuted(image, axis=0)
    right = rng.integers(0, 3, (n_sessions, _SET_SIZES.max()))
    choice = yield Shown(stimulus=image, context={"set_size": np.tile(set_size.astype(float), (size.n_trials, 1))})
    for t in range(size.n_trials):
        choice = yield (choice == right[np.arange(n_sessions), image[t]]).astype(float)


TASKS = (
    Task(
        name="rlwm",
        title="reinforcement learning and working memory",
        equations="Q[s, c] += α (r - Q[s, c]); W[s, c] = r, then all W += φ (1/n - W); both learn at the share γ of "
        "what was wrong; h = ρ min(1, K / set size); P = (1 - ε) (h softmax(50 W) + (1 - h) softmax(50 Q)) + ε / n; "
        "starts 1/n",
        source="Collins & Frank 2012, doi:10.1111/j.1460-9568.2011.07980.x; Collins et al. 2014, "
        "doi:10.1523/JNEUROSCI.0989-14.2014",
        needs=(("stimulus",), ("context",)),
        parameters=(
            TaskParameter("alpha", "learning rate", 0.08, "logit", 0.5),
            TaskParameter("gamma", "share at which wrong answers are learned from", 0.4, "logit", 0.6),
            TaskParameter("phi", "decay of working memory per trial", 0.1, "logit", 0.5),
            TaskParameter("rho", "trust in working memory", 0.85, "logit", 0.6),
            TaskParameter("capacity", "number of images that working memory holds, K", 3.0, "log", 0.2),
            TaskParameter("epsilon", "share of lapses", 0.04, "logit", 0.5),
        ),
        utilities=utilities,
        world=world,
        rule=GIVEN,
        columns={
            "block": "block",
            "trial": "trial",
            "choice": "key",
            "reward": "correct",
            "stimulus": "image",
            "context": "set_size",
        },
        actions=("j", "k", "l"),
        labels={"stimulus": tuple(range(1, 7))},
        n_trials=36,
        n_blocks=12,
        check=check,
    ),
)
