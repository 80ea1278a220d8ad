"""Learning with a drift-diffusion process as choice rule: choices and response times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from spicestat.errors import ConfigError
from spicestat.models.precoded.description import PrecodedModel
from spicestat.models.precoded.learning_rate import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.models.wiener import PositiveConstant, log_with_lapses, wiener_log_density

__all__ = ["DRIFT_DIFFUSION_CONFIG", "DriftDiffusionRNN", "MODEL"]

DRIFT_DIFFUSION_CONFIG = LEARNING_RATE_RNN_CONFIG

_BOUNDARY, _NON_DECISION_TIME = "boundary", "non_decision_time"


class DriftDiffusionRNN(LearningRateRNN):
    r"""`LearningRateRNN` whose values drive a diffusion process, so that response times count too.

    On each trial evidence starts half-way between two boundaries a apart and diffuses, with a
    standard deviation of 1 per square root of a second, at the drift

    .. math:: v = \beta\, (V_1 - V_0)

    until it reaches the boundary of action 1 or 0; the response follows the non-decision time :math:`\tau` later. The
    probability of action 1 is :math:`1 / (1 + e^{-va})`, so the logits are :math:`\beta a V`. Pedersen, Frank & Biele
    (2017), doi:10.3758/s13423-016-1199-y.

    The constants are the coefficients ``x_value_reward`` (the drift scale :math:`\beta`, per second and
    unit of reward), ``boundary`` (a) and ``non_decision_time`` (:math:`\tau`, seconds) of the module ``beta``.

    Parameters
    ----------
    n_actions : int
        2.
    n_participants : int, default 0
        With 0, one network for everybody; else a participant embedding.
    embedding_size : int, default 4
        Length of the participant embedding; an estimator's own setting takes precedence.
    n_experiments : int, default 0
        Not used: the model is the same in all experiments.

    Attributes
    ----------
    lapse_rate : float
        Share of trials that the likelihood takes to be lapses (class attribute): a choice at random,
        after a time with density :math:`2 / (\pi (1 + t^2))`. It is fixed and small, so that a single
        guess faster than :math:`\tau` is not impossible and does not decide the estimate of :math:`\tau`.

    Raises
    ------
    ConfigError
        There are more than two actions.

    Notes
    -----
    A choice without a response time counts with its probability alone. The likelihood is a density
    over seconds, so its logarithm may be positive.

    Examples
    --------
    >>> model = DriftDiffusionRNN(n_actions=2)
    >>> list(model.betas)
    ['x_value_reward', 'boundary', 'non_decision_time']
    >>> xs = torch.tensor([[[1.0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]])  # actions, rewards, participant
    >>> logits, state = model(xs, batch_first=True)
    >>> state["boundary"].tolist()
    [[1.5, 1.5]]
    """

    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {_BOUNDARY: (0.05, 20.0), _NON_DECISION_TIME: (0.0, 10.0)}
    # below most response times: beyond them, all are lapses and nothing says where to go
    starts: ClassVar[Mapping[str, float]] = {_BOUNDARY: 1.5, _NON_DECISION_TIME: 0.15}
    needs_times: ClassVar[bool] = True
    lapse_rate: ClassVar[float] = 0.01

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        if n_actions != 2:
            raise ConfigError(
                "a diffusion between two boundaries needs two actions", got=n_actions, do="use another model"
            )
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        for name, initial in self.starts.items():
            self.betas[name] = PositiveConstant(initial, self.embedding_size, self.n_members)

    def inverse_temperature(self, embedding: Tensor | None, like: Tensor) -> Tensor:
        """Return that of the choices (R, 1), drift scale times boundary; the other constants become states."""
        for name in (_BOUNDARY, _NON_DECISION_TIME):
            self.state[name] = self.betas[name](embedding).expand(-1, self.n_actions)
        return super().inverse_temperature(embedding, like) * self.state[_BOUNDARY][:, :1]

    def log_likelihood(
        self, logits: Tensor, state: Mapping[str, Tensor], targets: Tensor, times: Tensor, mask: Tensor
    ) -> Tensor:
        """Log density of choices and response times, summed over the steps of each sequence; see `BaseRNN`."""
        boundary, non_decision_time = state[_BOUNDARY][:, :1], state[_NON_DECISION_TIME][:, :1]
        log_odds = logits[..., 1] - logits[..., 0]
        log_odds = torch.where(targets == 1, log_odds, -log_odds)
        timed = torch.isfinite(times)
        seconds = torch.where(timed, times, 1.0)
        density = wiener_log_density(seconds - non_decision_time, log_odds / boundary, boundary)
        log_lapse = math.log(0.5) + torch.where(timed, math.log(2 / math.pi) - torch.log1p(seconds.square()), 0.0)
        trial = torch.where(timed, density, nn.functional.logsigmoid(log_odds))
        return torch.where(mask, log_with_lapses(trial, log_lapse, self.lapse_rate), 0.0).sum(dim=-1)


MODEL = PrecodedModel(
    DriftDiffusionRNN,
    DRIFT_DIFFUSION_CONFIG,
    adds="response times as well as choices",
    coefficients="α, drift scale, boundary, non-decision time",
)
