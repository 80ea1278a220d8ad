"""The loss on held-out or training data, and checks of response times."""

from __future__ import annotations

from torch import Tensor

from spicestat.errors import ConfigError, DataError
from spicestat.models.base import BaseRNN
from spicestat.models.choice_likelihood import choice_log_likelihood
from spicestat.trials.checks import LONGEST_SECONDS
from spicestat.trials.sequences import SequenceDataset

__all__ = ["check_times", "choice_log_likelihood", "mean_nll"]


def check_times(model: BaseRNN, data: SequenceDataset) -> None:
    """Raise unless the data have the response times, in seconds, that the model needs.

    Raises
    ------
    ConfigError
        There are none.
    DataError
        They look like milliseconds.
    """
    if not model.needs_times:
        return
    if not data.has_times:
        raise ConfigError(
            f"{type(model).__name__} needs response times, and the data have none",
            do="name their column with rt=..., or pass targets that hold the time in seconds at the chosen action",
        )
    median = float(data.times[data.mask].nanmedian())
    if median > LONGEST_SECONDS:
        raise DataError("response times must be in seconds", got=f"a median of {median:g}", do="divide them by 1000")


def mean_nll(logits: Tensor, data: SequenceDataset) -> float:
    """Mean negative log-likelihood per choice, in nats, of logits (S, T, A); times play no part."""
    total = choice_log_likelihood(logits, data.targets, data.mask).sum()
    return float(-total / data.mask.sum())
