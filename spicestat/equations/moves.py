"""Moves between equation structures, with the likelihood that each is predicted to gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.equations.equation_set import BETA, EXCLUDED, FREE, KEPT, EquationSet
from spicestat.equations.refit import Curvature

__all__ = ["Move", "apply_moves", "predict_moves"]

_STEP_LIMIT = 1.0
"""Largest predicted change of a coefficient that is used as a starting value."""


@dataclass(frozen=True)
class Move:
    """Change of one term's status for a group of participants.

    Attributes
    ----------
    position : int
        Which of the K coefficients.
    status : int
        Its new status.
    n_coefficients : int
        Coefficients per participant that the move adds: 1, 0 or -1.
    gain : float
        Predicted change of the group's log-likelihood.
    """

    position: int
    status: int
    n_coefficients: int
    gain: float


def predict_moves(
    equations: EquationSet,
    allowed: np.ndarray,
    curvature: Curvature,
    log_likelihood: np.ndarray,
    members: np.ndarray,
) -> list[Move]:
    """All single changes of a group's structure, with their predicted gains.

    The prediction is the peak of the local quadratic over the changed and the free coefficients.

    Parameters
    ----------
    equations : EquationSet
        Current structure, the same for all members, and estimates.
    allowed : bool ndarray of shape (K,)
        Terms that may be in the equations.
    curvature : Curvature
        At the estimates.
    log_likelihood : ndarray of shape (P,)
        At the estimates. No prediction exceeds what is left to gain up to 0.
    members : int ndarray
        The group's participants.
    """
    status = equations.status[members[0]]
    moves = []
    for position, (module, _) in enumerate(equations.terms):
        if module == BETA or not allowed[position]:
            continue
        targets = {EXCLUDED, FREE} | ({KEPT} if equations.own_state[position] else set())
        for target in sorted(targets - {int(status[position])}):
            gains = [_gain(equations, curvature, who, position, target) for who in members]
            gains = np.minimum(gains, -log_likelihood[members])
            added = int(target == FREE) - int(status[position] == FREE)
            moves.append(Move(position, target, added, float(np.sum(gains))))
    return moves


def apply_moves(equations: EquationSet, curvature: Curvature, chosen: dict[int, Move]) -> EquationSet:
    """Return the structure after each participant's move, started near the predicted peak.

    A term that becomes free starts at its present value, so that the likelihood can only rise.
    """
    status, values = equations.status.copy(), equations.coefficients.copy()
    for who, move in chosen.items():
        if move.status != FREE:
            shift = _shift(equations, curvature, who, move.position, move.status)
            values[who] += np.clip(shift, -_STEP_LIMIT, _STEP_LIMIT)
        status[who, move.position] = move.status
    return EquationSet(equations.libraries, equations.states, values, status).with_coefficients(values)


def _others(equations: EquationSet, who: int, position: int) -> np.ndarray:
    free = equations.status[who] == FREE
    free[position] = False
    return np.flatnonzero(free)


def _given(curvature: Curvature, who: int, position: int, others: np.ndarray) -> tuple[np.ndarray, float]:
    """How the other free coefficients follow one coefficient, and its information given them."""
    information = curvature.information[who]
    block, column = information[np.ix_(others, others)], information[others, position]
    follow: np.ndarray = -np.linalg.pinv(block, rcond=1e-8, hermitian=True) @ column
    return follow, float(information[position, position] + column @ follow)


def _change(equations: EquationSet, who: int, position: int, target: int) -> float:
    """Change of a coefficient that becomes fixed."""
    return float((1.0 if target == KEPT else 0.0) - equations.coefficients[who, position])


def _gain(equations: EquationSet, curvature: Curvature, who: int, position: int, target: int) -> float:
    _, information = _given(curvature, who, position, _others(equations, who, position))
    gradient, size = curvature.gradient[who, position], max(abs(information), 1e-8)
    if target == FREE:
        gain = 0.5 * gradient**2 / size
    else:
        change = _change(equations, who, position, target)
        gain = gradient * change - 0.5 * size * change**2
    return float(np.nan_to_num(gain))


def _shift(equations: EquationSet, curvature: Curvature, who: int, position: int, target: int) -> np.ndarray:
    """Change of all coefficients (K,) when one moves to its fixed value."""
    others = _others(equations, who, position)
    follow, _ = _given(curvature, who, position, others)
    change = _change(equations, who, position, target)
    shift = np.zeros(equations.coefficients.shape[1])
    shift[others] = np.nan_to_num(follow * change)
    return shift
