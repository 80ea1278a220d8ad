"""Kernels of a fit: what one reward, and one choice, does to the next choices, per person and for the population."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from spicestat._checks import check_level
from spicestat._colours import BLUE
from spicestat._display import html_block
from spicestat.equations.structure.equation_set import BETA
from spicestat.errors import DataError
from spicestat.pooled.fit import PooledFit
from spicestat.pooled.kernel_shape import derive, from_draws, history_spread
from spicestat.pooled.kernels import Event, FittedMoves, Moves, check_events, reward_range, state_moves
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.prediction import covariance_root
from spicestat.pooled.rivals import Rivals
from spicestat.pooled.shared import SharedWeights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Influence", "Kernels", "fitted_moves", "make_kernels", "pooled_kernels"]

_DRAWS = 400
_SEED = 20261128


@dataclass(frozen=True, eq=False, repr=False)
class Kernels:
    r"""What one reward, and one choice, does to the next choices: the same question to every model.

    The kernel at lag k is the change of the logit of repeating trial t's action before choice t + k, averaged over the
    trials t of a person's own history: the logit of that action less the mean of the others'. For the *reward* kernel
    the reward of trial t goes from the lowest to the highest of the data; for the *choice* kernel its choice goes from
    another action to the one that was made. All that follows stays as it was observed. Where there are stimuli, lags
    count the choices of the same stimulus; where there are items, those with the item of trial t on offer. Kernels are
    comparable across structures and models, where single weights of correlated states are not.

    A search could have found other states. Kernels are averages over nine structures, the fit's own and those of eight
    searches without an eighth of the people each, and their covariances are
    :math:`V + \frac19 \sum_s (k_s - \bar k)(k_s - \bar k)^\top`, with V that of the fit's own structure (Buckland,
    Burnham & Augustin 1997, doi:10.2307/2533961, with equal weights). docs/models/history.md has their coverage.

    Attributes
    ----------
    lags : DataFrame
        One row per event, person and lag: ``event`` (reward, choice), ``scope`` (population, participant),
        ``participant`` (missing for the population), ``lag`` (choices after the event), ``estimate`` (log odds),
        ``std_error``, ``conf_low``, ``conf_high`` and ``n_events``, how many events were changed. Lags that no block
        reaches are missing.
    influence : DataFrame
        What follows from kernels, one row per event, person and ``quantity``: ``total`` (sum over the lags, log
        odds), ``half_life`` (lag by which half of it has come) and ``learning_rate`` (one minus the ratio of
        successive lags); the last two are missing where a kernel has both signs.
    rewards : tuple of float
        The lowest and the highest reward, in the unit of the data.
    conf_level : float
    """

    lags: pd.DataFrame
    influence: pd.DataFrame
    rewards: tuple[float, float]
    conf_level: float

    def tidy(self) -> pd.DataFrame:
        """Return ``lags`` (a copy)."""
        return self.lags.copy()

    def plot(self) -> Figure:
        """Draw the population's kernels with their intervals, one panel per event."""
        from spicestat._drawing import kernel_axis, panels

        ours = self.lags[self.lags["scope"] == "population"]
        events = list(dict.fromkeys(ours["event"]))
        figure, axes = panels(len(events), 3.7, 3.0)
        for axis, event in zip(axes, events, strict=True):
            rows = ours[ours["event"] == event]
            kernel_axis(axis, event)
            axis.fill_between(rows["lag"], rows["conf_low"], rows["conf_high"], color=BLUE, alpha=0.25, linewidth=0)
            axis.plot(rows["lag"], rows["estimate"], color=BLUE, marker="o", markersize=3)
        return figure

    def __repr__(self) -> str:
        return (
            f"Kernels over {self.lags['lag'].max()} choices, {100 * self.conf_level:g} % intervals, population:\n"
            + (self._population().to_string(index=False, float_format="{:.3f}".format))
        )

    def _repr_html_(self) -> str:
        notes = [f"over {self.lags['lag'].max()} choices, {100 * self.conf_level:g} % intervals, population"]
        return html_block("Kernels", notes, self._population())

    def _population(self) -> pd.DataFrame:
        ours = self.influence[self.influence["scope"] == "population"]
        return ours.drop(columns=["scope", "participant"])


