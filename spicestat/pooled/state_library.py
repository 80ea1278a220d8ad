"""The library of what people do: the states that the search starts from."""

from __future__ import annotations

from spicestat.pooled.states import Signal, State, state

__all__ = ["constants", "further_states", "history_states", "ten_states", "unlisted_states"]

FAST, MIDDLE, SLOW, SLOWEST = 0.5, 0.8, 0.9, 0.97


def constants(n_actions: int) -> tuple[State, ...]:
    """Constant preferences of all actions but the first."""
    return tuple(State((Signal(kind="constant", action=a),)) for a in range(1, n_actions))


def ten_states(n_actions: int) -> tuple[State, ...]:
    """Ten states that predict well on many tables, and constant preferences: a start without search."""
    return (
        state("last"),
        state("last", "run"),
        state("last", ("switching", SLOW)),
        state("last", ("reward_rate", MIDDLE)),
        state("last", "long_run"),
        state(("rewarded", 0.0)),
        state(("rewarded", FAST)),
        state(("rewarded", MIDDLE)),
        state(("choices", FAST)),
        state(("choices", MIDDLE)),
        *constants(n_actions),
    )


def history_states(n_actions: int) -> tuple[State, ...]:
    """Everything that the search may choose from, constant preferences last.

    Parameters
    ----------
    n_actions : int
        Number of actions A. With more than two, states that only then differ from the others are added.

    Returns
    -------
    tuple of State

    Examples
    --------
    >>> len(history_states(2)), history_states(2)[0].name
    (40, 'last')
    """
    scales = (FAST, MIDDLE, SLOW, SLOWEST)
    alone = [state("last"), state("untried")]
    alone += [state((kind, keep)) for kind in ("choices", "value") for keep in scales]
    alone += [state(("rewarded", keep)) for keep in (0.0, *scales)]
    stays = [state("last", kind) for kind in ("run", "previous_run", "long_run", "elapsed")]
    stays += [state("last", ("switching", keep)) for keep in (0.0, *scales)]
    stays += [state("last", ("reward_rate", keep)) for keep in (FAST, MIDDLE, SLOW, SLOWEST)]
    stays += [state("last", ("surprise", keep)) for keep in (FAST, SLOW)]
    products = [
        state(("rewarded", 0.0), "run"),
        state(("rewarded", 0.0), ("switching", SLOW)),
        state(("rewarded", 0.0), ("surprise", SLOW)),
        state("last", "run", ("switching", SLOW)),
        state("last", "run", ("reward_rate", MIDDLE)),
        state("last", "run", "run"),
        state("last", "long_run", ("switching", SLOW)),
        state("last", "previous_run", "run"),
    ]
    more = (
        [state("previous"), state("last", ("returning", SLOW)), state("since")] if n_actions > 2 else [state("since")]
    )
    return (*alone, *stays, *products, *more, *constants(n_actions))


def further_states(n_actions: int) -> tuple[State, ...]:
    """States beyond `history_states`, for discovery: what was done some choices ago, streaks, and their products.

    Examples
    --------
    >>> names = [declared.name for declared in further_states(2)]
    >>> len(names), "ago_3" in names, "last:losing" in names, "last:run" in names
    (161, True, True, False)
    """
    back = [Signal(kind="ago", back=b) for b in range(2, 7)] + [
        Signal(kind="rewarded_ago", back=b) for b in range(2, 5)
    ]
    traces = [Signal(kind=kind, keep=keep) for kind in ("choices", "rewarded", "value") for keep in (FAST, MIDDLE)]
    bases = [Signal(kind="last"), Signal(kind="rewarded", keep=0.0), *traces, *back]
    modulators = [
        Signal(kind="losing"),
        Signal(kind="winning"),
        *(Signal(kind="fading", keep=k) for k in (FAST, MIDDLE, SLOW)),
    ]
    modulators += [Signal(kind="run"), Signal(kind="switching", keep=SLOW), Signal(kind="reward_rate", keep=MIDDLE)]
    modulators += [Signal(kind="surprise", keep=FAST), Signal(kind="elapsed")]
    known = {frozenset(declared.signals) for declared in history_states(n_actions)}
    single = [State((signal,)) for signal in back]
    products = [State((base, modulator)) for base in bases for modulator in modulators]
    return tuple(s for s in (*single, *products) if frozenset(s.signals) not in known)


def unlisted_states() -> tuple[State, ...]:
    """States that `history_states` lacks, singly: what a network on states is told besides.

    Examples
    --------
    >>> [declared.name for declared in unlisted_states()][:3]
    ['last:losing', 'last:winning', 'ago_2']
    """
    streaks = [state("last", kind) for kind in ("losing", "winning")]
    back = [State((Signal(kind="ago", back=b),)) for b in range(2, 6)]
    back += [State((Signal(kind="rewarded_ago", back=b),)) for b in (2, 3)]
    return (*streaks, *back, *(state(("choices", MIDDLE), ("fading", keep)) for keep in (FAST, MIDDLE, SLOW)))
