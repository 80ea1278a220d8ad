"""How the people of simulated studies play, and what is known of their choices: one kind of players per kind of fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from spicestat.agents.simulation import Simulation, simulate_model
from spicestat.equations.estimate.group_likelihood import EquationLikelihood
from spicestat.equations.estimate.refit import refit
from spicestat.equations.structure.equation_set import BETA, FREE, EquationSet
from spicestat.errors import ConfigError
from spicestat.fit.fitted_model import FittedModel
from spicestat.fit.history import HistoryFit, history_on, unit_factors
from spicestat.fit.history_likelihood import HistoryLikelihood
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.own_trials import play_again
from spicestat.fit.packing import pack_table, pack_task
from spicestat.fit.play import drifting_task, shows_something
from spicestat.fit.table import fit_info, lay_out_refit
from spicestat.fit.task_fit import TaskFit, task_on
from spicestat.fit.transfer import own_roles
from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.models.base import BaseRNN
from spicestat.pooled.play import play_states
from spicestat.simulate.user_environment import as_environment
from spicestat.tasks.playing import play_parameters
from spicestat.tasks.task_likelihood import TaskLikelihood
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.table import TrialTable

__all__ = ["Players", "Simulator", "players_of", "stable_equations"]

Simulator = Callable[[BaseRNN, EquationSet, int, int, int], pd.DataFrame]
"""Takes model, equations of N participants, trials per block, blocks and a seed; gives a table of their trials."""


class Players(Protocol):
    """People with K coefficients of their own."""

    def play(self, values: np.ndarray, n_trials: int, n_blocks: int, seed: int) -> pd.DataFrame:
        """Let people with coefficients (R, K) play blocks of n trials; ``participant`` counts from 0."""

    def read(self, trials: pd.DataFrame, occasion: str | None) -> TrialTable:
        """Read such trials, with any labels of participants."""

    def likelihood(self, table: TrialTable) -> ChoiceLikelihood:
        """Return the likelihood of the choices in the coefficients."""

    def estimated(self, table: TrialTable) -> SpiceFit | HistoryFit | TaskFit:
        """Estimate everybody's coefficients, of the fit's structure."""


def players_of(
    fit: SpiceFit | HistoryFit | TaskFit, environment: Any = None, simulate: Simulator | None = None
) -> Players:
    """Return people who play as those of a fit do.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
    environment : Bandits, or what `as_environment` takes, optional
        Not of a TaskFit, whose people play its task, nor of a HistoryFit whose task showed something: its people play
        the trials of the fit's people, each those of one of them. Default: `drifting_task`.
    simulate : callable, optional
        In its place, of a SpiceFit.

    Raises
    ------
    ConfigError
        Two tasks are given, or one that this fit's people cannot play.
    """
    if environment is not None and simulate is not None:
        raise ConfigError("say what is played in one way", do="pass environment or simulate")
    if simulate is not None and not isinstance(fit, SpiceFit):
        raise ConfigError("`simulate` plays equations of a SpiceFit", got=type(fit).__name__, do="leave it out")
    if isinstance(fit, TaskFit):
        if environment is not None:
            raise ConfigError("people of a TaskFit play the task of its model", do="leave `environment` out")
        return _TaskPlayers(fit)
    if isinstance(fit, HistoryFit) and shows_something(fit):
        if environment is not None:
            raise ConfigError(
                "people whose task showed something play the trials of the fit's people", do="leave `environment` out"
            )
        return _ScreenPlayers(fit)
    task = drifting_task(fit) if environment is None else environment
    if isinstance(fit, HistoryFit):
        return _BanditPlayers(fit, task)
    if fit.model.network.needs_times and simulate is None:
        raise ConfigError("response times are not simulated by `environment`", do="pass simulate, which gives them")
    return _EquationPlayers(fit, task, simulate)


@dataclass(frozen=True, eq=False)
class _EquationPlayers:
    """Equations of a network, of one structure."""

    fit: SpiceFit
    environment: Any
    simulate: Simulator | None

    def play(self, values: np.ndarray, n_trials: int, n_blocks: int, seed: int) -> pd.DataFrame:
        model = self.fit.model.with_participants(np.full(len(values), -1)).network
        equations = stable_equations(model, self._with(values))
        if self.simulate is not None:
            return self.simulate(model, equations, n_trials, n_blocks, seed)
        return simulate_model(model, equations, self.environment, n_trials, n_blocks, seed=seed).trials

    def read(self, trials: pd.DataFrame, occasion: str | None) -> TrialTable:
        return _read_bandit(self.fit, trials, occasion)

    def likelihood(self, table: TrialTable) -> EquationLikelihood:
        model, structure = self._model(table), _repeated(self.fit.model.equations, table.n_participants)
        data = SequenceDataset.from_trials(table)
        return EquationLikelihood(
            model.network, data, structure, table.participants, factors=self.fit.model.unit_factors
        )

    def estimated(self, table: TrialTable) -> SpiceFit:
        """Estimate from the middle of the fit's people, and from the model's own starts."""
        model, equations = self._model(table), self.fit.model.equations
        start = _repeated(equations, table.n_participants)
        middle = np.broadcast_to(np.median(equations.coefficients, axis=0), start.coefficients.shape)
        # all start from the same values, so that their median would only repeat the first start
        starts: list[np.ndarray] | None = None if model.network.starts else []
        found = refit(model.network, SequenceDataset.from_trials(table), start.with_coefficients(middle), starts)
        return _fit_of(table, model.with_refit(found))

    def _model(self, table: TrialTable) -> FittedModel:
        return self.fit.model.with_participants(np.full(table.n_participants, -1))

    def _with(self, values: np.ndarray) -> EquationSet:
        """Equations with free coefficients (N, K) in the unit of the data."""
        equations = _repeated(self.fit.model.equations, len(values))
        coefficients, free = equations.coefficients.copy(), np.flatnonzero(equations.status[0] == FREE)
        coefficients[:, free] = values / self.fit.model.unit_factors[free]
        return equations.with_coefficients(coefficients)


@dataclass(frozen=True, eq=False)
class _HistoryPlayers:
    """Weights of states; those of the population are the fit's."""

    fit: HistoryFit

    def likelihood(self, table: TrialTable) -> HistoryLikelihood:
        pooled = self.fit.pooled
        rows = pooled.rows(pack_table(table, pooled.reward_size))
        return HistoryLikelihood.of(rows, pooled, self._factors, table.participants)

    def estimated(self, table: TrialTable) -> HistoryFit:
        return history_on(self.fit, table, table.n_participants)

    @property
    def _factors(self) -> np.ndarray:
        pooled = self.fit.pooled
        return unit_factors(pooled.states, pooled.reward_size)

    def _weights(self, values: np.ndarray, n_blocks: int) -> np.ndarray:
        """Weights (R x blocks, K) in the unit of the states, of own ones (R, K') in that of the data."""
        weights = np.tile(self.fit.pooled.mean, (len(values), 1))
        weights[:, : self.fit.pooled.n_own] = values / self._factors[: self.fit.pooled.n_own]
        return np.repeat(weights, n_blocks, axis=0)


