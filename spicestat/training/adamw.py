"""AdamW and its schedule: torch.optim brings a compiler along that takes longer to import than many a fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["AdamW", "warm_restarts"]

_FAST, _SLOW, _EPSILON = 0.9, 0.999, 1e-8
_FIRST_CYCLE = 64


class AdamW:
    r"""Adam with decoupled weight decay; on a CPU `torch.optim.AdamW` to the last bit.

    .. math:: m \leftarrow .9 m + .1 g, \quad v \leftarrow .999 v + .001 g^2, \quad
              w \leftarrow (1 - \eta\lambda) w - \eta \frac{m / (1 - .9^t)}{\sqrt{v / (1 - .999^t)} + 10^{-8}}

    for gradients g in step t. Loshchilov & Hutter (2019), doi:10.48550/arXiv.1711.05101.

    Parameters
    ----------
    weights : iterable of nn.Parameter
        What to train; those without a gradient are left as they are.
    rate : float
        Learning rate :math:`\eta`, an attribute that may be changed between steps.
    decay : float
        :math:`\lambda`.

    Examples
    --------
    >>> weight = nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdamW([weight], rate=0.1, decay=0.0)
    >>> weight.square().sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([0.9000])
    """

    def __init__(self, weights: Iterable[nn.Parameter], rate: float, decay: float) -> None:
        self.weights, self.rate, self.decay = tuple(weights), rate, decay
        self._moments: dict[int, dict[str, Tensor]] = {}

    def drop_gradients(self) -> None:
        """Forget the gradients, before new ones are added up."""
        for weight in self.weights:
            weight.grad = None

    def step(self) -> None:
        """Move the weights along their gradients."""
        with torch.no_grad():
            for number, weight in enumerate(self.weights):
                if weight.grad is not None:
                    self._move(weight, weight.grad, self._moments.setdefault(number, _start(weight)))

    def _move(self, weight: nn.Parameter, gradient: Tensor, moments: Mapping[str, Tensor]) -> None:
        mean, square = moments["exp_avg"], moments["exp_avg_sq"]
        n_steps = float(moments["step"].add_(1.0))
        weight.mul_(1 - self.rate * self.decay)
        mean.lerp_(gradient, 1 - _FAST)
        square.mul_(_SLOW).addcmul_(gradient, gradient, value=1 - _SLOW)
        spread = (square.sqrt() / (1 - _SLOW**n_steps) ** 0.5).add_(_EPSILON)
        weight.addcdiv_(mean, spread, value=-(self.rate / (1 - _FAST**n_steps)))

    def moments(self) -> dict[str, Tensor]:
        """Return step counts and moments as ``name.number of the weight``."""
        return {f"{name}.{number}": value for number, own in self._moments.items() for name, value in own.items()}

    def set_moments(self, moments: Mapping[str, Tensor]) -> None:
        """Put back what `moments` returned."""
        self._moments = {}
        for key, value in moments.items():
            name, number = key.split(".")
            self._moments.setdefault(int(number), {})[name] = value.clone()


def _start(weight: nn.Parameter) -> dict[str, Tensor]:
    return {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}


def warm_restarts(rate: float, epoch: int) -> float:
    """Learning rate that falls along a half cosine and starts anew, after 64 epochs, 128 more, and so on.

    Loshchilov & Hutter (2017), doi:10.48550/arXiv.1608.03983.

    Parameters
    ----------
    rate : float
        Where it starts.
    epoch : int
        Epochs before this one, 0 or more.

    Examples
    --------
    >>> [round(warm_restarts(1.0, epoch), 3) for epoch in (0, 32, 63, 64, 128)]
    [1.0, 0.5, 0.001, 1.0, 0.5]
    """
    length = _FIRST_CYCLE
    while epoch >= length:
        epoch, length = epoch - length, 2 * length
    return rate * (1 + math.cos(math.pi * epoch / length)) / 2
