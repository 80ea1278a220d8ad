"""Learning from the rewards shown for actions that were not chosen, with a learning rate of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.participant_model import ParticipantModel, delta_rule

__all__ = ["COUNTERFACTUAL_RNN_CONFIG", "CounterfactualRNN", "MODEL"]

COUNTERFACTUAL_RNN_CONFIG = SpiceConfig(
    rnn_modules=["x_learning_rate_reward", "x_learning_rate_counterfactual"],
    control_parameters=["c_action", "c_reward", "c_value_reward"],
    library_setup={
        "x_learning_rate_reward": ["c_reward", "c_value_reward"],
        "x_learning_rate_counterfactual": ["c_reward", "c_value_reward"],
    },
    filter_setup={
        "x_learning_rate_reward": ["c_action", 1, True],
        "x_learning_rate_counterfactual": ["c_action", 0, True],
    },
)


class CounterfactualRNN(ParticipantModel):
    r"""One learned learning rate for the chosen action, another for the shown rewards of the others.

    .. math::
        V_c \leftarrow V_c + \alpha_c (r_c - V_c), \qquad V_u \leftarrow V_u + \alpha_u (r_u - V_u)

    The equations of ``x_learning_rate_reward`` and ``x_learning_rate_counterfactual`` give :math:`\alpha_c`
    and :math:`\alpha_u`; constant rates are their terms ``1``. Choice probabilities are
    softmax(:math:`\beta V`). Palminteri, Khamassi, Joffily & Coricelli (2015), doi:10.1038/ncomms9096.

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
    Where the reward of an action is missing (not shown, NaN), its value is kept; there is no
    forgetting in this model. Without any shown reward of actions that were not chosen,
    ``x_learning_rate_counterfactual`` has no effect and ends up with no term.

    Examples
    --------
    >>> model = CounterfactualRNN(n_actions=2)
    >>> list(model.submodules_rnn), model.sees_counterfactual
    (['x_learning_rate_reward', 'x_learning_rate_counterfactual'], True)
    """

    sees_counterfactual: ClassVar[bool] = True
    init_values: ClassVar[Mapping[str, float]] = {
        "x_value_reward": 0.5,
        "x_learning_rate_reward": 0.0,
        "x_learning_rate_counterfactual": 0.0,
    }
    reward_units: ClassVar[Mapping[str, int] | None] = {
        "c_action": 0,
        "c_reward": 1,
        "c_value_reward": 1,
        "x_value_reward": 1,
        "x_learning_rate_reward": 0,
        "x_learning_rate_counterfactual": 0,
    }
    centred_states: ClassVar[Sequence[str]] = ("x_value_reward",)

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_learning_rate_reward", n_inputs=2)
        self.setup_network("x_learning_rate_counterfactual", n_inputs=2)
        self.betas["x_value_reward"] = self.setup_constant(self.embedding_size)
        self.submodules_eq["x_value_reward_shown"] = delta_rule

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the states by one trial; ``reward`` is NaN where it was not shown."""
        self.record_signal("c_value_reward", self.state["x_value_reward"])
        chosen = self._learning_rate("x_learning_rate_reward", action, reward, embedding)
        not_chosen = self._learning_rate("x_learning_rate_counterfactual", 1 - action, reward, embedding)
        self.state["x_value_reward"] = self.call_module(
            "x_value_reward_shown", "x_value_reward", inputs=(reward, chosen + not_chosen)
        )
        self.state["x_learning_rate_reward"] = chosen
        self.state["x_learning_rate_counterfactual"] = not_chosen

    def _learning_rate(self, module: str, cells: Tensor, reward: Tensor, embedding: Tensor | None) -> Tensor:
        """Learning rate (R, A) of one module, 0 outside its cells."""
        return self.call_module(
            module,
            module,
            cells,
            (reward, self.state["x_value_reward"]),
            participant_embedding=embedding,
            activation_rnn=torch.sigmoid,
        )


MODEL = PrecodedModel(
    CounterfactualRNN,
    COUNTERFACTUAL_RNN_CONFIG,
    adds="learning from the rewards shown for actions not chosen",
    coefficients="α, α of the others, β",
)
