"""Inclusion probabilities: the share of support, over all visited structures, for those that contain a term."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spicestat.equations.structure.equation_set import FREE

__all__ = ["Visited"]


class Visited:
    """The structures that were compared for each participant, with their best scores.

    Parameters
    ----------
    n_participants : int
        P.

    Examples
    --------
    >>> visited = Visited(1)
    >>> visited.add(np.array([[1, 0]], dtype="int8"), np.array([0.0]))
    >>> visited.add(np.array([[1, 1]], dtype="int8"), np.array([np.log(3.0)]))
    >>> visited.inclusion(np.array([[1, 1]]))
    array([[1.  , 0.75]])
    """

    def __init__(self, n_participants: int) -> None:
        self._scores: list[dict[bytes, float]] = [{} for _ in range(n_participants)]

    def add(self, status: np.ndarray, score: np.ndarray) -> None:
        """Remember the participants' structures, status (P, K), and their scores (P,); -inf is not remembered."""
        for scores, own, value in zip(self._scores, status.astype("int8"), score.tolist(), strict=True):
            if np.isfinite(value):
                key = own.tobytes()
                scores[key] = max(value, scores.get(key, -np.inf))

    def leave_out(self, statuses: Sequence[np.ndarray]) -> None:
        """Forget structures, each a status (P, K), that cannot be chosen."""
        for status in statuses:
            for scores, own in zip(self._scores, status.astype("int8"), strict=True):
                scores.pop(own.tobytes(), None)

    def score(self, status: np.ndarray) -> np.ndarray:
        """Best score (P,) of each one's structure, status (P, K); NaN where it was not compared."""
        own = zip(self._scores, status.astype("int8"), strict=True)
        return np.array([scores.get(row.tobytes(), np.nan) for scores, row in own])

    def inclusion(self, final: np.ndarray, *, shared: bool = False) -> np.ndarray:
        """Share (P, K) of the weight exp(score) of structures in which a term is free.

        Parameters
        ----------
        final : int ndarray of shape (P, K)
            Final status; it stands for participants of whom nothing was compared.
        shared : bool, default False
            Structures are everybody's, and their scores the sum over participants.
        """
        if shared:
            return np.broadcast_to(self._share(_summed(self._scores), final[0]), final.shape).copy()
        rows = [self._share(scores, own) for scores, own in zip(self._scores, final, strict=True)]
        return np.stack(rows)

    @staticmethod
    def _share(scores: dict[bytes, float], final: np.ndarray) -> np.ndarray:
        if not scores:
            alone: np.ndarray = (final == FREE).astype("float64")
            return alone
        values = np.array(list(scores.values()))
        weight = np.exp(values - values.max())
        free = np.stack([np.frombuffer(key, dtype="int8") == FREE for key in scores])
        share: np.ndarray = weight @ free / weight.sum()
        return share


def _summed(scores: list[dict[bytes, float]]) -> dict[bytes, float]:
    """Scores of the structures that were compared for everybody who was compared at all."""
    known = [own for own in scores if own]
    if not known:
        return {}
    return {key: sum(own[key] for own in known) for key in known[0] if all(key in own for own in known)}
