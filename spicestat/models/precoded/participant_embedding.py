"""The learning-rate model with a participant embedding: the model of SPICE's tutorial 4."""

from __future__ import annotations

from spicestat.errors import ConfigError
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.learning_rate import LEARNING_RATE_RNN_CONFIG, LearningRateRNN

__all__ = ["ParticipantEmbeddingRNN", "MODEL"]


class ParticipantEmbeddingRNN(LearningRateRNN):
    """`LearningRateRNN` that always has a participant embedding.

    Parameters
    ----------
    n_actions : int
        Number of actions.
    n_participants : int
        Number of participants, at least 1.
    embedding_size : int, default 4
        Length of the participant embedding; an estimator's own setting takes precedence.
    n_experiments : int, default 0
        Not used: the model is the same in all experiments.

    Raises
    ------
    ConfigError
        ``n_participants`` is not given.

    Examples
    --------
    >>> ParticipantEmbeddingRNN(n_actions=2, n_participants=5).embedding_size
    4
    """

    def __init__(self, n_actions: int, n_participants: int, embedding_size: int = 4, n_experiments: int = 0) -> None:
        if n_participants < 1:
            raise ConfigError(
                "ParticipantEmbeddingRNN needs the number of participants",
                got=n_participants,
                do="pass n_participants to SpiceEstimator",
            )
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)


MODEL = PrecodedModel(
    ParticipantEmbeddingRNN,
    LEARNING_RATE_RNN_CONFIG,
    adds="`learning_rate`, always with an embedding",
    coefficients="α, f, β",
)
