"""Rescorla-Wagner learning: only the value of the chosen action changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.participant_model import ParticipantModel

__all__ = ["RESCOLA_WAGNER_CONFIG", "RESCORLA_WAGNER_CONFIG", "RescorlaWagnerRNN", "MODEL"]

RESCORLA_WAGNER_CONFIG = SpiceConfig(
    rnn_modules=["x_value_reward_chosen"],
    control_parameters=["c_action", "c_reward"],
    library_setup={"x_value_reward_chosen": ["c_reward"]},
    filter_setup={"x_value_reward_chosen": ["c_action", 1, True]},
)
RESCOLA_WAGNER_CONFIG = RESCORLA_WAGNER_CONFIG
"""The spelling of the SPICE documentation."""


class RescorlaWagnerRNN(ParticipantModel):
    r"""Learned update of the chosen action's value, in log odds; the others keep theirs.

    It can express :math:`V_c \leftarrow V_c + \alpha (r - V_c)` with choice probabilities
    softmax(:math:`\beta V`), values starting at :math:`V_0`. Rescorla & Wagner (1972), in Black &
    Prokasy (eds.), *Classical Conditioning II*, 64-99.

    Choices determine only the product of the scale of the values and the inverse temperature. The values
    are therefore log odds, :math:`Q = \beta (V - V_0)`, start at 0, and there is no inverse temperature:

    .. math:: Q_c \leftarrow (1-\alpha)\, Q_c + \alpha\beta\, r - \alpha\beta V_0

    so that the coefficient of the own state is :math:`1-\alpha`, of ``c_reward`` :math:`\alpha\beta`, and
    of ``1`` :math:`-\alpha\beta V_0`. These equations hold in any unit of rewards, which :math:`\beta` takes up;
    bounds and penalties are nevertheless made for rewards of about 1. `LearningRateRNN` has
    :math:`\alpha` and :math:`\beta` as coefficients.

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
    >>> model = RescorlaWagnerRNN(n_actions=3, n_participants=10)
    >>> list(model.submodules_rnn), list(model.betas)
    (['x_value_reward_chosen'], [])
    """

    init_values: ClassVar[Mapping[str, float]] = {"x_value_reward": 0.0}
    # values are log odds
    reward_units: ClassVar[Mapping[str, int] | None] = {
        "c_action": 0,
        "c_reward": 1,
        "x_value_reward": 0,
        "x_value_reward_chosen": 0,
    }

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_value_reward_chosen", n_inputs=1)

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the value of the chosen action by one trial."""
        chosen = self.call_module(
            "x_value_reward_chosen", "x_value_reward", action, (reward,), participant_embedding=embedding
        )
        self.state["x_value_reward"] = chosen + (1 - action) * self.state["x_value_reward"]


MODEL = PrecodedModel(
    RescorlaWagnerRNN,
    RESCORLA_WAGNER_CONFIG,
    adds="only the value of the chosen action changes",
    coefficients="values in log odds: 1 - α, αβ",
)
