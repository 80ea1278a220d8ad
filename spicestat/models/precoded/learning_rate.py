"""A learned learning rate inside a hard-coded reward prediction error, with forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.participant_model import ParticipantModel, delta_rule

__all__ = ["LEARNING_RATE_RNN_CONFIG", "LearningRateRNN", "MODEL"]

LEARNING_RATE_RNN_CONFIG = SpiceConfig(
    rnn_modules=["x_learning_rate_reward", "x_value_reward_not_chosen"],
    control_parameters=["c_action", "c_reward", "c_value_reward"],
    library_setup={
        "x_learning_rate_reward": ["c_reward", "c_value_reward"],
        "x_value_reward_not_chosen": [],
    },
    filter_setup={
        "x_learning_rate_reward": ["c_action", 1, True],
        "x_value_reward_not_chosen": ["c_action", 0, True],
    },
)


class LearningRateRNN(ParticipantModel):
    r"""Learning rate from a network (sigmoid), value of the chosen action by the delta rule.

    :math:`V_c \leftarrow V_c + \alpha[k] (r - V_c)`, where the equation of
    ``x_learning_rate_reward`` gives :math:`\alpha[k]`, and ``x_value_reward_not_chosen`` updates the
    other actions. A constant learning rate is the term ``1`` of ``x_learning_rate_reward``.

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
    >>> sorted(LearningRateRNN(n_actions=2).submodules_rnn)
    ['x_learning_rate_reward', 'x_value_reward_not_chosen']
    """

    init_values: ClassVar[Mapping[str, float]] = {"x_value_reward": 0.5, "x_learning_rate_reward": 0.0}
    reward_units: ClassVar[Mapping[str, int] | None] = {
        "c_action": 0,
        "c_reward": 1,
        "c_value_reward": 1,
        "x_value_reward": 1,
        "x_learning_rate_reward": 0,
        "x_value_reward_not_chosen": 1,
    }
    centred_states: ClassVar[Sequence[str]] = ("x_value_reward",)

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_learning_rate_reward", n_inputs=2)
        self.setup_network("x_value_reward_not_chosen", n_inputs=0)
        self.betas["x_value_reward"] = self.setup_constant(self.embedding_size)
        self.submodules_eq["x_value_reward_chosen"] = delta_rule

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the states by one trial."""
        value = self.state["x_value_reward"]
        self.record_signal("c_value_reward", value)
        learning_rate = self.call_module(
            "x_learning_rate_reward",
            "x_learning_rate_reward",
            action,
            (reward, value),
            participant_embedding=embedding,
            activation_rnn=torch.sigmoid,
        )
        chosen = self.call_module("x_value_reward_chosen", "x_value_reward", action, (reward, learning_rate))
        not_chosen = self.call_module(
            "x_value_reward_not_chosen", "x_value_reward", 1 - action, participant_embedding=embedding
        )
        self.state["x_value_reward"] = chosen + not_chosen
        self.state["x_learning_rate_reward"] = learning_rate


MODEL = PrecodedModel(
    LearningRateRNN,
    LEARNING_RATE_RNN_CONFIG,
    adds="a learned learning rate before a built-in prediction error, and forgetting",
    coefficients="α, f, β",
)