@dataclass(frozen=True, eq=False)
class Influence:
    """Kernels of N people and of their population, for one event.

    Attributes
    ----------
    event : {"reward", "choice"}
    people : ndarray of shape (N, L)
        Change of the logit of repeating the event's action at lags 1 to L; NaN at lags that no block reaches.
    people_covariance : ndarray of shape (N, L, L)
    population : ndarray of shape (L,)
        Means over people.
    population_covariance : ndarray of shape (L, L)
        Of these as estimates of the population that the people were drawn from.
    n_events : int ndarray of shape (N, L)
        Events that were changed.
    """

    event: Event
    people: Floats
    people_covariance: Floats
    population: Floats
    population_covariance: Floats
    n_events: Ints


def pooled_kernels(
    pooled: PooledFit, data: Sessions, event: Event, lags: int, events_per_person: int, rivals: Rivals | None = None
) -> Influence:
    """Kernels of the weights of a pooled fit: they are linear in the weights.

    Parameters
    ----------
    pooled : PooledFit
    data : Sessions
    event : {"reward", "choice"}
    lags, events_per_person : int
        As in `state_moves`.
    rivals : Rivals, optional
        Structures over which kernels are averaged. Default: the structure is taken as given.
    """
    n_people, n_own = len(pooled.n_choices), pooled.n_own
    # the states of all structures at once: the fit's own are among them
    states = pooled.states if rivals is None else rivals.states
    every = state_moves(data, states, event, n_people, lags, events_per_person)
    moves = replace(every, mean=np.take(every.mean, [states.index(declared) for declared in pooled.states], axis=2))
    weights = pooled.pooled.copy()
    weights[:, n_own:] = pooled.mean[n_own:]
    people = np.einsum("nlk,nk->nl", moves.mean, weights)
    own, shared = moves.mean[:, :, :n_own], moves.mean[:, :, n_own:]
    covariance = own @ pooled.pooled_covariance @ own.transpose(0, 2, 1)
    covariance += shared @ pooled.mean_covariance[n_own:, n_own:] @ shared.transpose(0, 2, 1)
    population, spread = _population(moves, people, weights, pooled.mean_covariance)
    if rivals is not None:
        by_structure = np.einsum("nlk,gnk->gnl", every.mean, rivals.weights)
        (move, between), (move_all, between_all) = _averaged(by_structure), _averaged(_mean_of_people(by_structure))
        people, covariance = people + move, covariance + between
        population, spread = population + move_all, spread + between_all
    return Influence(event, people, covariance, population, spread, moves.n_events)


def _mean_of_people(kernels: Floats) -> Floats:
    """Means (G, L) over the people who reach a lag; missing where nobody does."""
    reached = np.isfinite(kernels[0])
    n = reached.sum(axis=0)
    return np.asarray(np.where(reached, kernels, 0.0).sum(axis=1) / np.where(n, n, np.nan))


def _averaged(kernels: Floats) -> tuple[Floats, Floats]:
    """Way from the first of G structures to their average, (..., L), and the covariance between them, (..., L, L)."""
    mean = kernels.mean(axis=0)
    away = kernels - mean
    return mean - kernels[0], np.einsum("g...l,g...m->...lm", away, away) / len(kernels)


def _population(moves: Moves, people: Floats, weights: Floats, mean_covariance: Floats) -> tuple[Floats, Floats]:
    """Mean kernel (L,) and its covariance (L, L): of the weights' means, and of the histories that people had."""
    reached = moves.n_events > 0
    n = np.maximum(reached.sum(axis=0), 1)
    average = np.where(reached[..., None], moves.mean, 0.0).sum(axis=0) / n[:, None]
    kernel = np.where(reached, people, 0.0).sum(axis=0) / n
    histories = history_spread(people, np.einsum("lk,nk->nl", average, weights), reached)
    nobody = reached.sum(axis=0) == 0
    kernel[nobody] = np.nan
    total = average @ mean_covariance @ average.T + histories
    total[nobody] = total[:, nobody] = np.nan
    return kernel, total


def make_kernels(
    compute: Callable[[Event], Influence],
    data: Sessions,
    participants: Sequence[Hashable],
    events: Sequence[Event],
    conf_level: float,
) -> Kernels:
    """Lay out the kernels that a function computes.

    Raises
    ------
    ConfigError
        An unknown event, none, or a level out of range.
    DataError
        All rewards are equal, or there is none.
    """
    rewards = _rewards_of(events, data)
    conf_level = check_level(conf_level)
    found = [compute(event) for event in dict.fromkeys(events)]
    lags, influence = (
        pd.concat([lay(one, participants, conf_level) for one in found], ignore_index=True) for lay in (_lags, _derived)
    )
    return Kernels(lags, influence, rewards, conf_level)


