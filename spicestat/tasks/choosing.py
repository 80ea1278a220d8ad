"""From what a model yields to probabilities: the softmax, probabilities as they are, and what else may decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from spicestat.pooled.packed import Floats, Ints

if TYPE_CHECKING:
    from spicestat.tasks.task_trials import TaskTrials

__all__ = ["GIVEN", "SOFTMAX", "Given", "Rule", "Softmax", "log_shares"]


class Rule(Protocol):
    """How actions are chosen by what a model yields, (Q, S, ...), on trial t."""

    def log_probability(self, yielded: Floats, trials: TaskTrials, t: int, choice: Ints) -> Floats:
        """Log-probability (Q, S) of choices (S,)."""

    def probabilities(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        """Probabilities (Q, S, A) of all actions."""

    def draw(self, yielded: Floats, trials: TaskTrials, t: int, rng: np.random.Generator) -> Ints:
        """Draw choices (S,) from what was yielded (1, S, ...); response times go into the trials."""


def log_shares(utilities: Floats) -> Floats:
    """Log of the softmax along the last axis.

    Examples
    --------
    >>> log_shares(np.array([0.0, 0.0])).round(3).tolist()
    [-0.693, -0.693]
    """
    shifted = utilities - utilities.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class Softmax:
    """Utilities (Q, S, A) are log-odds. Actions not on offer have none."""

    def log_probability(self, yielded: Floats, trials: TaskTrials, t: int, choice: Ints) -> Floats:
        """Log-probability (Q, S) of choices (S,)."""
        utilities = self._among(yielded, trials, t)
        if utilities.shape[-1] == 2:
            away = (utilities[..., 1] - utilities[..., 0]) * (1 - 2 * choice)
            return np.asarray(-np.logaddexp(0.0, away))
        return np.asarray(log_shares(utilities)[:, np.arange(len(choice)), choice])

    def probabilities(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        """Probabilities (Q, S, A) of all actions."""
        return np.asarray(np.exp(log_shares(self._among(yielded, trials, t))))

    def draw(self, yielded: Floats, trials: TaskTrials, t: int, rng: np.random.Generator) -> Ints:
        """Draw choices (S,)."""
        shares = np.cumsum(self.probabilities(yielded, trials, t)[0], axis=-1)
        found = (rng.random(len(shares))[:, None] >= shares[:, :-1]).sum(axis=1)
        return np.asarray(found, dtype=np.int64)

    def _among(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        if trials.offered is None or yielded.shape[-1] != trials.n_actions:
            return yielded
        return np.where(trials.offered[t], yielded, -np.inf)


class Given(Softmax):
    """What is yielded are log-probabilities (Q, S, A) already."""

    def log_probability(self, yielded: Floats, trials: TaskTrials, t: int, choice: Ints) -> Floats:
        """Log-probability (Q, S) of choices (S,)."""
        return np.asarray(yielded[:, np.arange(len(choice)), choice])

    def probabilities(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        """Probabilities (Q, S, A) of all actions."""
        return np.asarray(np.exp(yielded))


SOFTMAX, GIVEN = Softmax(), Given()
