"""Structure search for each participant separately, with the same moves offered to all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from spicestat._runtime.progress import Progress
from spicestat.equations.estimate.refit import merged
from spicestat.equations.select.moves import Move, possible_moves
from spicestat.equations.select.workbench import Workbench
from spicestat.equations.structure.equation_set import FREE, EquationSet

__all__ = ["individual_structures"]

_OFFERS = 4
"""Moves that are refitted per round: those that promise most to the participants who like them best."""

_PROMISING = -1.0
"""A participant tries a move if its score after a short ascent is not lower than the present one by more."""

_BEHIND = 1.0
"""A start with a log-likelihood that is higher by more shows that a participant's search got stuck."""

_POOL = 8
"""Most frequent structures that are offered to everybody."""


def individual_structures(
    bench: Workbench, start: EquationSet, progress: Progress | None = None, others: Sequence[EquationSet] = ()
) -> EquationSet:
    """Return each participant's structure of the highest score.

    Equations grow from a simple start while that raises a participant's score; then the most frequent
    structures are offered to everybody: two mechanisms may stand in for each other and cannot be exchanged
    term by term. Structures that few have are not offered, and combinations that nobody grew into are not
    tried, which keeps chance findings rare (trying all raised false positives from .03 to .05).

    Parameters
    ----------
    bench : Workbench
        Fits and scores.
    start : EquationSet
        Structure, the same for everybody, and starting values.
    progress : callable, optional
        Called with ("equations", done, total, message) for every move that is looked at; it starts over where
        another start helps somebody, and there are seldom as many rounds as are counted.
    others : sequence of EquationSet, optional
        Further starts, offered to the participants whose choices they predict better than what was found.
    """
    growth = [move for move in possible_moves(start, bench.allowed) if move.grows]
    n_rounds = 2 * int(bench.allowed.sum())
    n_growing = n_rounds * len(growth)

    def tell(done: int, message: str) -> None:
        if progress is not None:
            progress("equations", done, n_growing + _POOL, message)

    def growing(done: int, number: int) -> None:
        tell(done * len(growth) + number, "adding terms")

    search = _Search(bench, bench.without_idle_states(start))
    search.grow(growth, n_rounds, growing)
    for other in others:
        if search.restart(other):
            search.grow(growth, n_rounds, growing)
    search.exchange(lambda number: tell(n_growing + number, "comparing structures between participants"))
    tell(n_growing + _POOL, "structures found")
    return search.current.equations


class _Search:
    """Everybody's best structure so far."""

    def __init__(self, bench: Workbench, start: EquationSet) -> None:
        self.bench = bench
        self.current, self.score = bench.fit(start, [])

    def _offer(self, candidates: Sequence[EquationSet], who: Sequence[np.ndarray]) -> np.ndarray:
        """Refit structures, each for some participants (P,); who takes one, as it raises the score, is returned."""
        offers = [(one, own) for one, own in zip(candidates, who, strict=True) if own.any()]
        taken = np.zeros_like(self.bench.present)
        for trial, score in self.bench.fit_all([one for one, _ in offers], [], [own for _, own in offers]):
            better = score > self.score
            self.current = merged(self.current, trial, better)
            self.score = np.where(better, score, self.score)
            taken |= better
        return taken

    def restart(self, other: EquationSet) -> bool:
        """Offer another start to the participants whose choices it predicts better; say whether anybody takes it."""
        better = self.bench.log_likelihood(other.coefficients) > self.current.log_likelihood + _BEHIND
        return bool(self._offer([other], [self.bench.present & better]).any())

    def grow(self, growth: list[Move], n_rounds: int, tell: Callable[[int, int], None]) -> None:
        """Add terms until nobody gains by it; ``tell`` is called with the round and the move that is looked at."""
        open_ = self.bench.present.copy()
        for done in range(n_rounds):
            outlook = self.bench.outlook(self.current.equations, growth, open_, partial(tell, done))
            if not outlook:
                break
            gains = np.stack([np.where(open_, _gain(promise, self.score), -np.inf) for _, promise in outlook])
            offered = _favourites(gains)
            promising = [open_ & (gains[number] > _PROMISING) for number in offered]
            changed = self._offer([outlook[number][0] for number in offered], promising)
            # whose own favourite is too rare to be offered yet has not declined anything
            open_ = changed | ((gains.max(axis=0) > 0) & ~np.isin(gains.argmax(axis=0), offered))
            if not open_.any():
                break

    def exchange(self, tell: Callable[[int], None]) -> None:
        """Offer the most frequent structures to everybody; ``tell`` is called with the number of those offered."""
        equations, present = self.current.equations, self.bench.present
        statuses, counts = np.unique(equations.status[present], axis=0, return_counts=True)
        for number, status in enumerate(statuses[np.argsort(-counts, kind="stable")[:_POOL]]):
            tell(number)
            own = present & (equations.status == status).all(axis=1)
            typical = np.median(equations.coefficients[own], axis=0)
            self._offer([_with_status(self.current.equations, status, typical)], [present & ~own])


def _gain(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Change of scores that may be -inf; to become finite at all is a gain."""
    floor = -1e9
    return np.asarray(np.maximum(new, floor) - np.maximum(old, floor))


def _favourites(gains: np.ndarray) -> list[int]:
    """Return moves, of gains (moves, P), in the order of what they promise to those who like them best."""
    best = gains.argmax(axis=0)
    promised = np.maximum(np.nan_to_num(gains, neginf=0.0), 0.0)
    total = np.array([promised[number, best == number].sum() for number in range(len(gains))])
    return [int(number) for number in np.argsort(-total, kind="stable")[:_OFFERS] if total[number] > 0]


def _with_status(equations: EquationSet, status: np.ndarray, typical: np.ndarray) -> EquationSet:
    """Return another structure; terms that come in start at typical values (K,)."""
    values = np.where(equations.status == FREE, equations.coefficients, typical)
    full = np.broadcast_to(status, equations.status.shape).astype("int8")
    return EquationSet(equations.libraries, equations.states, values, full).with_coefficients(values)
