"""Go and no-go for gains and against losses: learning with a bias to go and a Pavlovian bias."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.pooled.packed import Floats, Shown
from spicestat.tasks.choosing import GIVEN
from spicestat.tasks.task import Size, Task, TaskParameter, World, find_action
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_GO = ("go", "1", "1.0", "true", "yes", "press")
_VALID = 0.8
_CUES = ("go_win", "go_avoid", "nogo_win", "nogo_avoid")


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield log-probabilities, lapses included."""
    rows, go = trials.rows, find_action(trials.actions, _GO, "to go")
    q, v = trials.zeros(p["bias"], trials.n_slots), trials.zeros(p["bias"], trials.n_stimuli)
    sign = np.where(np.arange(2) == go, 1.0, -1.0)
    for t in trials.times:
        cue, own = trials.stimulus[t], trials.of_actions(q, t)
        weight = own[..., go] - own[..., 1 - go] + p["bias"] + p["pi"] * v[:, rows, cue]
        share = 1.0 / (1.0 + np.exp(-weight[..., None] * sign))
        yield np.log((1.0 - p["xi"][..., None]) * share + 0.5 * p["xi"][..., None])
        taken, reward = trials.taken(t), trials.reward[t]
        felt = np.where(reward >= 0, p["rho_gain"], p["rho_loss"]) * reward
        v[:, rows, cue] += p["epsilon"] * trials.error(t, v[:, rows, cue], felt)
        q[:, rows, taken] += p["epsilon"] * trials.error(t, q[:, rows, taken], felt)


def check(trials: TaskTrials) -> None:
    """Raise where it is not clear which action is to go."""
    find_action(trials.actions, _GO, "to go")


def world(size: Size, rng: np.random.Generator) -> World:
    """Four cues, for each of which going or not is mostly rewarded, or mostly spares a loss."""
    order = np.tile(np.arange(4), -(-size.n_trials // 4))[: size.n_trials]
    cue = rng.permuted(np.tile(order[:, None], (1, size.n_sessions)), axis=0)
    choice = yield Shown(stimulus=cue)
    for t in range(size.n_trials):
        right = (choice == 0) == (cue[t] < 2)
        good = right == (rng.random(size.n_sessions) < _VALID)
        choice = yield np.where(good, 1.0, 0.0) - (cue[t] % 2)


TASKS = (
    Task(
        name="go_nogo",
        title="go/no-go with gains and losses, bias to go and Pavlovian bias",
        equations="V[s] += ε (ρ r - V[s]), Q[s, c] += ε (ρ r - Q[s, c]), ρ = ρG for r >= 0, else ρL; "
        "P(go) = (1 - ξ) logistic(Q[s, go] + b + π V[s] - Q[s, nogo]) + ξ / 2",
        source="Guitart-Masip et al. 2012, doi:10.1016/j.neuroimage.2012.04.024",
        needs=(("stimulus",),),
        parameters=(
            TaskParameter("epsilon", "learning rate", 0.2, "logit", 0.6),
            TaskParameter("rho_gain", "weight of gains", 5.0, "log", 0.4, "1/reward"),
            TaskParameter("rho_loss", "weight of losses", 5.0, "log", 0.4, "1/reward"),
            TaskParameter("bias", "bias to go", 0.5, "identity", 0.6),
            TaskParameter("pi", "Pavlovian bias: to go for what was good", 0.3, "identity", 0.3),
            TaskParameter("xi", "share of lapses", 0.06, "logit", 0.5),
        ),
        utilities=utilities,
        world=world,
        rule=GIVEN,
        columns={"trial": "trial", "choice": "action", "reward": "outcome", "stimulus": "cue"},
        actions=("go", "nogo"),
        labels={"stimulus": _CUES},
        n_trials=240,
        check=check,
    ),
)
