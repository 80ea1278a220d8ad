"""Learning with a diffusion to choice: values drive choices and response times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spicestat.errors import ConfigError
from spicestat.pooled.packed import Floats, Ints, Shown
from spicestat.simulate.diffusion import draw_decision_times
from spicestat.tasks.task import Size, Task, TaskParameter, World
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TASKS"]

_LAPSES, _LONGEST = 0.01, 10.0
"""Share of trials that the diffusion does not explain, with times up to so many seconds and either choice."""
_SWITCH = 0.3
_SERIES = np.arange(-3, 4)
_ODD = np.array([1.0, 3.0, 5.0, 7.0])
_WINS = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])


def first_passage(scaled: Floats) -> Floats:
    """Density of the time, in units of the squared boundary separation, to the lower boundary without drift.

    From half-way; by the series for short times or the one for long times, each to rounding.

    Examples
    --------
    >>> first_passage(np.array([0.29999, 0.30001])).round(3).tolist()
    [0.715, 0.715]
    """
    u = np.maximum(scaled, 1e-6)[..., None]
    places = 0.5 + 2.0 * _SERIES
    short = (places * np.exp(-(places**2) / (2.0 * u))).sum(axis=-1) / np.sqrt(2.0 * np.pi * u[..., 0] ** 3)
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    long = np.pi * (_ODD * signs * np.exp(-(_ODD**2) * np.pi**2 * u / 2.0)).sum(axis=-1)
    return np.where(scaled <= 0, 0.0, np.where(scaled < _SWITCH, np.maximum(short, 0.0), long))


class Diffusion:
    """What is yielded, (Q, S, 3), is the drift to the second action, the boundary separation and non-decision time."""

    def log_probability(self, yielded: Floats, trials: TaskTrials, t: int, choice: Ints) -> Floats:
        """Log-density (Q, S) of choices (S,) and their times."""
        assert trials.rt is not None
        drift, boundary, rest = np.moveaxis(yielded, -1, 0)
        time = trials.rt[t] - rest
        toward = (2 * choice - 1) * drift * boundary / 2.0 - drift**2 * np.maximum(time, 0.0) / 2.0
        density = np.exp(toward) * first_passage(time / boundary**2) / boundary**2
        return np.asarray(np.log((1.0 - _LAPSES) * density + _LAPSES / (2.0 * _LONGEST)))

    def probabilities(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        """Probabilities (Q, S, 2) of both actions, whatever the time."""
        share = 1.0 / (1.0 + np.exp(-yielded[..., 0] * yielded[..., 1]))
        return (1.0 - _LAPSES) * np.stack([1.0 - share, share], axis=-1) + _LAPSES / 2.0

    def draw(self, yielded: Floats, trials: TaskTrials, t: int, rng: np.random.Generator) -> Ints:
        """Draw choices (S,), and times into the trials."""
        assert trials.rt is not None
        drift, boundary, rest = np.moveaxis(yielded[0], -1, 0)
        trials.rt[t] = rest + draw_decision_times(rng, drift, boundary)
        upper = rng.random(len(drift)) < 1.0 / (1.0 + np.exp(-drift * boundary))
        return np.asarray(upper, dtype=np.int64)


def utilities(trials: TaskTrials, p: Mapping[str, Floats]) -> Iterator[Floats]:
    """Yield drift, boundary separation and non-decision time."""
    q, rows = trials.zeros(p["alpha"], trials.n_slots), trials.rows
    for t in trials.times:
        own = trials.of_actions(q, t)
        drift = p["drift"] * (own[..., 1] - own[..., 0])
        yield np.stack([drift, p["boundary"], p["t0"]], axis=-1)
        taken = trials.taken(t)
        q[:, rows, taken] += p["alpha"] * trials.error(t, q[:, rows, taken])


def check(trials: TaskTrials) -> None:
    """Raise where there are not two actions."""
    if trials.n_actions != 2:
        raise ConfigError("a diffusion chooses between two actions", got=trials.n_actions, do="pass model='bandit'")


def world(size: Size, rng: np.random.Generator) -> World:
    """Three pairs with fixed places, which win with .8 to .2."""
    pair = rng.integers(0, 3, (size.n_trials, size.n_sessions))
    choice = yield Shown(stimulus=pair)
    for t in range(size.n_trials):
        choice = yield (rng.random(size.n_sessions) < _WINS[pair[t], choice]).astype(float)


TASKS = (
    Task(
        name="ddm",
        title="learning with a diffusion to choice",
        equations="Q[c] += α (r - Q[c]); Wiener process with drift v (Q[upper] - Q[lower]), boundary separation a, "
        "start a / 2, non-decision time t0; 1 % of the trials are anything up to 10 s",
        source="Pedersen et al. 2017, doi:10.3758/s13423-016-1199-y; Fontanesi et al. 2019, "
        "doi:10.3758/s13423-018-1554-2",
        needs=(("rt",),),
        takes=("stimulus", "options"),
        parameters=(
            TaskParameter("alpha", "learning rate", 0.2, "logit", 0.6),
            TaskParameter("drift", "drift per unit of the difference of values, v", 3.0, "log", 0.3, "1/reward"),
            TaskParameter("boundary", "boundary separation, a", 1.6, "log", 0.2),
            TaskParameter("t0", "non-decision time, seconds", 0.3, "log", 0.2),
        ),
        utilities=utilities,
        world=world,
        rule=Diffusion(),
        columns={"trial": "trial", "choice": "choice", "reward": "reward", "stimulus": "pair", "rt": "rt"},
        actions=("left", "right"),
        labels={"stimulus": ("AB", "CD", "EF")},
        n_trials=150,
        check=check,
    ),
)