@dataclass(frozen=True, eq=False)
class _BanditPlayers(_HistoryPlayers):
    """They play a task that shows nothing."""

    environment: Any

    def play(self, values: np.ndarray, n_trials: int, n_blocks: int, seed: int) -> pd.DataFrame:
        n_actions = self.fit.trials.n_actions
        rng, n_sessions = np.random.default_rng(seed), len(values) * n_blocks
        task = as_environment(self.environment, n_actions).vectorized(n_sessions, rng)
        played = play_states(self.fit.pooled.states, self._weights(values, n_blocks), task, n_actions, n_trials, rng)
        person, block = np.divmod(np.arange(n_sessions), n_blocks)
        return Simulation(person, person, block, *played).trials

    def read(self, trials: pd.DataFrame, occasion: str | None) -> TrialTable:
        # in the unit of the data, in which `estimated` packs them
        rewards = [name for name in trials if str(name).startswith("reward")]
        size = self.fit.pooled.reward_size
        return _read_bandit(self.fit, trials.assign(**{str(name): size * trials[name] for name in rewards}), occasion)


@dataclass(frozen=True, eq=False)
class _ScreenPlayers(_HistoryPlayers):
    """They play the trials of the fit's people, each those of one of them, who is drawn."""

    def play(self, values: np.ndarray, n_trials: int, n_blocks: int, seed: int) -> pd.DataFrame:
        rng, blocks = np.random.default_rng(seed), self._long_blocks(n_trials, n_blocks)
        played = blocks[rng.integers(len(blocks), size=len(values))].ravel()
        trials, session = play_again(self.fit, played, self._weights(values, n_blocks), rng, n_trials)
        participant, block = np.divmod(session, n_blocks)
        number = trials.groupby(session).cumcount()
        return trials.assign(participant=participant, block=block, trial=number)

    def _long_blocks(self, n_trials: int, n_blocks: int) -> np.ndarray:
        """Return the first blocks that are long enough, of everybody who has as many, (people, n_blocks)."""
        blocks = self.fit.trials.blocks
        made = np.bincount(self.fit.trials.frame["block"], self.fit.trials.frame["choice"] >= 0)
        long = blocks[made >= n_trials].groupby("participant")["block"]
        enough = [codes.to_numpy()[:n_blocks] for _, codes in long if len(codes) >= n_blocks]
        if not enough:
            most = int(blocks["participant"].value_counts().max())
            raise ConfigError(
                "people play the trials of the fit's people, and nobody made as many choices",
                got=f"{n_blocks} block(s) of {n_trials} trials",
                allowed=f"at most {most} block(s) of at most {int(made.max())} trials",
            )
        return np.stack(enough)

    def read(self, trials: pd.DataFrame, occasion: str | None) -> TrialTable:
        table = self.fit.trials
        own = own_roles(table)
        own |= {role: role for role in ("participant", "block", "trial", "choice")}
        own |= {"experiment": None, "occasion": occasion, "covariates": []}
        own |= {"unusable": table.record.get("unusable", "exclude")}
        if isinstance(own["reward"], str):
            own["reward"] = "reward"
        return read_trials(trials, **own)


