"""The library for tasks that show something: states of each stimulus, of items, of attributes and of contexts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from spicestat.pooled.packed import Sessions
from spicestat.pooled.state_library import FAST, MIDDLE, SLOW, SLOWEST, constants, history_states, ten_states
from spicestat.pooled.state_signals import FORMS, KINDS
from spicestat.pooled.states import Signal, State, state, state_rows

__all__ = ["Library", "library_for"]

_KEEPS = (0.0, FAST, MIDDLE, SLOW)
_NOTHING, _LEAST_LEFT = 1e-6, 1e-3


class Library(NamedTuple):
    """States that a search may choose from, and the sets of them that it starts from."""

    states: tuple[State, ...]
    begins: tuple[tuple[State, ...], ...]


def library_for(data: Sessions) -> Library:
    """Make the library of the roles that trials have: what is learned, and of what; what is shown; what it depends on.

    Parameters
    ----------
    data : Sessions

    Returns
    -------
    Library
        That of choice history where nothing is shown.

    Examples
    --------
    >>> from spicestat.pooled.packed import Shown, pack_sessions
    >>> shown = Shown(stimulus=np.array([[0, 1, 0]]))
    >>> found = library_for(pack_sessions([[0, 1, 1]], [[1.0, 0, 1]], [0], n_actions=2, shown=shown))
    >>> [declared.name for declared in found.states][:3]
    ['last@stimulus', 'untried@stimulus', 'since@stimulus']
    """
    if (
        not data.shown.before_choice
        and data.shown.loss is None
        and data.shown.state is None
        and np.isfinite(data.reward).any()
    ):
        states = _with_foregone(data, history_states(data.n_actions))
        return Library(states, (ten_states(data.n_actions), (state("last"),)))
    contexts = _contexts(data)
    fixed = constants(data.n_actions)
    known = [*fixed, *(_times(one, context) for one in fixed for context in contexts), *_valued(data, contexts)]
    parts = [
        *(list(_learned(data, scope, contexts)) for scope in _scopes(data)),
        list(_habits(data)),
        list(_planned(data)),
        _distinct(data, known),
    ]
    states = tuple(dict.fromkeys(declared for part in parts for declared in part))
    return Library(states, _begins(data, states))


def _times(declared: State, *signals: Signal) -> State:
    return State((*declared.signals, *signals))


def _scopes(data: Sessions) -> tuple[str, ...]:
    """Of what values are kept, the most specific first."""
    stimuli = ("stimulus",) if data.shown.stimulus is not None else ()
    items = ("item", "offer") if data.shown.item is not None else ()
    return (*items, *stimuli)


def _outcomes(data: Sessions) -> tuple[str, ...]:
    """Of what values are made: gains and losses, where they are told apart, and not also their sum, which both make."""
    if not np.isfinite(data.reward).any():
        return ()
    return ("net",) if data.shown.loss is None else ("gain", "loss")


def _is_complete(data: Sessions) -> bool:
    """Whether rewards of actions not chosen were shown."""
    chosen = np.arange(data.n_actions) == data.choice[..., None]
    return bool(np.isfinite(np.where(chosen, np.nan, data.reward)).any())


def _with_foregone(data: Sessions, states: tuple[State, ...]) -> tuple[State, ...]:
    if not _is_complete(data):
        return states
    n_fixed = len(constants(data.n_actions))
    kept = len(states) - n_fixed
    return (*states[:kept], *(state(("foregone", keep)) for keep in _KEEPS), *states[kept:])


def _learned(data: Sessions, scope: str, contexts: Sequence[Signal]) -> Iterator[State]:
    """List what is learned of each stimulus or item."""

    def of(kind: str, **settings: Any) -> Signal:
        return Signal(kind=kind, scope=scope, **settings)

    strong = [of("last"), of("choices", keep=MIDDLE)]
    yield from (State((signal,)) for signal in (of("last"), of("untried"), of("since")))
    yield from (State((of("choices", keep=keep),)) for keep in (FAST, MIDDLE, SLOW))
    complete = _is_complete(data)
    for outcome in _outcomes(data):
        yield from (State((of("value", keep=keep, outcome=outcome),)) for keep in (FAST, MIDDLE, SLOW, SLOWEST))
        yield from (State((of("rewarded", keep=keep, outcome=outcome),)) for keep in _KEEPS)
        strong += [of("rewarded", outcome=outcome), of("value", keep=FAST, outcome=outcome)]
        strong += [of("value", keep=MIDDLE, outcome=outcome)]
        if complete:
            yield from (State((of("outcome", keep=keep, outcome=outcome),)) for keep in _KEEPS)
            yield from (State((of("foregone", keep=keep, outcome=outcome),)) for keep in (0.0, MIDDLE))
            strong.append(of("outcome", keep=MIDDLE, outcome=outcome))
        if scope != "item":
            rate = of("reward_rate", keep=MIDDLE, outcome=outcome)
            yield State((of("last"), rate))
            yield from (_times(fixed, rate) for fixed in constants(data.n_actions))
    yield from (State((signal, of("elapsed"))) for signal in strong)
    if scope != "item":
        fading = [of("recent", keep=keep) for keep in (FAST, MIDDLE, SLOW)]
        yield from (State((signal, fade)) for signal in strong for fade in fading)
    yield from (State((signal, context)) for signal in strong for context in contexts)


def _habits(data: Sessions) -> Iterator[State]:
    """List what is done whatever was shown: positions and keys."""
    if not _scopes(data) and not data.shown.attributes:
        usual = history_states(data.n_actions)
    else:
        usual = (
            *(state(kind) for kind in ("last", "since")),
            *(state(("choices", keep)) for keep in (FAST, MIDDLE, SLOW)),
            *(state("last", kind) for kind in ("run", "elapsed")),
            state("last", ("switching", SLOW)),
            *(state(("rewarded", keep)) for keep in (0.0, MIDDLE)),
            state("last", ("reward_rate", MIDDLE)),
        )
        if not _scopes(data):
            usual += tuple(state(("value", keep)) for keep in (FAST, MIDDLE))
    for declared in usual:
        yield from _of_outcomes(declared, _outcomes(data))


def _of_outcomes(declared: State, outcomes: Sequence[str]) -> Iterator[State]:
    """Yield a state, or what it is of gains and of losses; nothing where it is made of rewards and there are none."""
    earned = [KINDS[signal.kind].earned for signal in declared.signals]
    if not any(earned):
        yield declared
        return
    for outcome in outcomes:
        parts = zip(declared.signals, earned, strict=True)
        yield State(tuple(replace(signal, outcome=outcome) if own else signal for signal, own in parts))


def _planned(data: Sessions) -> Iterator[State]:
    """List what the states are worth that the options lead to."""
    if data.shown.state is not None:
        for outcome in _outcomes(data):
            yield from (_one("planned", keep=keep, outcome=outcome) for keep in (FAST, MIDDLE, SLOW))


def _valued(data: Sessions, contexts: Sequence[Signal]) -> Iterator[State]:
    """List what the options are worth by what is known of them."""
    forms = [Signal(kind="attribute", column=name, form=form) for name in data.shown.attributes for form in FORMS]
    yield from (State((signal,)) for signal in forms)
    yield from (State(pair) for pair in combinations_with_replacement(forms, 2) if pair[0].column != pair[1].column)
    yield from (State((signal, signal)) for signal in forms)
    yield from (State((signal, context)) for signal in forms for context in contexts)


def _distinct(data: Sessions, states: list[State]) -> list[State]:
    """Leave out what states before it say: the share of a delay whose other is always 0 is a constant preference."""
    values = state_rows(data, states).values
    away = (values - values.mean(axis=1, keepdims=True)).reshape(-1, len(states))
    size = np.sqrt((away**2).sum(axis=0))
    products = (away.T @ away) / np.outer(*[np.where(size > _NOTHING, size, 1.0)] * 2)
    kept: list[int] = []
    for place in range(len(states)):
        along = products[kept, place]
        left = 1.0 - along @ np.linalg.lstsq(products[np.ix_(kept, kept)], along)[0] if kept else 1.0
        if size[place] > _NOTHING and left > _LEAST_LEFT:
            kept.append(place)
    return [states[place] for place in kept]


def _contexts(data: Sessions) -> tuple[Signal, ...]:
    """Each context: numbers about their mean, and the levels of a label but the first, which the others imply."""
    found: list[Signal] = []
    there, labels = data.choice >= 0, [name.rpartition("=")[0] for name in data.shown.context]
    for place, (name, values) in enumerate(data.shown.context.items()):
        own = values[there]
        first = labels[place] and labels.count(labels[place]) > 1 and labels.index(labels[place]) == place
        if first or (own == own[0]).all():
            continue
        centre = 0.0 if set(np.unique(own)) <= {0.0, 1.0} else float(f"{own.mean():.3g}")
        found.append(Signal(kind="context", column=name, centre=centre))
    return tuple(found)


def _begins(data: Sessions, states: tuple[State, ...]) -> tuple[tuple[State, ...], ...]:
    """Return a rich and a poor start."""
    outcomes, names, fixed = _outcomes(data), data.shown.attributes, constants(data.n_actions)
    scope = next((scope for scope in _scopes(data) if scope != "offer"), "all")
    rich = [_one("attribute", column=name, form=form) for name in names for form in ("log", "share")]
    poor = [_one("attribute", column=name, form="log") for name in names]
    if scope == "all" and not names:
        rich += [made for one in ten_states(data.n_actions) for made in _of_outcomes(one, outcomes)]
        poor += [] if outcomes else [_one("last")]
    elif outcomes or not names:
        rich += [_one("last", scope=scope), _one("choices", keep=MIDDLE, scope=scope)]
    learning = "outcome" if _is_complete(data) else "value"
    for outcome in outcomes:
        poor.append(_one(learning, keep=FAST, scope=scope, outcome=outcome))
        if scope != "all" or names:
            rich += [_one(learning, keep=keep, scope=scope, outcome=outcome) for keep in (FAST, MIDDLE)]
            rich.append(_one("rewarded", scope=scope, outcome=outcome))
    kept = set(states)
    return tuple(tuple(dict.fromkeys(one for one in (*begin, *fixed) if one in kept)) for begin in (rich, poor))


def _one(kind: str, **settings: Any) -> State:
    return State((Signal(kind=kind, **settings),))
