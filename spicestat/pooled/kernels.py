"""Kernels: what one reward, or one choice, changes in the states of the next choices, everything else as it was."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from spicestat.errors import ConfigError
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.shared import SharedWeights
from spicestat.pooled.states import State, state_products

__all__ = ["EVENTS", "Event", "FittedMoves", "Moves", "check_events", "reward_range", "state_moves"]

Event = Literal["reward", "choice"]
EVENTS: tuple[Event, ...] = get_args(Event)


def check_events(events: Sequence[Event]) -> None:
    """Raise `ConfigError` where there is no event, or one that is unknown."""
    if not events or not set(events) <= set(EVENTS):
        raise ConfigError("unknown event of a kernel", got=repr(events), allowed=", ".join(map(repr, EVENTS)))


@dataclass(frozen=True, eq=False)
class Moves:
    """What one event changes in K states before the choices at lags 1 to L after it, for N people.

    A change is that of the state of the event's action less the mean of the other actions' states, so that weights
    turn it into the change of the logit of repeating that action.

    Attributes
    ----------
    mean : ndarray of shape (N, L, K)
        Averages over the events of each person's history; NaN at lags that no block of the person reaches.
    n_events : int ndarray of shape (N, L)
    """

    mean: Floats
    n_events: Ints


@dataclass(frozen=True, eq=False)
class FittedMoves:
    """Kernels of N people as linear functions of weights: L of their own, and S that everybody shares.

    Attributes
    ----------
    moves : Moves
        Of L + S states, per unit of their weights in the unit of the data.
    participants : tuple of length N
    terms : tuple of L (module, term)
        What coefficient tables call people's own weights.
    shared : SharedWeights
        The weights of the last S states.
    """

    moves: Moves
    participants: tuple[Hashable, ...]
    terms: tuple[tuple[str, str], ...]
    shared: SharedWeights


class _At(NamedTuple):
    """One event in each of S sessions: its trial, the action chosen there, and whether there is one."""

    trial: Ints
    action: Ints
    there: np.ndarray


class _After(NamedTuple):
    """The next L choices after an event, each (L, S): their trials, the event's action there, whether there are any."""

    trial: Ints
    action: Ints
    inside: np.ndarray


