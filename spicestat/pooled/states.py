"""States: declared products of signals, as data that R and JSON can express, and their values on people's trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spicestat.errors import ConfigError
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.scopes import OUTCOMES, SCOPES
from spicestat.pooled.state_signals import FORMS, KINDS, Settings, signal_values

__all__ = ["Signal", "State", "StateRows", "row_places", "state", "state_products", "state_rows"]

_NUMBERS = tuple(f.name for f in fields(Settings))


@dataclass(frozen=True)
class Signal(Settings):
    """One signal: its kind, and how it moves.

    Attributes
    ----------
    kind : str
        A name in `KINDS`.

    Raises
    ------
    ConfigError
        An unknown kind, a setting that the kind does not take, or one out of its range.

    Examples
    --------
    >>> Signal(kind="choices", keep=0.8).name
    'choices_0.8'
    >>> Signal(kind="value", keep=0.7, keep_negative=0.9).as_dict()
    {'kind': 'value', 'keep': 0.7, 'keep_negative': 0.9}
    >>> Signal(kind="value", keep=0.8, scope="stimulus", outcome="loss").name
    'value_loss_0.8@stimulus'
    """

    kind: str = "last"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no signal of kind {self.kind!r}. Allowed: {', '.join(KINDS)}.")
        foreign = [name for name in self._told() if name not in KINDS[self.kind].takes]
        if foreign:
            takes = ", ".join(KINDS[self.kind].takes) or "nothing"
            raise ConfigError(f"signal {self.kind!r} does not take {foreign[0]!r}. Allowed: {takes}.")
        for name, high in (("keep", 1.0), ("keep_negative", 1.0), ("keep_unchosen", np.nextafter(1.0, 2.0))):
            number = getattr(self, name)
            if number is not None and not 0.0 <= number < high:
                raise ConfigError(f"{name} of signal {self.kind!r} is {number}. Allowed: from 0 to below 1.")
        if self.back < 1:
            raise ConfigError(f"back of signal {self.kind!r} is {self.back}. Allowed: 1 or more.")
        for name, allowed in (("scope", SCOPES), ("outcome", OUTCOMES), ("form", FORMS)):
            if getattr(self, name) not in allowed:
                got = repr(getattr(self, name))
                raise ConfigError(f"{name} of signal {self.kind!r} is {got}. Allowed: {', '.join(map(repr, allowed))}.")

    def _told(self) -> dict[str, Any]:
        """Return the settings other than the defaults."""
        default = Settings()
        return {name: getattr(self, name) for name in _NUMBERS if getattr(self, name) != getattr(default, name)}

    @property
    def name(self) -> str:
        """Name in tables and equations."""
        if not KINDS[self.kind].past and self.kind != "constant":
            return _shown_name(self)
        rates = [self.keep] if "keep" in KINDS[self.kind].takes else []
        rates += [r for r in (self.keep_negative,) if r is not None]
        rates += [self.keep_unchosen] if self.keep_unchosen != 1.0 else []
        whole = {"action": self.action + 1, "back": self.back}
        numbers = [str(whole[name]) for name in KINDS[self.kind].takes if name in whole]
        numbers += [f"{rate:.4g}" for rate in rates]
        outcome = [] if self.outcome == "net" else [self.outcome]
        return "_".join([self.kind, *outcome, *numbers]) + ("" if self.scope == "all" else f"@{self.scope}")

    @property
    def per_action(self) -> bool:
        """Whether the signal differs between actions: of an item on offer, everything does."""
        return KINDS[self.kind].per_action or self.scope == "offer"

    @property
    def rates(self) -> tuple[str, ...]:
        """Names of the settings that say how fast the signal moves, those in use."""
        used = [name for name in KINDS[self.kind].takes if name.startswith("keep")]
        told = self._told()
        return tuple(name for name in used if name == "keep" or name in told)

    def as_dict(self) -> dict[str, Any]:
        """Turn the signal into plain data."""
        return {"kind": self.kind, **self._told()}


def _shown_name(signal: Signal) -> str:
    if signal.form:
        return f"{signal.form}({signal.column})"
    return f"({signal.column}{-signal.centre:+.4g})" if signal.centre else signal.column


@dataclass(frozen=True)
class State:
    """What counts in a choice: a product of signals, at least one of which differs between actions.

    Attributes
    ----------
    signals : tuple of Signal

    Raises
    ------
    ConfigError
        No signal differs between actions, so that the state could not change a choice.

    Examples
    --------
    >>> stay_when_rich = state("last", ("reward_rate", 0.8))
    >>> stay_when_rich.name
    'last:reward_rate_0.8'
    >>> State.from_dict(stay_when_rich.as_dict()) == stay_when_rich
    True
    """

    signals: tuple[Signal, ...]

    def __post_init__(self) -> None:
        if not any(signal.per_action for signal in self.signals):
            names = ", ".join(name for name, kind in KINDS.items() if kind.per_action)
            msg = f"state {self.name!r} is the same for all actions. Multiply it by one that is not: {names}."
            raise ConfigError(msg)

    @property
    def name(self) -> str:
        """Name in tables and equations; ``:`` multiplies."""
        return ":".join(signal.name for signal in self.signals)

    @property
    def rates(self) -> tuple[tuple[int, str], ...]:
        """Every rate of the state: position of the signal and name of the setting."""
        return tuple((i, name) for i, signal in enumerate(self.signals) for name in signal.rates)

    def with_rate(self, signal: int, name: str, rate: float) -> State:
        """Return the same state with another rate."""
        plain = [s.as_dict() for s in self.signals]
        plain[signal][name] = rate
        return State.from_dict({"signals": plain})

    def as_dict(self) -> dict[str, Any]:
        """Turn the state into plain data, for JSON."""
        return {"signals": [signal.as_dict() for signal in self.signals]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> State:
        """Read a state from `as_dict`'s plain data."""
        return cls(tuple(Signal(**signal) for signal in plain["signals"]))


