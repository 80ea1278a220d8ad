"""From what a model yields to probabilities: the softmax, probabilities as they are, and what else may decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from spicestat.pooled.packed import Floats, Ints
from spicestat.pooled.prediction import sampled
from spicestat.pooled.softmax import log_softmax, softmax

if TYPE_CHECKING:
    from spicestat.tasks.task_trials import TaskTrials

__all__ = ["GIVEN", "SOFTMAX", "Given", "Rule", "Softmax"]


class Rule(Protocol):
    """How actions are chosen by what a model yields, (Q, S, ...), on trial t."""

    def log_probability(self, yielded: Floats, trials: TaskTrials, t: int, choice: Ints) -> Floats:
        """Log-probability (Q, S) of choices (S,)."""

    def probabilities(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        """Probabilities (Q, S, A) of all actions."""

    def draw(self, yielded: Floats, trials: TaskTrials, t: int, rng: np.random.Generator) -> Ints:
        """Draw choices (S,) from what was yielded (1, S, ...); response times go into the trials."""


class Softmax:
    """Utilities (Q, S, A) are log-odds. Actions not on offer have none."""

    def log_probability(self, yielded: Floats, trials: TaskTrials, t: int, choice: Ints) -> Floats:
        """Log-probability (Q, S) of choices (S,)."""
        utilities = self._among(yielded, trials, t)
        if utilities.shape[-1] == 2:
            away = (utilities[..., 1] - utilities[..., 0]) * (1 - 2 * choice)
            return np.asarray(-np.logaddexp(0.0, away))
        return np.asarray(log_softmax(utilities)[:, np.arange(len(choice)), choice])

    def probabilities(self, yielded: Floats, trials: TaskTrials, t: int) -> Floats:
        """Probabilities (Q, S, A) of all actions."""
        return softmax(self._among(yielded, trials, t))

    def draw(self, yielded: Floats, trials: TaskTrials, t: int, rng: np.random.Generator) -> Ints:
        """Draw choices (S,)."""
        return sampled(self.probabilities(yielded, trials, t)[0], rng)

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
