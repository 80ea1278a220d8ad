"""People with given weights make their choices again, before what they were shown, and get what was got there."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.prediction import probabilities_of, sampled
from spicestat.pooled.states import State, state_products

__all__ = ["Replayed", "alternatives", "matched", "placed", "replay_states"]

_NEAREST = 5
"""Outcomes are drawn among so many, which keeps chance in them and follows tasks that change."""


class Replayed(NamedTuple):
    """Choices made again in S sessions of at most T trials.

    Attributes
    ----------
    choice : int ndarray of shape (T, S)
        Actions from 0; -1 after a session's last choice.
    source_trial, source_session : int ndarray of shape (T, S)
        The trial of the data whose outcome was given.
    """

    choice: Ints
    source_trial: Ints
    source_session: Ints


def replay_states(
    states: Sequence[State],
    weights: Floats,
    data: Sessions,
    sessions: Ints,
    rng: np.random.Generator,
    n_trials: int | None = None,
) -> Replayed:
    """Let sessions be played again, all at once.

    What was on the screen stays as it was, and forced choices are made. Free ones follow the weights, and bring the
    outcome of one of the five trials, nearest in time, on which the same was taken of the same stimulus in the same
    session; where it never was, in other sessions. A second choice and what it led to are parts of the outcome.

    Parameters
    ----------
    states : sequence of K State
    weights : ndarray of shape (S, K)
        In logits per unit of the state.
    data : Sessions
        What was observed.
    sessions : int ndarray of shape (S,)
        Positions of the sessions to play, which may come several times.
    rng : numpy Generator
        Draws choices and outcomes.
    n_trials : int, optional
        Only so many of each session.
    """
    past = _blank(data.select(sessions))
    length = len(past.choice) if n_trials is None else min(n_trials, len(past.choice))
    outcomes = _Outcomes(data)
    sources = np.zeros((2, length, len(sessions)), dtype=np.int64)
    for trial in range(length):
        own = np.stack([np.full(len(sessions), trial), sessions])
        there = data.choice[trial, sessions] >= 0
        chosen = _chosen(past.until(trial + 1), states, weights, rng)
        if data.shown.free is not None:
            chosen = np.where(data.shown.free[trial, sessions], chosen, data.choice[trial, sessions])
        past.choice[trial] = np.where(there, chosen, -1)
        sources[:, trial] = outcomes.draw(past.choice[trial], own, rng)
        _give(past, trial, data, sources[:, trial], outcomes.things)
    return Replayed(past.choice[:length], sources[0], sources[1])


def alternatives(data: Sessions) -> Ints:
    """Return what each action stood for, (T, S, A): the item on offer (-1 for none), or the action itself."""
    if data.shown.item is not None:
        return data.shown.item
    return np.broadcast_to(np.arange(data.n_actions), data.reward.shape)


def matched(wanted: Ints, given: Ints) -> Ints:
    """Return for each of the alternatives wanted (n, A) its place among those given (n, A), -1 where it is not there.

    Examples
    --------
    >>> matched(np.array([[3, 1]]), np.array([[1, 2]]))
    array([[-1,  0]])
    """
    same = (wanted[:, :, None] == given[:, None, :]) & (wanted >= 0)[:, :, None]
    return np.where(same.any(axis=2), same.argmax(axis=2), -1)


def placed(values: Floats, place: Ints) -> Floats:
    """Return values (n, A) at places (n, A), NaN where there is none."""
    return np.asarray(np.where(place >= 0, np.take_along_axis(values, np.maximum(place, 0), axis=1), np.nan))


def _blank(data: Sessions) -> Sessions:
    """Keep the screens, with nothing chosen and nothing got."""
    shown = data.shown
    got_nothing = replace(
        shown,
        loss=None if shown.loss is None else np.full_like(shown.loss, np.nan),
        state=None if shown.state is None else np.full_like(shown.state, -1),
        second=None if shown.second is None else np.full_like(shown.second, -1),
    )
    # before its choice is made, a trial has some choice, as states take trials without one for the end of a session
    return replace(data, choice=np.minimum(data.choice, 0), reward=np.full_like(data.reward, np.nan), shown=got_nothing)


def _chosen(past: Sessions, states: Sequence[State], weights: Floats, rng: np.random.Generator) -> Ints:
    values = np.stack(list(state_products(past, states, -1)), axis=2)
    items = past.shown.item
    offered = None if items is None else items[-1] >= 0
    if offered is not None:
        # sessions that are over offer nothing
        offered = offered | ~offered.any(axis=1, keepdims=True)
    return sampled(probabilities_of(np.einsum("sak,sk->sa", values, weights), offered), rng)


def _give(past: Sessions, trial: int, data: Sessions, source: Ints, things: Ints) -> None:
    """Write the outcomes of some trials of the data into a trial that is played."""
    at, own = (source[0], source[1]), alternatives(past)[trial]
    place = matched(own, things[at])
    past.reward[trial] = placed(data.reward[at], place)
    if past.shown.loss is not None and data.shown.loss is not None:
        past.shown.loss[trial] = placed(data.shown.loss[at], place)
    for mine, theirs in ((past.shown.state, data.shown.state), (past.shown.second, data.shown.second)):
        if mine is not None and theirs is not None:
            mine[trial] = theirs[at]


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """Trials of the data by what was taken of what."""

    data: Sessions

    @cached_property
    def things(self) -> Ints:
        return alternatives(self.data)

    @cached_property
    def _kinds(self) -> dict[Hashable, Ints]:
        """Positions (2, n) of the trials of every kind."""
        found: dict[Hashable, list[tuple[int, int]]] = {}
        for trial, session in zip(*np.nonzero(self.data.choice >= 0), strict=True):
            for kind in self._kinds_of(trial, session, int(self.data.choice[trial, session])):
                found.setdefault(kind, []).append((int(trial), int(session)))
        return {kind: np.array(places).T for kind, places in found.items()}

    @cached_property
    def _others_seen(self) -> bool:
        """Whether outcomes of what was not chosen were shown."""
        return bool((np.isfinite(self.data.reward).sum(axis=2) > 1).any())

    def _kinds_of(self, trial: int, session: int, action: int) -> Iterator[Hashable]:
        """Yield what a trial is like, if the action is taken: from most to least alike."""
        shown, things = self.data.shown, self.things[trial, session]
        taken = int(things[action])
        stimulus = -1 if shown.stimulus is None else int(shown.stimulus[trial, session])
        if self._others_seen:
            yield session, stimulus, taken, tuple(sorted(things.tolist()))
        yield session, stimulus, taken
        yield stimulus, taken
        yield (taken,)
        yield ()

    def draw(self, choice: Ints, own: Ints, rng: np.random.Generator) -> Ints:
        """Draw the trial (2, S) whose outcome each choice brings; where there is no choice, or no free one, the own."""
        found, free = own.copy(), self.data.shown.free
        for number in np.flatnonzero(choice >= 0):
            trial, session = int(own[0, number]), int(own[1, number])
            if free is None or free[trial, session]:
                alike = next(
                    self._kinds[kind]
                    for kind in self._kinds_of(trial, session, int(choice[number]))
                    if kind in self._kinds
                )
                # ties are broken by chance
                distance = np.abs(alike[0] - trial) + rng.random(alike.shape[1])
                nearest = np.argpartition(distance, min(_NEAREST, len(distance)) - 1)[:_NEAREST]
                found[:, number] = alike[:, rng.choice(nearest)]
        return found