def state(*signals: str | tuple[str, float]) -> State:
    """Declare a state by the names of its signals, each alone or with its `keep`.

    Examples
    --------
    >>> state("last", ("switching", 0.9)).name
    'last:switching_0.9'
    """
    parts = (Signal(kind=s) if isinstance(s, str) else Signal(kind=s[0], keep=s[1]) for s in signals)
    return State(tuple(parts))


@dataclass(frozen=True, eq=False)
class StateRows:
    """States before every predicted choice of a table.

    Attributes
    ----------
    values : ndarray of shape (R, A, K)
        K states of A actions before R choices, person by person, session by session.
    choice, person, session, trial : int ndarray of shape (R,)
        What was chosen, by whom, and where in the arrays that were packed.
    names : tuple of K str
    offered : bool ndarray of shape (R, A), optional
        Whether each action was on offer; None: all always were.
    """

    values: Floats
    choice: Ints
    person: Ints
    session: Ints
    trial: Ints
    names: tuple[str, ...]
    offered: npt.NDArray[np.bool_] | None = None

    def rows(self, keep: Ints | np.ndarray[Any, np.dtype[np.bool_]]) -> StateRows:
        """Keep some of the rows, by a boolean mask or by their positions."""
        offered = None if self.offered is None else self.offered[keep]
        return StateRows(
            self.values[keep],
            self.choice[keep],
            self.person[keep],
            self.session[keep],
            self.trial[keep],
            self.names,
            offered,
        )

    def columns(self, keep: Sequence[int]) -> StateRows:
        """Keep some of the states, by their positions."""
        chosen = list(keep)
        names = tuple(self.names[k] for k in chosen)
        return replace(self, values=self.values[:, :, chosen], names=names)


def row_places(data: Sessions, first: bool = False) -> tuple[Ints, Ints]:
    """Return trial and session of every predicted choice, person by person; ``first``: of every choice."""
    there = data.choice >= 0 if first else data.predicted
    time, session = np.nonzero(there)
    order = np.lexsort((time, session, data.person[session]))
    return time[order], session[order]


def state_products(data: Sessions, states: Sequence[State], where: Any) -> Iterator[Floats]:
    """Yield each state's values at some places of the arrays (T, S, A): ``where`` indexes trials and sessions."""
    computed: dict[Signal, Floats] = {}
    for declared in states:
        product: Floats | float = 1.0
        for signal in declared.signals:
            if signal not in computed:
                computed[signal] = signal_values(data, signal.kind, signal)[where]
            product = product * computed[signal]
        yield np.asarray(product)


def state_rows(data: Sessions, states: Sequence[State], first: bool = False) -> StateRows:
    """Compute states before every choice.

    Parameters
    ----------
    data : Sessions
    states : sequence of K State
    first : bool, default False
        Whether all choices are meant, also the first of a session, before which nothing was seen.

    Returns
    -------
    StateRows

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> data = pack_sessions([[0, 0, 1, 1]], [[1.0, 0, 1, 0]], [0], n_actions=2)
    >>> state_rows(data, [state("last"), state(("rewarded", 0.5))]).values[:, :, 1]
    array([[0.5  , 0.   ],
           [0.25 , 0.   ],
           [0.125, 0.5  ]])
    """
    time, session = row_places(data, first)
    values = np.empty((len(time), data.n_actions, len(states)))
    for k, product in enumerate(state_products(data, states, (time, session))):
        values[:, :, k] = product
    return StateRows(
        values,
        data.choice[time, session],
        data.person[session],
        session,
        data.trial[time, session],
        tuple(declared.name for declared in states),
        None if data.offered is None else data.offered[time, session],
    )