@dataclass(frozen=True, eq=False)
class _TaskPlayers:
    """Parameters of a published model, in the task that the library simulates."""

    fit: TaskFit

    def play(self, values: np.ndarray, n_trials: int, n_blocks: int, seed: int) -> pd.DataFrame:
        task = self.fit.task
        if n_blocks > 1 and not task.columns.get("block"):
            raise ConfigError(f"the task '{task.name}' has no blocks", got=n_blocks, do="pass n_blocks=1")
        return play_parameters(task, values, range(len(values)), n_trials, n_blocks, seed)

    def read(self, trials: pd.DataFrame, occasion: str | None) -> TrialTable:
        return read_trials(trials, **self.fit.task.columns, occasion=occasion, covariates=[])

    def likelihood(self, table: TrialTable) -> TaskLikelihood:
        return TaskLikelihood(self.fit.task, pack_task(table, self.fit.task)[1], table.participants)

    def estimated(self, table: TrialTable) -> TaskFit:
        return task_on(self.fit, table, table.n_participants)


def stable_equations(model: BaseRNN, equations: EquationSet) -> EquationSet:
    """Keep own states from growing without bound, inverse temperatures from changing sign, and constants in bounds."""
    limited = equations.coefficients.copy()
    for name, (low, high) in model.bounds.items():
        position = equations.terms.index((BETA, name))
        limited[:, position] = limited[:, position].clip(low, high)
    limited[:, equations.own_state] = limited[:, equations.own_state].clip(-1.0, 1.0)
    is_beta = np.array([module == BETA for module, _ in equations.terms])
    mean_sign = np.sign(np.median(limited, axis=0))
    wrong = is_beta & (np.sign(limited) == -mean_sign)
    return equations.with_coefficients(np.where(wrong, 0.0, limited))


def _read_bandit(fit: SpiceFit | HistoryFit, trials: pd.DataFrame, occasion: str | None) -> TrialTable:
    n_actions = fit.trials.n_actions
    every = [f"reward_{action}" for action in range(1, n_actions + 1)]
    counterfactual = fit.trials.record.get("feedback") == "counterfactual" and set(every) <= set(trials)
    return read_trials(
        trials,
        reward=every if counterfactual else "reward",
        rt="rt" if "rt" in trials else None,
        block="block",
        trial="trial",
        actions=range(1, n_actions + 1),
        occasion=occasion,
        covariates=[],
    )


def _fit_of(table: TrialTable, model: FittedModel) -> SpiceFit:
    result = model.refit
    free = (result.equations.status == FREE).astype("float64")
    info = fit_info(table, type(model.network).__name__, 0, "population")
    coefficients = lay_out_refit(table, result, free, info, model.unit_factors)
    scores = pd.DataFrame({"model": ["refit"], "nll": [result.nll], "n_trials": [int(result.n_trials.sum())]})
    return SpiceFit(table, model, coefficients, scores)


def _repeated(equations: EquationSet, n: int) -> EquationSet:
    """Equations of N participants of the first one's structure, without coefficients."""
    status = np.repeat(equations.status[:1], n, axis=0)
    blank = EquationSet(equations.libraries, equations.states, np.zeros(status.shape), status)
    return blank.with_coefficients(blank.coefficients)