def state_moves(
    data: Sessions,
    states: Sequence[State],
    event: Event,
    n_people: int,
    lags: int = 20,
    events_per_person: int = 60,
) -> Moves:
    """Change one event at a time and run the states again.

    Parameters
    ----------
    data : Sessions
    states : sequence of K State
    event : {"reward", "choice"}
        "reward": the reward received goes from the lowest to the highest that was ever received; trials without one
        are passed over. "choice": the choice goes from another action to the one that was made (the mean over the
        others), with the reward that was received.
    n_people : int
        Number of people N.
    lags : int, default 20
        Number of choices L after the event; blocks end it. Where there are stimuli, these are choices of the same
        stimulus; where there are items on offer, those with the event's item among them.
    events_per_person : int, default 60
        About how many events of each person are changed, spread evenly over the blocks.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> from spicestat.pooled.states import state
    >>> data = pack_sessions([[0, 0, 0, 0, 0]], [[1.0, 0, 1, 0, 0]], [0], n_actions=2)
    >>> moves = state_moves(data, [state(("rewarded", 0.5))], "reward", n_people=1, lags=3)
    >>> moves.mean[0, :, 0]
    array([0.5  , 0.25 , 0.125])
    """
    totals = np.zeros((n_people, lags, len(states)))
    counts = np.zeros((n_people, lags), dtype=np.int64)
    per_session = -(-events_per_person // np.maximum(np.bincount(data.person, minlength=n_people), 1))
    lengths = (data.choice >= 0).sum(axis=0)
    lowest_highest = reward_range(data)
    for at in _events(data, lengths, per_session[data.person], event):
        short, mine = data.select(at.there), _At(*(field[at.there] for field in at))
        after = _next_choices(short, mine, lags)
        short = short.until(int(max(after.trial.max(), mine.trial.max())) + 1)
        for changed, share in _versions(short, mine, event, lowest_highest):
            found = _contrasts(changed, states, after) * (after.inside * share)[..., None]
            np.add.at(totals, short.person, found.transpose(1, 0, 2))
        np.add.at(counts, short.person, after.inside.T)
    with np.errstate(invalid="ignore"):
        return Moves(totals / np.where(counts, counts, np.nan)[..., None], counts)


def reward_range(data: Sessions) -> tuple[float, float]:
    """Return the lowest and the highest reward that was received, in units of the data's `reward_size`; NaN if none."""
    received = data.received[np.isfinite(data.received) & (data.choice >= 0)]
    return (float(received.min()), float(received.max())) if len(received) else (float("nan"), float("nan"))


def _events(data: Sessions, lengths: Ints, wanted: Ints, event: Event) -> Iterator[_At]:
    """Spread each session's events evenly over the choices that have another after them."""
    usable = np.arange(len(data.choice))[:, None] < lengths - 1
    if event == "reward":
        usable &= np.isfinite(data.received)
    n_usable, place = usable.sum(axis=0), np.cumsum(usable, axis=0)
    wanted = np.minimum(wanted, n_usable)
    sessions = np.arange(data.choice.shape[1])
    for turn in range(int(wanted.max(initial=0))):
        nth = ((turn + 0.5) * n_usable / np.maximum(wanted, 1)).astype(np.int64) + 1
        trial = (place >= nth).argmax(axis=0)
        yield _At(trial, data.choice[trial, sessions], turn < wanted)


def _next_choices(short: Sessions, at: _At, lags: int) -> _After:
    """Find the choices that the event can bear on most directly, in order."""
    sessions, length = np.arange(len(at.trial)), len(short.choice)
    later = (short.choice >= 0) & (np.arange(length)[:, None] > at.trial)
    action = np.broadcast_to(at.action, short.choice.shape)
    items, stimuli = short.shown.item, short.shown.stimulus
    if items is not None:
        same = items == items[at.trial, sessions, at.action][:, None]
        later, action = later & same.any(axis=2), same.argmax(axis=2)
    elif stimuli is not None:
        later = later & (stimuli == stimuli[at.trial, sessions])
    rank = np.cumsum(later, axis=0)
    wanted = np.arange(1, lags + 1)[:, None]
    trial = np.stack([(later & (rank == lag)).argmax(axis=0) for lag in range(1, lags + 1)])
    return _After(trial, action[trial, sessions], wanted <= rank[-1])


def _versions(
    short: Sessions, at: _At, event: Event, lowest_highest: tuple[float, float]
) -> Iterator[tuple[Sessions, Floats]]:
    """Histories with the event (shares that sum to 1, of each session) and without it (to -1)."""
    sessions = np.arange(len(at.trial))
    place = at.trial, sessions
    if event == "reward":
        for value, share in zip(lowest_highest, (-1.0, 1.0), strict=True):
            yield _changed(short, (*place, at.action), value), np.full(len(sessions), share)
        return
    yield short, np.ones(len(sessions))
    others = [(at.action + step) % short.n_actions for step in range(1, short.n_actions)]
    offered = short.offered
    there = [np.ones(len(sessions)) if offered is None else offered[(*place, other)].astype(float) for other in others]
    total = np.maximum(np.sum(there, axis=0), 1.0)
    for other, is_there in zip(others, there, strict=True):
        yield _exchanged(short, place, at.action, other), -is_there / total


def _changed(short: Sessions, where: tuple[Ints, Ints, Ints], value: float) -> Sessions:
    """Return the same history with another reward, of which what is below 0 is a loss."""
    reward, loss = short.reward.copy(), short.shown.loss
    reward[where] = value
    if loss is None:
        return replace(short, reward=reward)
    loss = loss.copy()
    loss[where] = min(value, 0.0)
    return replace(short, reward=reward, shown=replace(short.shown, loss=loss))


def _exchanged(short: Sessions, place: tuple[Ints, Ints], action: Ints, other: Ints) -> Sessions:
    """Return the same history with another choice, which has the outcome of the one that was made."""
    choice = short.choice.copy()
    choice[place] = other

    def swapped(values: Floats) -> Floats:
        new = values.copy()
        new[(*place, other)], new[(*place, action)] = values[(*place, action)], values[(*place, other)]
        return new

    loss = short.shown.loss
    shown = short.shown if loss is None else replace(short.shown, loss=swapped(loss))
    return replace(short, choice=choice, reward=swapped(short.reward), shown=shown)


def _contrasts(data: Sessions, states: Sequence[State], after: _After) -> Floats:
    """States of the event's action less the mean of the others' on offer, (L, S, K), before the next choices."""
    sessions = np.arange(after.trial.shape[1])
    at = after.trial, sessions
    offered = np.ones((*after.trial.shape, data.n_actions)) if data.offered is None else data.offered[at].astype(float)
    n_others = np.maximum(offered.sum(axis=2) - 1.0, 1.0)
    out = np.empty((*after.trial.shape, len(states)))
    for k, product in enumerate(state_products(data, states, at)):
        each = np.broadcast_to(product, offered.shape)
        mine = np.take_along_axis(each, after.action[..., None], axis=2)[..., 0]
        out[:, :, k] = mine - ((each * offered).sum(axis=2) - mine) / n_others
    return out
