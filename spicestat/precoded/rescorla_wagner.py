"""Rescorla-Wagner learning: only the value of the chosen action changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.precoded.participants import ParticipantModel

__all__ = ["RESCOLA_WAGNER_CONFIG", "RESCORLA_WAGNER_CONFIG", "RescorlaWagnerRNN"]

RESCORLA_WAGNER_CONFIG = SpiceConfig(
    rnn_modules=["x_value_reward_chosen"],
    control_parameters=["c_action", "c_reward"],
    library_setup={"x_value_reward_chosen": ["c_reward"]},
    filter_setup={"x_value_reward_chosen": ["c_action", 1, True]},
)
RESCOLA_WAGNER_CONFIG = RESCORLA_WAGNER_CONFIG
"""The spelling of the SPICE documentation."""


class RescorlaWagnerRNN(ParticipantModel):
    r"""Learned update of the chosen action's value; the others keep theirs.

    Truth that it can express: :math:`V_c \leftarrow (1-\alpha) V_c + \alpha r`, with choice
    probabilities softmax(beta V). Source: Rescorla & Wagner (1972).

    Parameters
    ----------
    n_actions : int
        Number of actions.
    n_participants : int, default 0
        With 0, one network for everybody; else a participant embedding.

    Examples
    --------
    >>> RescorlaWagnerRNN(n_actions=3, n_participants=10).betas["x_value_reward"]
    ScalingConstant(
      (linear): EnsembleLinear()
    )
    """

    init_values: ClassVar[Mapping[str, float]] = {"x_value_reward": 0.5}

    def __init__(self, n_actions: int, n_participants: int = 0, **options: Any) -> None:
        super().__init__(n_actions=n_actions, n_participants=n_participants, **options)
        self.setup_network("x_value_reward_chosen", n_inputs=1)
        self.betas["x_value_reward"] = self.setup_constant(self.embedding_size)

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the value of the chosen action by one trial."""
        chosen = self.call_module(
            "x_value_reward_chosen", "x_value_reward", action, (reward,), participant_embedding=embedding
        )
        self.state["x_value_reward"] = chosen + (1 - action) * self.state["x_value_reward"]
