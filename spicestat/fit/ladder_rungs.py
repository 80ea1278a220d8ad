"""Rungs of the ladder: what predicts the choices of a fold from what was fitted without them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from spicestat.errors import ContradictionWarning, ConvergenceWarning
from spicestat.fit.held_out import Fold
from spicestat.fit.history import HistoryFit, fit_history
from spicestat.fit.network_fit import SpiceFit, assemble_fit
from spicestat.fit.packing import frame_rows, in_actions, pack_table
from spicestat.fit.predict import predict_choices
from spicestat.fit.task_fit import TaskFit, fit_task
from spicestat.fit.transfer import Unseen
from spicestat.pooled.baselines import WeightedStates, fit_lags, fit_library, fit_shares, lag_rows
from spicestat.pooled.packed import Sessions
from spicestat.pooled.role_library import library_for
from spicestat.pooled.states import State, StateRows, state_rows
from spicestat.training.gru import train_gru, watch_last
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.table import TrialTable

__all__ = ["Predicted", "Rung", "refit_without", "rungs_of"]


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a rung says about the choices of a fold.

    Attributes
    ----------
    probabilities : ndarray of shape (H, A)
    n_free : int
        Number of values that were estimated from the fold's training choices.
    """

    probabilities: np.ndarray
    n_free: int


Rung = Callable[[Fold], Predicted]


def rungs_of(fit: SpiceFit | HistoryFit | TaskFit, members: int = 1, seed: int = 0) -> dict[str, Rung]:
    """Return the rungs of a fit by name, from the simplest up.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
    members : int, default 1
        Number of GRUs whose probabilities are averaged.
    seed : int, default 0
        Of the first GRU.
    """

    @lru_cache(maxsize=1)
    def refitted(fold: Fold) -> SpiceFit | HistoryFit | TaskFit:
        return refit_without(fit, fold.train)

    rungs: dict[str, Rung] = {
        "shares": _shares,
        "lags": _lags,
        "mixed_logit": _mixed_logit,
        "equations": lambda fold: _equations(refitted(fold), fold),
        "network": lambda fold: _network(refitted(fold), fold),
        "gru": lambda fold: _gru(fold, members, seed),
    }
    # lags and GRU see choices and rewards alone
    absent = {"lags", "gru"} if len(fit.trials.shown.columns) else set()
    if isinstance(fit, TaskFit):
        absent.add("network")
    return {name: rung for name, rung in rungs.items() if name not in absent}


def refit_without(fit: SpiceFit | HistoryFit | TaskFit, table: TrialTable) -> SpiceFit | HistoryFit | TaskFit:
    """Fit other trials as a fit's own were: with its settings, its structure found anew."""
    info = fit.coefficients.info
    with warnings.catch_warnings():
        # whether coefficients are identified without the fold's choices is not the question
        for category in (ConvergenceWarning, ContradictionWarning):
            warnings.simplefilter("ignore", category)
        if isinstance(fit, HistoryFit):
            return fit_history(table, info["seed"])
        if isinstance(fit, TaskFit):
            return fit_task(table, fit.task, info["seed"])
        estimator = fit.estimator.set_params(n_participants=table.n_participants)
        data = SequenceDataset.from_trials(table)
        return assemble_fit(table, data, estimator.fit_dataset(data).fitted_model_, info["model"])


def _equations(fit: SpiceFit | HistoryFit | TaskFit, fold: Fold) -> Predicted:
    return Predicted(_by_fit(fit, fold, "equations"), int(fit.glance()["n_coefficients"].item()))


def _network(fit: SpiceFit | HistoryFit | TaskFit, fold: Fold) -> Predicted:
    found = _by_fit(fit, fold, "rnn")
    if isinstance(fit, HistoryFit):
        return Predicted(found, fit.network.n_free + int(fit.glance()["n_coefficients"].item()))
    return Predicted(found, sum(weights.numel() for weights in fit.model.network.parameters()))


def _by_fit(fit: SpiceFit | HistoryFit | TaskFit, fold: Fold, by: Literal["equations", "rnn"]) -> np.ndarray:
    unseen: Unseen = "typical" if isinstance(fit, SpiceFit) else "population"
    table = predict_choices(fit, fold.test, by=by, unseen=unseen)
    columns = [f"p_{label}" for label in fold.test.actions]
    found: np.ndarray = table[columns].to_numpy()[fold.test.rows[fold.held]]
    return found


def _shares(fold: Fold) -> Predicted:
    train, test = _packed(fold)
    found = fit_shares(train)
    everybody = np.concatenate([found.person, found.population[None]])
    rows = state_rows(test, ())
    among = everybody[fold.known[rows.person]]
    if rows.offered is not None:
        among = among * rows.offered
    among = among / among.sum(axis=1, keepdims=True)
    return Predicted(_held(fold, rows, among), found.person.size - len(found.person))


def _lags(fold: Fold) -> Predicted:
    train, test = _packed(fold)
    return _weighted(fit_lags(train), lag_rows(test), fold)


def _mixed_logit(fold: Fold) -> Predicted:
    train, test = _packed(fold)
    states, n_own = library_states(train)
    return _weighted(fit_library(train, states, n_own), state_rows(test, states), fold)


def library_states(data: Sessions) -> tuple[tuple[State, ...], int]:
    """Return all states of the library, and how many of them, the first, have weights of everybody's own."""
    library = library_for(data)
    own = library.begins[0]
    return (*own, *(declared for declared in library.states if declared not in own)), len(own)


def _gru(fold: Fold, members: int, seed: int) -> Predicted:
    train, test = _packed(fold)
    watched, who = watch_last(train), fold.known[test.person]
    trained = [train_gru(train, watched, seed + member) for member in range(members)]
    mean = np.mean([gru.predict(test, who) for gru in trained], axis=0)
    time, session = np.nonzero(test.choice >= 0)
    found = np.full((len(fold.test.frame), test.n_actions), np.nan)
    found[frame_rows(fold.test, session, test.trial[time, session])] = mean[time, session]
    return Predicted(found[fold.held], sum(gru.n_free for gru in trained))


def _packed(fold: Fold) -> tuple[Sessions, Sessions]:
    """Pack what is fitted and what is predicted, rewards in the same unit."""
    train = pack_table(fold.train)
    return train, pack_table(fold.test, train.reward_size)


def _weighted(weights: WeightedStates, rows: StateRows, fold: Fold) -> Predicted:
    return Predicted(_held(fold, rows, weights.predict(rows, fold.known[rows.person])), weights.n_free)


def _held(fold: Fold, rows: StateRows, probabilities: np.ndarray) -> np.ndarray:
    """Probabilities of the choices that are left out, of those of all choices that are predicted."""
    row = frame_rows(fold.test, rows.session, rows.trial)
    found = np.full((len(fold.test.frame), fold.test.n_actions), np.nan)
    found[row] = in_actions(fold.test, row, probabilities)
    return np.asarray(found[fold.held])