def _rewards_of(events: Sequence[Event], data: Sessions) -> tuple[float, float]:
    """Return the lowest and the highest reward in the unit of the data, or refuse events that there are none of."""
    check_events(events)
    low, high = (data.reward_size * reward for reward in reward_range(data))
    if "reward" in events and not high > low:
        raise DataError(
            "there are no two different rewards, and so no influence of reward",
            got=f"rewards from {low:g} to {high:g}",
            do='pass events=["choice"]',
        )
    return low, high


def fitted_moves(
    pooled: PooledFit,
    data: Sessions,
    participants: Sequence[Hashable],
    factors: Floats,
    event: Event,
    lags: int,
    events_per_person: int,
) -> FittedMoves:
    """Kernels of everybody as functions of their weights in the unit of the data; for group models of these.

    Parameters
    ----------
    pooled : PooledFit
    data : Sessions
    participants : sequence of length N
    factors : ndarray of shape (K,)
        By what weights are multiplied to be those of the unit of the data.
    event, lags, events_per_person
        As in `state_moves`.
    """
    _rewards_of([event], data)
    moves = state_moves(data, pooled.states, event, len(participants), lags, events_per_person)
    return FittedMoves(
        replace(moves, mean=moves.mean / factors),
        tuple(participants),
        tuple((BETA, name) for name in pooled.names[: pooled.n_own]),
        SharedWeights.of(pooled, factors),
    )


def _lags(one: Influence, participants: Sequence[Hashable], level: float) -> pd.DataFrame:
    values = np.vstack([one.population, one.people])
    variances = np.vstack([np.diag(one.population_covariance), np.diagonal(one.people_covariance, axis1=1, axis2=2)])
    columns = _who(one, participants, values.shape[1])
    columns["lag"] = np.tile(np.arange(1, values.shape[1] + 1), len(values))
    frame = pd.DataFrame(columns | _normal(values.ravel(), np.sqrt(np.maximum(variances, 0.0)).ravel(), level))
    frame["n_events"] = np.vstack([one.n_events.sum(axis=0), one.n_events]).ravel()
    return frame


def _who(one: Influence, participants: Sequence[Hashable], repeats: int) -> dict[str, object]:
    people = len(participants)
    return {
        "event": one.event,
        "scope": np.repeat(["population", *["participant"] * people], repeats),
        "participant": np.repeat(np.array([None, *participants], dtype=object), repeats),
    }


def _normal(estimate: Floats, error: Floats, level: float) -> dict[str, Floats]:
    half = float(norm.ppf(0.5 + level / 2.0)) * error
    return {"estimate": estimate, "std_error": error, "conf_low": estimate - half, "conf_high": estimate + half}


def _derived(one: Influence, participants: Sequence[Hashable], level: float) -> pd.DataFrame:
    kernels = np.vstack([one.population, one.people])
    covariances = np.concatenate([one.population_covariance[None], one.people_covariance])
    points = np.random.default_rng(_SEED).standard_normal((_DRAWS, kernels.shape[1]))
    rows = [_three(k, c, points, level) for k, c in zip(kernels, covariances, strict=True)]
    numbers = np.array(rows).reshape(-1, 4)
    columns = _who(one, participants, 3)
    columns["quantity"] = np.tile(["total", "half_life", "learning_rate"], len(kernels))
    return pd.DataFrame(columns | dict(zip(("estimate", "std_error", "conf_low", "conf_high"), numbers.T, strict=True)))


def _three(kernel: Floats, covariance: Floats, points: Floats, level: float) -> Floats:
    """Estimate, standard error and interval (3, 4) of total influence, half-life and effective learning rate."""
    there = np.isfinite(kernel)
    if not there.any():
        return np.full((3, 4), np.nan)
    kernel, square = kernel[there], covariance[np.ix_(there, there)]
    error = np.sqrt(np.maximum(np.diag(square), 0.0))
    total = _normal(kernel.sum(keepdims=True), np.sqrt(np.maximum(square.sum(keepdims=True).ravel(), 0.0)), level)
    draws = kernel + points[:, : len(kernel)] @ covariance_root(square).T
    rest = [
        from_draws(float(value), drawn, level)
        for value, drawn in zip(derive(kernel, error), derive(draws, error), strict=True)
    ]
    return np.array([np.concatenate(list(total.values())), *rest])
