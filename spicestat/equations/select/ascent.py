"""Batched quasi-Newton ascent: every participant's coefficients at once, by gradients only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Ascent", "ascend"]

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps coefficients (P, K) and who is active (P,) to values (P,) and gradients (P, K)."""

_SHORTEN = 0.3
_SHORTEST = 1e-3
_SUFFICIENT = 1e-4


@dataclass
class Ascent:
    """Where an ascent has come to: coefficients (P, K), values (P,)."""

    coefficients: Tensor
    value: Tensor


def ascend(
    objective: Objective,
    start: Tensor,
    free: Tensor,
    inverse: Tensor,
    active: Tensor,
    *,
    tolerance: float,
    max_iter: int,
    step_limit: Tensor | float = 1.0,
) -> Ascent:
    """Maximise by BFGS with step halving, for all participants at once.

    Broyden, Fletcher, Goldfarb & Shanno (Nocedal & Wright 2006, doi:10.1007/978-0-387-40065-5, ch. 6).

    Parameters
    ----------
    objective : callable
        Value and gradient; rows of participants who are not active are ignored.
    start : Tensor of shape (P, K)
        Starting values.
    free : bool Tensor of shape (P, K)
        Coefficients that move.
    inverse : Tensor of shape (P, K, K)
        First guess of the inverse information, positive definite over the free coefficients.
    active : bool Tensor of shape (P,)
        Participants to look at.
    tolerance : float
        Gain that the next step may still promise.
    max_iter : int
        Largest number of evaluations.
    step_limit : Tensor of shape (K,) or float
        Largest change of a coefficient in one step.

    Examples
    --------
    >>> def bowl(x, active):
    ...     return -((x - 3.0) ** 2).sum(dim=1), -2 * (x - 3.0)
    >>> everything = torch.ones(1, 2, dtype=torch.bool)
    >>> run = ascend(bowl, torch.zeros(1, 2), everything, torch.eye(2)[None], everything[:, 0],
    ...              tolerance=1e-9, max_iter=30)
    >>> run.coefficients.round(decimals=3)
    tensor([[3., 3.]])
    """
    point, limit = start.clone(), torch.as_tensor(step_limit, dtype=start.dtype)
    value, gradient = objective(point, active)
    gradient = torch.where(free, torch.nan_to_num(gradient), 0.0)
    both = free[:, :, None] & free[:, None, :]
    inverse, stride = torch.where(both, inverse, 0.0), torch.ones_like(value)
    for _ in range(max_iter):
        direction = (inverse @ gradient.unsqueeze(-1)).squeeze(-1)
        promised = (direction * gradient).sum(dim=1)
        active = active & (promised > 2 * tolerance) & (stride > _SHORTEST)
        if not bool(active.any()):
            break
        step = torch.minimum(torch.maximum(stride[:, None] * direction, -limit), limit)
        trial = torch.where(active[:, None], point + step, point)
        new_value, new_gradient = objective(trial, active)
        new_gradient = torch.where(free, torch.nan_to_num(new_gradient), 0.0)
        better = active & (new_value > value + _SUFFICIENT * stride * promised) & new_value.isfinite()
        better |= active & ~value.isfinite() & new_value.isfinite()
        inverse = torch.where(better[:, None, None], _updated(inverse, step, gradient - new_gradient), inverse)
        point = torch.where(better[:, None], trial, point)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        value = torch.where(better, new_value, value)
        stride = torch.where(better, 1.0, torch.where(active, stride * _SHORTEN, stride))
    return Ascent(point, value)


def _updated(inverse: Tensor, step: Tensor, fall: Tensor) -> Tensor:
    """Update the inverse (P, K, K) from steps and falls of the gradient, where the curvature is positive."""
    product = (step * fall).sum(dim=1)
    usable = product > 1e-10
    rho = torch.where(usable, 1.0 / torch.where(usable, product, 1.0), 0.0)[:, None, None]
    image = (inverse @ fall.unsqueeze(-1)).squeeze(-1)
    outer = image[:, :, None] * step[:, None, :]
    size = 1.0 + rho[:, 0] * (fall * image).sum(dim=1, keepdim=True)
    update = (
        inverse - rho * (outer + outer.transpose(1, 2)) + rho * size[:, :, None] * step[:, :, None] * step[:, None, :]
    )
    return torch.where(usable[:, None, None], update, inverse)
