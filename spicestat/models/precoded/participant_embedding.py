"""The learning-rate model with a participant embedding: the model of SPICE's tutorial 4."""

from __future__ import annotations

from typing import Any

from spicestat.errors import ConfigError
from spicestat.models.precoded.learning_rate import LearningRateRNN

__all__ = ["ParticipantEmbeddingRNN"]


class ParticipantEmbeddingRNN(LearningRateRNN):
    """`LearningRateRNN` that always has a participant embedding.

    Parameters
    ----------
    n_actions : int
        Number of actions.
    n_participants : int
        Number of participants, at least 1.

    Raises
    ------
    ConfigError
        ``n_participants`` is not given.

    Examples
    --------
    >>> ParticipantEmbeddingRNN(n_actions=2, n_participants=5).embedding_size
    4
    """

    def __init__(self, n_actions: int, n_participants: int, **options: Any) -> None:
        if n_participants < 1:
            raise ConfigError(
                "ParticipantEmbeddingRNN needs the number of participants",
                got=n_participants,
                do="pass n_participants to SpiceEstimator",
            )
        super().__init__(n_actions=n_actions, n_participants=n_participants, **options)
