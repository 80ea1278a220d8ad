"""The learning-rate model with choice perseveration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.learning_rate import LEARNING_RATE_RNN_CONFIG, LearningRateRNN

__all__ = ["CHOICE_RNN_CONFIG", "ChoiceRNN", "MODEL"]

CHOICE_RNN_CONFIG = SpiceConfig(
    rnn_modules=[*LEARNING_RATE_RNN_CONFIG.rnn_modules, "x_value_choice"],
    control_parameters=LEARNING_RATE_RNN_CONFIG.control_parameters,
    library_setup={**LEARNING_RATE_RNN_CONFIG.library_setup, "x_value_choice": ["c_action"]},
    filter_setup=LEARNING_RATE_RNN_CONFIG.filter_setup,
)


class ChoiceRNN(LearningRateRNN):
    r"""`LearningRateRNN` plus a choice trace that makes recent choices more (or less) likely.

    The trace :math:`C_a \leftarrow d\, C_a + p\, [a = \text{choice}]` is added to the logits as it is,
    :math:`\mathrm{logit}_a = \beta V_a + C_a`, so that the coefficient ``c_action`` of ``x_value_choice`` is
    the perseveration p in units of log odds (negative: alternation) and its own coefficient the
    persistence d. A weight of its own could not be told apart from p. Lau & Glimcher (2005),
    doi:10.1901/jeab.2005.110-04.

    Parameters
    ----------
    n_actions : int
        Number of actions.
    n_participants : int, default 0
        With 0, one network for everybody; else a participant embedding.
    embedding_size : int, default 4
        Length of the participant embedding; an estimator's own setting takes precedence.
    n_experiments : int, default 0
        Not used: the model is the same in all experiments.

    Examples
    --------
    >>> sorted(ChoiceRNN(n_actions=2).submodules_rnn)
    ['x_learning_rate_reward', 'x_value_choice', 'x_value_reward_not_chosen']
    """

    init_values: ClassVar[Mapping[str, float]] = {**LearningRateRNN.init_values, "x_value_choice": 0.0}
    reward_units: ClassVar[Mapping[str, int] | None] = {**(LearningRateRNN.reward_units or {}), "x_value_choice": 0}

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_value_choice", n_inputs=1)

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the reward values and the choice trace by one trial."""
        super().update(action, reward, embedding)
        self.state["x_value_choice"] = self.call_module(
            "x_value_choice", "x_value_choice", inputs=(action,), participant_embedding=embedding
        )

    def logits(self, beta: Tensor) -> Tensor:
        """Logits (R, A) of the next choice."""
        return super().logits(beta) + self.state["x_value_choice"]


MODEL = PrecodedModel(
    ChoiceRNN,
    CHOICE_RNN_CONFIG,
    adds="`learning_rate` and a trace of past choices",
    coefficients="α, f, β, perseveration, persistence",
)
