"""The learning-rate model with a short memory of recent choices and rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.learning_rate import LEARNING_RATE_RNN_CONFIG, LearningRateRNN

__all__ = ["WORKING_MEMORY_RNN_CONFIG", "WorkingMemoryRNN", "MODEL"]

_N_LAGS = 4
_SIGNALS = [f"c_{what}_lag{lag}" for what in ("choice", "reward") for lag in range(_N_LAGS)]

WORKING_MEMORY_RNN_CONFIG = SpiceConfig(
    rnn_modules=[*LEARNING_RATE_RNN_CONFIG.rnn_modules, "x_value_memory"],
    control_parameters=[*LEARNING_RATE_RNN_CONFIG.control_parameters, *_SIGNALS],
    library_setup={**LEARNING_RATE_RNN_CONFIG.library_setup, "x_value_memory": _SIGNALS},
    filter_setup=LEARNING_RATE_RNN_CONFIG.filter_setup,
)


class WorkingMemoryRNN(LearningRateRNN):
    r"""`LearningRateRNN` plus a memory of the last four choices and rewards that adds to the logits.

    .. math::
        \mathrm{logit}_a = \beta V_a + M_a, \qquad
        M_a = \sum_{i=0}^{3} w_i\, r_{k-i} [a_{k-i} = a] + h_i\, [a_{k-i} = a]

    The coefficients of ``x_value_memory``, in log odds, are the weights: ``c_reward_lag0`` is :math:`w_0`
    for the reward of the last trial, ``c_choice_lag3`` is :math:`h_3` for the choice four trials ago.
    Lau & Glimcher (2005), doi:10.1901/jeab.2005.110-04; a fast memory beside slow learning:
    Collins & Frank (2012), doi:10.1111/j.1460-9568.2011.07980.x.

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
    The memory is emptied before each trial, so its own state is not a term: together with the lags it would be a second
    exponential trace. A missing choice leaves its place in the memory empty, and a missing reward counts as none.

    A reward also reaches the logits through the value, by :math:`\beta \alpha (1-\alpha)^i` at lag i when
    the action is chosen each time. The tail beyond the memory tells the two apart: well with slow
    learning (:math:`\alpha` up to about .3), hardly with :math:`\alpha` near 1.

    Examples
    --------
    >>> WORKING_MEMORY_RNN_CONFIG.signals("x_value_memory")[3:5]
    ('c_choice_lag3', 'c_reward_lag0')
    """

    init_values: ClassVar[Mapping[str, float]] = {
        **LearningRateRNN.init_values,
        "x_value_memory": 0.0,
        **{f"x_memory_{what}_lag{lag}": 0.0 for what in ("choice", "reward") for lag in range(1, _N_LAGS)},
    }
    reward_units: ClassVar[Mapping[str, int] | None] = {
        **(LearningRateRNN.reward_units or {}),
        "x_value_memory": 0,
        **{signal: int("reward" in signal) for signal in _SIGNALS},
    }

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        self.setup_network("x_value_memory", n_inputs=len(_SIGNALS))

    def update(self, action: Tensor, reward: Tensor, embedding: Tensor | None) -> None:
        """Advance the reward values and the memory by one trial."""
        super().update(action, reward, embedding)
        choices = self._shift("choice", action)
        rewards = self._shift("reward", torch.nan_to_num(reward) * action)
        for name, signal in zip(_SIGNALS, choices + rewards, strict=True):
            self.record_signal(name, signal)
        self.state["x_value_memory"] = torch.zeros_like(action)
        self.state["x_value_memory"] = self.call_module(
            "x_value_memory",
            "x_value_memory",
            inputs=choices + rewards,
            participant_embedding=embedding,
            activation_rnn=_centred,
        )

    def _shift(self, what: str, newest: Tensor) -> list[Tensor]:
        """Put the newest signal (R, A) into its shift register and return the lags 0, 1, 2, ..."""
        lags = [newest, *(self.state[f"x_memory_{what}_lag{lag}"] for lag in range(1, _N_LAGS))]
        for lag in range(1, _N_LAGS):
            self.state[f"x_memory_{what}_lag{lag}"] = lags[lag - 1]
        return lags

    def logits(self, beta: Tensor) -> Tensor:
        """Logits (R, A) of the next choice."""
        return super().logits(beta) + self.state["x_value_memory"]


def _centred(memory: Tensor) -> Tensor:
    """Subtract the mean over actions: a constant of all actions changes no choice, and must not look like a term."""
    return memory - memory.mean(dim=-1, keepdim=True)


MODEL = PrecodedModel(
    WorkingMemoryRNN,
    WORKING_MEMORY_RNN_CONFIG,
    adds="`learning_rate` and weights of the last four choices and rewards",
    coefficients="α, β, weights",
)
