"""Kernels: what one reward, or one choice, changes in the states of the next choices, everything else as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.states import State, state_products

__all__ = ["Event", "Moves", "reward_range", "state_moves"]

Event = Literal["reward", "choice"]


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


class _At(NamedTuple):
    """One event in each of S sessions: its trial, the action chosen there, and whether there is one."""

    trial: Ints
    action: Ints
    there: np.ndarray


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
        Number of choices L after the event; blocks end it.
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
    window, lowest_highest = np.arange(1, lags + 1)[:, None], reward_range(data)
    for at in _events(data, lengths, per_session[data.person], event):
        short = replace(data, choice=data.choice[: at.trial.max() + lags + 1]).select(at.there)
        mine = _At(*(field[at.there] for field in at))
        inside = mine.trial + window < lengths[at.there]
        with_event, without = _versions(short, mine, event, lowest_highest)
        after = np.minimum(mine.trial + window, len(short.choice) - 1)
        for versions, share in ((with_event, 1.0), (without, -1.0)):
            for changed in versions:
                found = _contrasts(changed, states, after, mine.action) * inside[..., None] * (share / len(versions))
                np.add.at(totals, short.person, found.transpose(1, 0, 2))
        np.add.at(counts, short.person, inside.T)
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


def _versions(
    short: Sessions, at: _At, event: Event, lowest_highest: tuple[float, float]
) -> tuple[list[Sessions], list[Sessions]]:
    """Histories with the event and histories without it."""
    sessions = np.arange(len(at.trial))
    if event == "reward":
        both = []
        for value in lowest_highest:
            reward = short.reward.copy()
            reward[at.trial, sessions, at.action] = value
            both.append([replace(short, reward=reward)])
        return both[1], both[0]
    without = []
    for step in range(1, short.n_actions):
        other = (at.action + step) % short.n_actions
        choice, reward = short.choice.copy(), short.reward.copy()
        choice[at.trial, sessions] = other
        reward[at.trial, sessions, other] = short.reward[at.trial, sessions, at.action]
        reward[at.trial, sessions, at.action] = short.reward[at.trial, sessions, other]
        without.append(replace(short, choice=choice, reward=reward))
    return [short], without


def _contrasts(data: Sessions, states: Sequence[State], after: Ints, action: Ints) -> Floats:
    """States of an action less the mean of the others', (L, S, K), before the choices ``after`` (L, S)."""
    sessions, n = np.arange(len(action)), data.n_actions
    out = np.empty((*after.shape, len(states)))
    for k, product in enumerate(state_products(data, states, (after, sessions))):
        mine = product[:, sessions, action]
        out[:, :, k] = (n * mine - product.sum(axis=2)) / (n - 1)
    return out
