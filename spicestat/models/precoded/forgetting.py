"""Rescorla-Wagner learning with forgetting of the actions that are not chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.participant_model import ParticipantModel

__all__ = ["FORGETTING_RNN_CONFIG", "ForgettingRNN", "MODEL"]

FORGETTING_RNN_CONFIG = SpiceConfig(
    rnn_modules=["x_value_reward_chosen", "x_value_reward_not_chosen"],
    control_parameters=["c_action", "c_reward"],
    library_setup={"x_value_reward_chosen": ["c_reward"], "x_value_reward_not_chosen": []},
    filter_setup={
        "x_value_reward_chosen": ["c_action", 1, True],
        "x_value_reward_not_chosen": ["c_action", 0, True],
    },
)


class ForgettingRNN(ParticipantModel):
    r"""Learned updates of the chosen and of the other actions' values, in log odds.

    It can express :math:`V_c \leftarrow V_c + \alpha (r - V_c)` and
    :math:`V_u \leftarrow V_u + f (V_0 - V_u)`, with choice probabilities softmax(:math:`\beta V`) and values
    starting at :math:`V_0`. As in `RescorlaWagnerRNN`, choices cannot tell the scale of the values and the inverse
    temperature apart, so the values are log odds, :math:`Q = \beta (V - V_0)`:

    .. math::
        Q_c \leftarrow (1-\alpha)\, Q_c + \alpha\beta\, r - \alpha\beta V_0, \qquad Q_u \leftarrow (1-f)\, Q_u

    Ito & Doya (2009), doi:10.1523/JNEUROSCI.6157-08.2009, whose :math:`\kappa_1` and :math:`-\kappa_2` are
    :math:`\beta (1 - V_0)` and :math:`-\beta V_0` here.

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
    >>> model = ForgettingRNN(n_actions=2)
    >>> list(model.submodules_rnn), list(model.betas)
    (['x_value_reward_chosen', 'x_value_reward_not_chosen'], [])
    """

    init_values: ClassVar[Mapping[str, float]] = {"x_value_reward": 0.0}
    # values are log odds
    reward_units: ClassVar[Mapping[str, int] | None] = {
        "c_action": 0,
        "c_reward": 1,
        "x_value_reward": 0,
        "x_value_reward_chosen": 0,
        "x_value_reward_not_chosen": 0,
    }

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_value_reward_chosen", n_inputs=1)
        self.setup_network("x_value_reward_not_chosen", n_inputs=0)

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the values by one trial."""
        chosen = self.call_module(
            "x_value_reward_chosen", "x_value_reward", action, (reward,), participant_embedding=embedding
        )
        not_chosen = self.call_module(
            "x_value_reward_not_chosen", "x_value_reward", 1 - action, participant_embedding=embedding
        )
        self.state["x_value_reward"] = chosen + not_chosen


MODEL = PrecodedModel(
    ForgettingRNN,
    FORGETTING_RNN_CONFIG,
    adds="values of actions not chosen decay",
    coefficients="values in log odds: 1 - α, αβ, 1 - f",
)
