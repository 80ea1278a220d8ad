"""Structure search for the whole population, growing from a simple start."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from spicestat._runtime.progress import Progress
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.select.moves import possible_moves
from spicestat.equations.select.workbench import Workbench
from spicestat.equations.structure.equation_set import EquationSet

__all__ = ["population_structure"]

_TRIES = 3
"""Moves that are refitted per round, the most promising first."""

_HOPELESS = 3.0
"""A move is not refitted if its predicted peak scores lower than the present one by more, per participant.

A short ascent shows only a part of what a move gains."""

_UNIDENTIFIED_LIMIT = 0.2


def population_structure(
    bench: Workbench, start: EquationSet, progress: Progress | None = None, others: Sequence[EquationSet] = ()
) -> EquationSet:
    """Return the structure with the highest score, summed over participants, that single moves lead to.

    Each round refits the moves (see `possible_moves`) that promise most, and makes the best one. Starting
    below keeps every fit identified, also with few trials; a full library fitted to 200 choices finds a use
    for every term. Of the structures on the way, the best one counts in which at most a fifth of the
    participants lack an identified estimate: beyond that, group models withhold their p-values.

    Parameters
    ----------
    bench : Workbench
        Fits and scores.
    start : EquationSet
        Structure and starting values.
    progress : callable, optional
        Called with ("equations", done, total, message) for every move that is looked at; there are seldom as many
        rounds as are counted.
    others : sequence of EquationSet, optional
        Where the search goes on, in this order, if it ends lower than they are: from a start at which nothing is
        learned, inverse temperatures mean nothing, and no single move pays.
    """
    climb, waiting = _Climb(bench), list(others)
    climb.offer([bench.without_idle_states(start)], [])
    moves, n_rounds = possible_moves(start, bench.allowed), 2 * int(bench.allowed.sum())
    n_steps = len(moves) + _TRIES

    def tell(done: int, step: int) -> None:
        if progress is not None:
            progress("equations", done * n_steps + step, n_rounds * n_steps, f"score {climb.total:.1f}")

    for done in range(n_rounds):
        hopeful = climb.total - _HOPELESS * int(bench.present.sum())
        outlook = bench.outlook(climb.best.equations, moves, tell=partial(tell, done))
        ends = [(climb.sum(promise), moved) for moved, promise in outlook]
        ranked = sorted((end for end in ends if end[0] > hopeful), key=lambda end: -end[0])
        tell(done, len(moves))
        better = climb.offer([moved for _, moved in ranked[:_TRIES]], [])
        while waiting and not any(better):
            better = climb.offer([waiting.pop(0)], [])
        if not any(better):
            break
        # the winner gets a second start, the median over participants
        climb.offer([climb.best.equations], None)
    if progress is not None:
        progress("equations", n_rounds * n_steps, n_rounds * n_steps, "structure found")
    chosen = climb.best
    if climb.comparable is not None:
        chosen = climb.comparable
        # what could not be chosen must not speak for its terms either
        bench.visited.leave_out(climb.barred)
    # also for those without data, who made no move
    return chosen.equations.with_status(chosen.equations.status[np.argmax(bench.present)])


class _Climb:
    """The best structure so far, and the best one of those in which most participants are identified."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.total = self.comparable_total = -np.inf
        self.best: RefitResult
        self.comparable: RefitResult | None = None
        self.barred: list[np.ndarray] = []

    def sum(self, scores: np.ndarray) -> float:
        """Sum of scores (P,) over participants with data."""
        return float(scores[self.bench.present].sum())

    def offer(self, candidates: Sequence[EquationSet], starts: list[np.ndarray] | None) -> list[bool]:
        """Refit structures and say which were the best so far when their turn came."""
        return [self._take(*fitted) for fitted in self.bench.fit_all(candidates, starts)]

    def _take(self, result: RefitResult, scores: np.ndarray) -> bool:
        total, better = self.sum(scores), False
        if total > self.total or not hasattr(self, "best"):
            self.best, self.total, better = result, total, True
        few = float(result.unidentified[self.bench.present].mean()) <= _UNIDENTIFIED_LIMIT
        if not few:
            self.barred.append(result.equations.status)
        elif total > self.comparable_total:
            self.comparable, self.comparable_total = result, total
        return better
