"""The Wiener diffusion process between two boundaries: density of its first-passage time, lapses, constants."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spicestat.models.pieces import ScalingConstant

__all__ = ["PositiveConstant", "log_with_lapses", "wiener_log_density"]

_SWITCH = 0.4
"""Time, in units of boundary squared, from which the large-time series is used instead of the small-time one."""

_SMALL_TERMS = (1, -1, 2, -2)
_LARGE_TERMS = (2, 3, 4, 5)
"""Terms beside the leading one; at the switch the first one left out is below 1e-12 of the sum."""

_SHORTEST = 1e-8
_LOG_RANGE = 1e4
_EXPONENT_LIMIT = 5.0


def wiener_log_density(time: Tensor, drift: Tensor, boundary: Tensor, start: float = 0.5) -> Tensor:
    r"""Log density of reaching the upper boundary first, and doing so at a given time.

    The process starts at ``start * boundary``, has the given drift and a standard deviation of 1 per
    square root of a second, and stops at 0 or at ``boundary``. The density of the lower boundary is
    that of ``-drift`` and ``1 - start``. With :math:`u = t / a^2` and :math:`w = 1 - z / a`,

    .. math::
        p(t) = a^{-2} \exp(v a w - v^2 t / 2)\, f_w(u), \qquad
        f_w(u) = (2 \pi u^3)^{-1/2} \sum_{k=-\infty}^{\infty} (w + 2k)\, e^{-(w + 2k)^2 / 2u}
               = \pi \sum_{k=1}^{\infty} k \sin(k \pi w)\, e^{-k^2 \pi^2 u / 2}

    where the first series is used for small u and the second one for large u, five terms each (Navarro & Fuss
    2009, doi:10.1016/j.jmp.2009.02.003). Second derivatives are finite everywhere.

    Parameters
    ----------
    time : Tensor
        Seconds since the process started.
    drift, boundary : Tensor
        Drift v (any number) and boundary separation a (above 0); broadcast against ``time``.
    start : float in (0, 1), default 0.5
        Relative starting point z / a.

    Returns
    -------
    Tensor
        ``-inf`` where ``time`` is not above 0.

    Examples
    --------
    >>> one = torch.tensor(1.0)
    >>> wiener_log_density(torch.tensor([0.0, 0.5]), drift=one, boundary=2 * one)
    tensor([   -inf, -0.1302])
    """
    distance = 1.0 - start
    started = time > 0
    safe = torch.where(started, time, 1.0)
    scaled = _log_standard_density(safe / boundary.square(), distance)
    density = scaled - 2 * torch.log(boundary) + drift * boundary * distance - drift.square() * safe / 2
    return torch.where(started, density, -torch.inf)


def _log_standard_density(time: Tensor, distance: float) -> Tensor:
    """Log density without drift, of a boundary at ``distance``, the two being 1 apart."""
    early, late = time.clamp(_SHORTEST, _SWITCH), time.clamp(min=_SWITCH)
    total = torch.full_like(early, distance)
    for k in _SMALL_TERMS:
        total = total + (distance + 2 * k) * torch.exp(-2 * k * (k + distance) / early)
    small = torch.log(total) - distance**2 / (2 * early) - 1.5 * torch.log(early) - 0.5 * math.log(2 * math.pi)
    total = torch.full_like(late, math.sin(math.pi * distance))
    for k in _LARGE_TERMS:
        total = total + k * math.sin(k * math.pi * distance) * torch.exp(-(k**2 - 1) * math.pi**2 / 2 * late)
    large = torch.log(total) + math.log(math.pi) - math.pi**2 / 2 * late
    return torch.where(time < _SWITCH, small, large)


def log_with_lapses(log_likelihood: Tensor, log_lapse: Tensor, rate: float) -> Tensor:
    """``log((1 - rate) exp(log_likelihood) + rate exp(log_lapse))``, twice differentiable also where one is -inf.

    Parameters
    ----------
    log_likelihood, log_lapse : Tensor
        Log densities of a trial that is none and that is a lapse; the latter is finite.
    rate : float in (0, 1)
        Share of lapses.
    """
    odds = log_likelihood - log_lapse + math.log1p(-rate) - math.log(rate)
    return log_lapse + math.log(rate) - nn.functional.logsigmoid(-odds.clamp(min=-_LOG_RANGE))


class PositiveConstant(ScalingConstant):
    """A `ScalingConstant` above 0: ``initial`` times the exponential of a parameter, or of a map of the embedding.

    Parameters
    ----------
    initial : float
        Where training starts, above 0.
    embedding_size, n_members : int
        As for `ScalingConstant`.
    """

    def __init__(self, initial: float, embedding_size: int = 0, n_members: int = 1) -> None:
        super().__init__(embedding_size, n_members)
        self.initial = initial
        with torch.no_grad():
            for weights in self.parameters():
                weights.zero_()

    def forward(self, embedding: Tensor | None = None) -> Tensor:
        """Map embeddings (R, E) to constants (R, 1); in equation mode `row_values` are returned as they are."""
        raw = super().forward(embedding)
        if self.row_values is not None:
            return raw
        return self.initial * torch.exp(raw.clamp(-_EXPONENT_LIMIT, _EXPONENT_LIMIT))
