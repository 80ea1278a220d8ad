"""Signals: what somebody has seen and done so far, as bounded difference equations of past choices and rewards.

Every function takes `Sessions` of S sessions with T choices and A actions, and returns what is known *before* each
choice: an array of shape (T, S, A), or (T, S, 1) where the signal is the same for all actions. A reward that was not
shown leaves what it would have changed as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spicestat.pooled.packed import Floats, Sessions
from spicestat.pooled.scopes import attribute_of, context_of, reached, view

__all__ = ["FORMS", "KINDS", "Kind", "Settings", "signal_values"]

FORMS = ("", "log", "share")


@dataclass(frozen=True)
class Settings:
    """How a signal moves: all that a kind of signal may be told.

    Attributes
    ----------
    keep : float in [0, 1)
        Share of a trace that survives one choice; one minus a learning rate.
    keep_negative : float in [0, 1) or None
        The same for outcomes below the value; None: as `keep`.
    keep_unchosen : float in [0, 1]
        Share of the values of actions not chosen that survives one choice.
    action : int
        Index of the action that a constant belongs to.
    back : int
        How many choices ago; 1 is the last one.
    scope : {"all", "stimulus", "item", "offer"}
        Of which trials the signal is made: all; those of the same stimulus; all, but for the items that are on offer;
        those on which the item was on offer.
    outcome : {"net", "gain", "loss"}
        Which part of the rewards counts.
    column : str
        What an attribute or a context is called.
    form : {"", "log", "share"}
        An attribute as it is, the logarithm of one plus its size, or its share in the sum over the actions on offer.
    centre : float
        What is taken from a context, such as its mean.
    """

    keep: float = 0.0
    keep_negative: float | None = None
    keep_unchosen: float = 1.0
    action: int = 0
    back: int = 1
    scope: str = "all"
    outcome: str = "net"
    column: str = ""
    form: str = ""
    centre: float = 0.0


@dataclass(frozen=True)
class Kind:
    """One kind of signal.

    Attributes
    ----------
    compute : callable
        Its values, of trials and settings.
    about : str
    moves : tuple of str
        What it may be told.
    per_action : bool
        Whether it differs between actions.
    earned : bool
        Whether it is made of rewards.
    past : bool
        Whether it is made of earlier trials.
    scoped : bool
        Whether it can be made of some of them, as those of a stimulus.
    """

    compute: Callable[[Sessions, Settings], Floats]
    about: str
    moves: tuple[str, ...] = ()
    per_action: bool = True
    earned: bool = False
    past: bool = True
    scoped: bool = True

    @property
    def takes(self) -> tuple[str, ...]:
        """Everything that it may be told."""
        scope = ("scope",) if self.past and self.scoped else ()
        return (*self.moves, *scope, *(("outcome",) if self.earned else ()))


def _trace(seen: Floats, keep: float) -> Floats:
    """s[t + 1] = keep * s[t] + (1 - keep) * seen[t], from 0; NaN in `seen` leaves s as it is."""
    state = np.zeros_like(seen)
    moved = (1.0 - keep) * seen
    missing = np.isnan(moved)
    gaps = bool(missing.any())
    for t in range(len(seen) - 1):
        state[t + 1] = keep * state[t] + moved[t]
        if gaps:
            np.copyto(state[t + 1], state[t], where=missing[t])
    return state


def _chosen(data: Sessions) -> Floats:
    """1 for the action chosen on each trial, shape (T, S, A)."""
    return np.asarray(data.choice[..., None] == np.arange(data.n_actions), dtype=float)


def _switched(data: Sessions) -> Floats:
    """Whether each choice differs from the one before, shape (T, S); 0 for the first."""
    out = np.zeros(data.choice.shape)
    out[1:] = data.choice[1:] != data.choice[:-1]
    return out


def _runs(data: Sessions) -> tuple[Floats, Floats]:
    """Before each choice: length of the present run of equal choices and of the run before it, each (T, S)."""
    switched = _switched(data)
    run, before = np.zeros(data.choice.shape), np.zeros(data.choice.shape)
    for t in range(1, len(run)):
        new = switched[t - 1] > 0
        run[t] = np.where(new, 1.0, run[t - 1] + 1.0)
        before[t] = np.where(new, run[t - 1], before[t - 1])
    return run, before


def last(data: Sessions, how: Settings) -> Floats:
    """Return 1 for the last choice."""
    return _trace(_chosen(data), 0.0)


def previous(data: Sessions, how: Settings) -> Floats:
    """Return 1 for the action chosen before the present run; 0 for all in the first run."""
    chosen, switched = _chosen(data), _switched(data)
    seen = np.full_like(chosen, np.nan)
    seen[1:] = np.where(switched[1:, :, None] > 0, chosen[:-1], np.nan)
    return _trace(seen, 0.0)


def ago(data: Sessions, how: Settings) -> Floats:
    """Return 1 for the action chosen some choices ago."""
    return _delayed(_chosen(data), how.back)


def rewarded_ago(data: Sessions, how: Settings) -> Floats:
    """Return the reward of some choices ago, for the action that earned it; 0 where it was not shown."""
    return _delayed(_chosen(data) * np.nan_to_num(data.received)[..., None], how.back)


def _delayed(seen: Floats, back: int) -> Floats:
    """Return what was seen some trials before each; 0 at the beginning."""
    out = np.zeros_like(seen)
    out[back:] = seen[:-back]
    return out


def choices(data: Sessions, how: Settings) -> Floats:
    """Trace of the choices of each action."""
    return _trace(_chosen(data), how.keep)


def rewarded(data: Sessions, how: Settings) -> Floats:
    """Trace of rewarded choices: an action that is not chosen fades as one that earned nothing."""
    return _trace(np.where(_chosen(data) > 0, data.received[..., None], 0.0), how.keep)


def foregone(data: Sessions, how: Settings) -> Floats:
    """Trace of the rewards shown for actions that were not chosen."""
    return _trace(np.where(_chosen(data) > 0, 0.0, data.reward), how.keep)


def outcome(data: Sessions, how: Settings) -> Floats:
    """Trace of the rewards shown of each action, whatever was chosen: a value that learns from all of them."""
    return _trace(data.reward, how.keep)


def value(data: Sessions, how: Settings) -> Floats:
    """Rescorla-Wagner value, with a rate of its own for outcomes below the value, and forgetting of the others."""
    return _learn(data, how)[0]


def surprise(data: Sessions, how: Settings) -> Floats:
    """Pearce-Hall associability: trace of the size of reward prediction errors, whatever was chosen."""
    return _trace(_learn(data, how)[1], how.keep)[..., None]


def _learn(data: Sessions, how: Settings) -> tuple[Floats, Floats]:
    """Return values before each choice (T, S, A) and the size of each prediction error (T, S), NaN where not shown."""
    below = how.keep if how.keep_negative is None else how.keep_negative
    chosen, received = _chosen(data), data.received
    values, size = np.zeros_like(chosen), np.full(received.shape, np.nan)
    for t in range(len(chosen)):
        error = received[t] - (values[t] * chosen[t]).sum(axis=1)
        size[t] = np.abs(error)
        if t + 1 < len(chosen):
            step = np.where(np.isnan(error), 0.0, error * np.where(error < 0, 1.0 - below, 1.0 - how.keep))
            fade = np.where(chosen[t] > 0, 1.0, how.keep_unchosen)
            values[t + 1] = fade * values[t] + chosen[t] * step[:, None]
    return values, size


def untried(data: Sessions, how: Settings) -> Floats:
    """Return 1 for actions that have not been chosen in this block."""
    tried = np.cumsum(_trace(_chosen(data), 0.0), axis=0) > 0
    return (~tried).astype(float)


def since(data: Sessions, how: Settings) -> Floats:
    """Log of one plus the choices since each action was last chosen (or since the start); 0 for the last choice."""
    chosen = _chosen(data)
    waited = np.zeros_like(chosen)
    for t in range(len(chosen) - 1):
        waited[t + 1] = np.where(chosen[t] > 0, 0.0, waited[t] + 1.0)
    return np.log1p(waited)


def constant(data: Sessions, how: Settings) -> Floats:
    """Return 1 for one action: a preference that is there whatever has happened."""
    return np.broadcast_to((np.arange(data.n_actions) == how.action) * 1.0, (*data.choice.shape, data.n_actions)).copy()


def run(data: Sessions, how: Settings) -> Floats:
    """Log of one plus the length of the present run of equal choices."""
    return np.log1p(_runs(data)[0])[..., None]


def previous_run(data: Sessions, how: Settings) -> Floats:
    """Log of one plus the length of the run before the present one; 0 in the first run."""
    return np.log1p(_runs(data)[1])[..., None]


def long_run(data: Sessions, how: Settings) -> Floats:
    """Return 1 where the present run is at least as long as the one before."""
    present, before = _runs(data)
    return (present >= before).astype(float)[..., None]


def switching(data: Sessions, how: Settings) -> Floats:
    """Trace of switching: how often the choice differed from the one before."""
    return _trace(_switched(data), how.keep)[..., None]


def returning(data: Sessions, how: Settings) -> Floats:
    """Trace of returning: how often the choice was that of two choices ago, and not the last one."""
    back = np.zeros(data.choice.shape)
    back[2:] = (data.choice[2:] == data.choice[:-2]) & (data.choice[2:] != data.choice[1:-1])
    return _trace(back, how.keep)[..., None]


def reward_rate(data: Sessions, how: Settings) -> Floats:
    """Trace of rewards, whatever was chosen."""
    return _trace(data.received, how.keep)[..., None]


def _since_reward(data: Sessions) -> tuple[Floats, Floats]:
    """Before each choice: choices since the last reward above 0, or the start, and such rewards in a row, (T, S)."""
    paid, unknown = np.nan_to_num(data.received) > 0, np.isnan(data.received)
    without, row = np.zeros(paid.shape), np.zeros(paid.shape)
    for t in range(len(paid) - 1):
        without[t + 1] = np.where(paid[t], 0.0, without[t] + ~unknown[t])
        row[t + 1] = np.where(paid[t], row[t] + 1.0, np.where(unknown[t], row[t], 0.0))
    return without, row


def losing(data: Sessions, how: Settings) -> Floats:
    """Log of one plus the number of choices without a reward above 0 in a row, whatever was chosen."""
    return np.log1p(_since_reward(data)[0])[..., None]


def winning(data: Sessions, how: Settings) -> Floats:
    """Log of one plus the number of rewards above 0 in a row, whatever was chosen."""
    return np.log1p(_since_reward(data)[1])[..., None]


def fading(data: Sessions, how: Settings) -> Floats:
    """Return 1 after a reward above 0, and less with every choice without one; 1 at the start."""
    return np.asarray(how.keep ** _since_reward(data)[0])[..., None]


def elapsed(data: Sessions, how: Settings) -> Floats:
    """Log of one plus the number of choices in this block."""
    return np.log1p(np.broadcast_to(np.arange(len(data.choice))[:, None], data.choice.shape))[..., None]


def planned(data: Sessions, how: Settings) -> Floats:
    """Value of the states that each action has led to: the best second choice there, by how often they were reached."""
    states, seconds = reached(data)
    n_sessions, n_states = data.choice.shape[1], int(states.max(initial=0)) + 1
    values = np.zeros((n_sessions, n_states, int(seconds.max(initial=0)) + 1))
    counts = np.full((n_sessions, data.n_actions, n_states), 1.0 / n_states)
    out, session, received = np.zeros((*data.choice.shape, data.n_actions)), np.arange(n_sessions), data.received
    for t in range(len(out)):
        out[t] = ((counts / counts.sum(axis=2, keepdims=True)) * values.max(axis=2)[:, None]).sum(axis=2)
        led = (data.choice[t] >= 0) & (states[t] >= 0)
        there = session, np.maximum(states[t], 0), np.maximum(seconds[t], 0)
        known = led & (seconds[t] >= 0)
        values[there] += (1.0 - how.keep) * np.where(known, np.nan_to_num(received[t] - values[there]), 0.0)
        counts[session, np.maximum(data.choice[t], 0), there[1]] += led
    return out


def recent(data: Sessions, how: Settings) -> Floats:
    """Fades with the trials since the stimulus was last shown, or the item last on offer; 0 for the first time."""
    out = np.zeros(data.choice.shape)
    waited = np.maximum(np.diff(data.trial, axis=0) - 1, 0)
    out[1:] = np.where(data.choice[1:] >= 0, how.keep**waited, 0.0)
    return out[..., None]


def attribute(data: Sessions, how: Settings) -> Floats:
    """Return a number that each action has."""
    values = attribute_of(data, how.column)
    if how.form == "log":
        return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
    if how.form == "share":
        total = np.abs(values).sum(axis=2, keepdims=True)
        return np.asarray(values / np.where(total > 0, total, 1.0))
    return values


def context(data: Sessions, how: Settings) -> Floats:
    """Return a number that all actions share."""
    return np.asarray(context_of(data, how.column) - how.centre)[..., None]


_LEARNS = ("keep", "keep_negative", "keep_unchosen")

KINDS: dict[str, Kind] = {
    "last": Kind(last, "last choice"),
    "previous": Kind(previous, "action chosen before the present run"),
    "ago": Kind(ago, "choice some choices ago", ("back",)),
    "rewarded_ago": Kind(rewarded_ago, "reward some choices ago", ("back",), earned=True),
    "choices": Kind(choices, "trace of choices", ("keep",)),
    "rewarded": Kind(rewarded, "trace of rewarded choices", ("keep",), earned=True),
    "foregone": Kind(foregone, "trace of rewards shown for actions not chosen", ("keep",), earned=True),
    "outcome": Kind(outcome, "trace of an action's rewards, chosen or not", ("keep",), earned=True),
    "value": Kind(value, "learned value", _LEARNS, earned=True),
    "untried": Kind(untried, "not chosen yet in this block"),
    "since": Kind(since, "log choices since the action was chosen"),
    "constant": Kind(constant, "constant preference", ("action",), past=False),
    "run": Kind(run, "log length of the present run", per_action=False),
    "previous_run": Kind(previous_run, "log length of the run before", per_action=False),
    "long_run": Kind(long_run, "present run at least as long as the one before", per_action=False),
    "switching": Kind(switching, "trace of switching", ("keep",), per_action=False),
    "returning": Kind(returning, "trace of returning to the action before", ("keep",), per_action=False),
    "reward_rate": Kind(reward_rate, "trace of rewards", ("keep",), per_action=False, earned=True),
    "surprise": Kind(surprise, "trace of surprise", _LEARNS, per_action=False, earned=True),
    "losing": Kind(losing, "log choices in a row without reward", per_action=False, earned=True),
    "winning": Kind(winning, "log rewards in a row", per_action=False, earned=True),
    "fading": Kind(fading, "fades with the choices since the last reward", ("keep",), per_action=False, earned=True),
    "elapsed": Kind(elapsed, "log choices made in this block", per_action=False),
    "planned": Kind(planned, "value of the states that an action leads to", ("keep",), earned=True, scoped=False),
    "recent": Kind(recent, "fades with the trials since the stimulus or item was there", ("keep",), per_action=False),
    "attribute": Kind(attribute, "a number of each action", ("column", "form"), past=False),
    "context": Kind(context, "a number of the trial", ("column", "centre"), per_action=False, past=False),
}


def signal_values(data: Sessions, kind: str, how: Settings) -> Floats:
    """Compute a signal before every choice, (T, S, A), or (T, S, 1) where it is the same for all actions."""
    seen = view(data, how.scope, how.outcome)
    return seen.spread(KINDS[kind].compute(seen.data, how))
