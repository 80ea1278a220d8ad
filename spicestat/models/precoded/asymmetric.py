"""Separate learned learning rates for positive and negative reward prediction errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.participant_model import ParticipantModel, delta_rule

__all__ = ["ASYMMETRIC_RNN_CONFIG", "INTERACTION_RNN_CONFIG", "AsymmetricRNN", "InteractionRNN", "MODEL"]

ASYMMETRIC_RNN_CONFIG = SpiceConfig(
    rnn_modules=["x_learning_rate_positive", "x_learning_rate_negative", "x_value_reward_not_chosen"],
    control_parameters=["c_action", "c_reward", "c_value_reward"],
    library_setup={
        "x_learning_rate_positive": ["c_value_reward"],
        "x_learning_rate_negative": ["c_value_reward"],
        "x_value_reward_not_chosen": [],
    },
    filter_setup={
        "x_learning_rate_positive": ["c_action", 1, True],
        "x_learning_rate_negative": ["c_action", 1, True],
        "x_value_reward_not_chosen": ["c_action", 0, True],
    },
)
INTERACTION_RNN_CONFIG = ASYMMETRIC_RNN_CONFIG
"""SPICE's name for it."""


class AsymmetricRNN(ParticipantModel):
    r"""Learning rates that depend on the sign of the prediction error.

    .. math::
        V_c \leftarrow V_c + \alpha_+ \max(\delta, 0) + \alpha_- \min(\delta, 0), \qquad \delta = r - V_c

    The equations of ``x_learning_rate_positive`` and ``x_learning_rate_negative`` give :math:`\alpha_+` and
    :math:`\alpha_-`; constant rates are their terms ``1``. ``x_value_reward_not_chosen`` updates the other
    actions, and choice probabilities are softmax(:math:`\beta V`). Lefebvre, Lebreton, Meyniel,
    Bourgeois-Gironde & Palminteri (2017), doi:10.1038/s41562-017-0067.

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

    Notes
    -----
    Each rate's module is called only for the chosen action on trials with its sign, so that neither
    the regression on the network nor the likelihood mixes the two. Both rates are 0 where the error is 0
    or the reward is missing. A rate may depend on the value but not on the reward: given the sign, a
    reward of 0 or 1 is a constant.

    Examples
    --------
    >>> list(AsymmetricRNN(n_actions=2).submodules_rnn)
    ['x_learning_rate_positive', 'x_learning_rate_negative', 'x_value_reward_not_chosen']
    """

    init_values: ClassVar[Mapping[str, float]] = {
        "x_value_reward": 0.5,
        "x_learning_rate_positive": 0.0,
        "x_learning_rate_negative": 0.0,
    }
    reward_units: ClassVar[Mapping[str, int] | None] = {
        "c_action": 0,
        "c_reward": 1,
        "c_value_reward": 1,
        "x_value_reward": 1,
        "x_learning_rate_positive": 0,
        "x_learning_rate_negative": 0,
        "x_value_reward_not_chosen": 1,
    }
    centred_states: ClassVar[Sequence[str]] = ("x_value_reward",)

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_learning_rate_positive", n_inputs=1)
        self.setup_network("x_learning_rate_negative", n_inputs=1)
        self.setup_network("x_value_reward_not_chosen", n_inputs=0)
        self.betas["x_value_reward"] = self.setup_constant(self.embedding_size)
        self.submodules_eq["x_value_reward_chosen"] = delta_rule

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the states by one trial."""
        value = self.state["x_value_reward"]
        self.record_signal("c_value_reward", value)
        # comparisons with a missing reward are False, so it is of neither sign
        positive = self._learning_rate("positive", action * (reward > value), embedding)
        negative = self._learning_rate("negative", action * (reward < value), embedding)
        chosen = self.call_module("x_value_reward_chosen", "x_value_reward", action, (reward, positive + negative))
        not_chosen = self.call_module(
            "x_value_reward_not_chosen", "x_value_reward", 1 - action, participant_embedding=embedding
        )
        self.state["x_value_reward"] = chosen + not_chosen
        self.state["x_learning_rate_positive"] = positive
        self.state["x_learning_rate_negative"] = negative

    def _learning_rate(self, sign: str, cells: Tensor, embedding: Tensor | None) -> Tensor:
        """Learning rate (R, A) of one sign, 0 outside its cells."""
        name = f"x_learning_rate_{sign}"
        return self.call_module(
            name,
            name,
            cells,
            (self.state["x_value_reward"],),
            participant_embedding=embedding,
            activation_rnn=torch.sigmoid,
        )


InteractionRNN = AsymmetricRNN
"""SPICE's name for it."""


MODEL = PrecodedModel(
    AsymmetricRNN,
    ASYMMETRIC_RNN_CONFIG,
    adds="one learning rate for each sign of the prediction error",
    coefficients="α₊, α₋, f, β",
)
