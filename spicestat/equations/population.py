"""One structure for everybody: climb from a simple start while the choices demand it."""

from __future__ import annotations

import numpy as np

from spicestat.equations.equation_set import EquationSet
from spicestat.equations.moves import possible_moves
from spicestat.equations.workbench import Workbench
from spicestat.training.loop import Progress

__all__ = ["population_structure"]

_TRIES = 3
"""Moves that are refitted per round, the most promising first."""

_HOPELESS = 1.0
"""A move is not refitted if its predicted peak scores lower than the present one by more, per participant.

One step from the present estimates shows only a part of what a move gains."""


def population_structure(bench: Workbench, start: EquationSet, progress: Progress | None = None) -> EquationSet:
    """Return the structure with the highest score, summed over participants, that single moves lead to.

    Each round refits the moves (see `possible_moves`) that promise most, and makes the best one. Starting
    below keeps every fit identified, also with few trials; a full library fitted to 200 choices finds a use
    for every term.

    Parameters
    ----------
    bench : Workbench
        Fits and scores.
    start : EquationSet
        Structure and starting values.
    progress : callable, optional
        Called with ("equations", round, rounds, message).
    """
    moves = possible_moves(start, bench.allowed)
    current, scores = bench.fit(bench.without_idle_states(start), [])
    total = float(scores[bench.present].sum())
    n_rounds = 2 * int(bench.allowed.sum())
    for done in range(n_rounds):
        if progress is not None:
            progress("equations", done, n_rounds, f"score {total:.1f}")
        before = total
        hopeful = total - _HOPELESS * int(bench.present.sum())
        ends = [
            (float(promise[bench.present].sum()), moved) for moved, promise in bench.outlook(current.equations, moves)
        ]
        ranked = sorted((end for end in ends if end[0] > hopeful), key=lambda end: -end[0])
        for _, moved in ranked[:_TRIES]:
            trial, scores = bench.fit(moved)
            if float(scores[bench.present].sum()) > total:
                current, total = trial, float(scores[bench.present].sum())
        if total <= before:
            break
    if progress is not None:
        progress("equations", n_rounds, n_rounds, "structure found")
    # also for those without data, who made no move
    return current.equations.with_status(current.equations.status[np.argmax(bench.present)])
