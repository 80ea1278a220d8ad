"""Moves between equation structures: one term, or two terms of a module that only pay together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet

__all__ = ["Move", "possible_moves"]


@dataclass(frozen=True)
class Move:
    """Change of the status of one or two terms.

    Attributes
    ----------
    before, after : mapping as tuple of (position, status)
        The move is possible for those who have all of ``before``, and gives them ``after``.

    Examples
    --------
    >>> release = Move(((0, KEPT),), ((0, FREE),))
    >>> status = np.array([[KEPT, FREE], [FREE, FREE]], dtype="int8")
    >>> release.possible(status)
    array([ True, False])
    >>> release.apply(status)[0]
    array([1, 1], dtype=int8)
    """

    before: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]

    def possible(self, status: np.ndarray) -> np.ndarray:
        """Say who can make the move, status (P, K) to bool (P,)."""
        answer = np.ones(len(status), dtype=bool)
        for position, needed in self.before:
            answer &= status[:, position] == needed
        return answer

    @property
    def grows(self) -> bool:
        """Whether the move only frees terms."""
        return all(new == FREE for _, new in self.after)

    def apply(self, status: np.ndarray) -> np.ndarray:
        """Return the status (P, K) after the move."""
        moved = status.copy()
        for position, new in self.after:
            moved[:, position] = new
        return moved


def possible_moves(equations: EquationSet, allowed: np.ndarray) -> list[Move]:
    """All moves between structures of the allowed terms.

    One term enters, leaves, or (an own state) is kept; or, within a module, one term takes another's
    place, or two enter together. Forgetting towards a level, for example, needs the constant and the
    own state's coefficient at once: neither pays alone.

    Parameters
    ----------
    equations : EquationSet
        Gives the K terms.
    allowed : bool ndarray of shape (K,)
        Terms that may be in the equations.
    """
    moves: list[Move] = []
    for library in equations.libraries:
        where = equations.positions(library)
        own = [position for position in range(where.start, where.stop) if allowed[position]]
        singles = {position: _states(equations, position) for position in own}
        for position in own:
            moves += [Move(((position, old),), ((position, new),)) for old, new in singles[position]]
        for first, second in combinations(own, 2):
            moves += _pairs(first, second, singles)
    return moves


def _states(equations: EquationSet, position: int) -> list[tuple[int, int]]:
    """Old and new status of one term."""
    statuses = [EXCLUDED, FREE] + ([KEPT] if equations.own_state[position] else [])
    return [(old, new) for old in statuses for new in statuses if old != new]


def _pairs(first: int, second: int, singles: dict[int, list[tuple[int, int]]]) -> list[Move]:
    """Return moves of two terms: both become free, or one takes the other's place."""
    pairs = []
    for one, other in ((first, second), (second, first)):
        for old, new in singles[one]:
            for old_other, new_other in singles[other]:
                exchange = new == FREE and old_other != EXCLUDED and new_other != FREE
                together = one < other and new == FREE and new_other == FREE
                if exchange or together:
                    pairs.append(Move(((one, old), (other, old_other)), ((one, new), (other, new_other))))
    return pairs
