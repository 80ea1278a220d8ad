"""simulate_fit: a fit's participants play a task by their equations, or by their weights of states."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat.agents.simulation import Simulation, simulate_model
from spicestat.errors import ConfigError
from spicestat.fit.history import HistoryFit, play_history
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.own_trials import play_again
from spicestat.fit.table import By
from spicestat.fit.task_fit import TaskFit
from spicestat.simulate.environments import BanditsDrift
from spicestat.simulate.user_environment import as_environment
from spicestat.tasks.playing import play_parameters
from spicestat.trials.labels import labels_to_series
from spicestat.trials.roles import WITHOUT_NETWORK

__all__ = ["drifting_task", "shows_something", "simulate_fit"]

_NOT_OF_BANDITS = (*WITHOUT_NETWORK, "loss")


def simulate_fit(
    fit: SpiceFit | HistoryFit | TaskFit,
    environment: Any = None,
    n_simulations: int = 1,
    seed: int = 0,
    n_trials: int | None = None,
    n_blocks: int | None = None,
    by: By = "pooled",
) -> pd.DataFrame:
    """Let a fit's participants play a task by their equations; response times are not simulated.

    Of a `HistoryFit` whose task showed something (stimuli, options, attributes, ...) or had no rewards, people make the
    choices of their own trials again, before the same screens. What a choice brings is what was got, in the same
    block, on one of the five trials nearest in time on which the same was taken (of the same stimulus); where it never
    was, in other blocks. Forced choices stay as they were.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
        Of the latter two, people play by their pooled weights or parameters; of a `TaskFit` the simulated task of the
        library, with the columns that this has.
    environment : Bandits, or anything that `as_environment` takes, optional
        The task, with rewards as the model sees them: 1 is the largest reward of the data by size, and 0 none (with
        ``reward_scaling="minmax"``, 0 is the smallest reward and 1 the largest). Default: `drifting_task`, and people's
        own trials where something was shown.
    n_simulations : int, default 1
        Simulations of all participants.
    seed : int, default 0
        The same seed gives the same trials; one simulation of a seed is the first of many.
    n_trials, n_blocks : int, optional
        Trials per block, and blocks. Default: the most common numbers among the fit's participants. Own trials are
        played as they are.
    by : {"pooled", "ml"}, default "pooled"
        Whether equations have pooled coefficients, or each participant's own maximum-likelihood estimates (of a
        `SpiceFit`).

    Returns
    -------
    DataFrame
        ``sim``, then the columns of `Simulation.trials`, with the participants, the actions and the unit of rewards of
        the fit's own data, so that `spice_update` and `predict_choices` can read them. Own trials have the
        columns of the data, those of roles under their own names.

    Raises
    ------
    ConfigError
        A task or a number of trials is given to people who play their own, or ``by="ml"`` of another fit than a
        `SpiceFit`.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> trials = simulate_cohort(3, 60).trials
    >>> points = trials.assign(reward=10 * trials["reward"])
    >>> fit = spice_fit(points, block="block", model="rescorla_wagner", epochs=5)
    >>> sorted(simulate_fit(fit)["reward"].unique().tolist())
    [0.0, 10.0]
    """
    if by != "pooled" and not isinstance(fit, SpiceFit):
        raise ConfigError("people of this fit play by pooled values", got=f"by={by!r}", allowed="'pooled'")
    again = fit if isinstance(fit, HistoryFit) and shows_something(fit) else None
    if again is not None:
        _refuse_others(environment=environment, n_trials=n_trials, n_blocks=n_blocks)
    blocks = fit.trials.blocks
    n_blocks = n_blocks or _most_common(blocks.groupby("participant").size())
    n_trials = n_trials or _most_common(blocks["n_trials"])
    parts = []
    for number in range(whole_number("n_simulations", n_simulations, 1)):
        own_seed = seed_number(seed) + number
        if again is not None:
            weights = again.pooled.pooled[blocks["participant"].to_numpy()]
            played, _ = play_again(again, np.arange(len(blocks)), weights, np.random.default_rng(own_seed))
        elif isinstance(fit, TaskFit):
            played = _play_task(fit, environment, n_trials, n_blocks, own_seed)
        else:
            task = drifting_task(fit) if environment is None else environment
            played = _in_own_terms(fit, _play(fit, task, n_trials, n_blocks, own_seed, by).trials)
        parts.append(played.assign(sim=number + 1))
    together = pd.concat(parts, ignore_index=True)
    together.insert(0, "sim", together.pop("sim"))
    return together


def _play(fit: SpiceFit | HistoryFit, task: Any, n_trials: int, n_blocks: int, seed: int, by: By) -> Simulation:
    people = fit.trials.participants
    if isinstance(fit, SpiceFit):
        model = fit.model_by(by)
        return simulate_model(model.network, model.equations, task, n_trials, n_blocks, seed=seed, labels=people)
    n_trials, n_blocks = whole_number("n_trials", n_trials, 1), whole_number("n_blocks", n_blocks, 1)
    rng, n_sessions = np.random.default_rng(seed), len(people) * n_blocks
    sessions = as_environment(task, fit.trials.n_actions).vectorized(n_sessions, rng)
    played = play_history(fit, sessions, n_trials, n_blocks, rng)
    code, block = np.divmod(np.arange(n_sessions), n_blocks)
    return Simulation(code, labels_to_series(people, code).to_numpy(), block, *played)


def _play_task(fit: TaskFit, environment: Any, n_trials: int, n_blocks: int, seed: int) -> pd.DataFrame:
    if environment is not None:
        raise ConfigError(
            "people of a TaskFit play the task that its model is of",
            got=type(environment).__name__,
            do="leave `environment` out",
        )
    length, count = whole_number("n_trials", n_trials, 1), whole_number("n_blocks", n_blocks, 1)
    pooled = fit.coefficients.wide("pooled").to_numpy()
    return play_parameters(fit.task, pooled, fit.trials.participants, length, count, seed)


def shows_something(fit: HistoryFit) -> bool:
    """Tell whether a fit's task has what a bandit has not: something on the screen, second stages, or no rewards."""
    record = fit.trials.record
    return record["feedback"] == "none" or any(record["columns"].get(role) for role in _NOT_OF_BANDITS)


def _refuse_others(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"people whose task showed something play their own trials, and `{name}` says otherwise",
                got=f"{name}={value!r}" if isinstance(value, int) else type(value).__name__,
                do=f"leave `{name}` out",
            )


def drifting_task(fit: SpiceFit | HistoryFit) -> BanditsDrift:
    """Return a bandit with drifting reward probabilities and as many actions as the fit has."""
    return BanditsDrift(0.2, fit.trials.n_actions)


def _in_own_terms(fit: SpiceFit | HistoryFit, trials: pd.DataFrame) -> pd.DataFrame:
    """Give simulated trials the actions and the unit of rewards of the data that were fitted."""
    trials = trials.assign(choice=pd.Series(fit.trials.actions).take(trials["choice"].to_numpy() - 1).to_numpy())
    zero, unit = fit.trials.reward_zero_and_unit
    largest = fit.pooled.reward_size if isinstance(fit, HistoryFit) else 1.0
    rewards = [name for name in trials.columns.astype(str) if name.startswith("reward")]
    return trials.assign(**{name: zero + unit * largest * trials[name] for name in rewards})


def _most_common(values: pd.Series) -> int:
    return int(Counter(values.tolist()).most_common(1)[0][0])
