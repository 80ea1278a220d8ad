"""The optimizer and its schedule are torch's, to the last bit."""

import pytest
import torch
from torch import nn

from spicestat.training.adamw import AdamW, warm_restarts


def train_both(n_steps, decay, restart_at=None):
    """Weights after steps of both optimizers on the same gradients, which a weight without one does not have."""
    ours = [nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1))) for shape in (3, (2, 5), 1)]
    theirs = [nn.Parameter(weight.detach().clone()) for weight in ours]
    own, reference = AdamW(ours, 0.01, decay), torch.optim.AdamW(theirs, lr=0.01, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(reference, T_0=64, T_mult=2)
    noise = torch.Generator().manual_seed(2)
    for step in range(n_steps):
        if step == restart_at:
            again = AdamW(ours, 0.5, decay)
            again.set_moments(own.moments())
            own = again
        for mine, other in zip(ours[:2], theirs[:2], strict=True):
            mine.grad = torch.randn(mine.shape, generator=noise) * 10.0 ** (step % 5 - 3)
            other.grad = mine.grad.clone()
        own.rate = warm_restarts(0.01, step)
        assert own.rate == reference.param_groups[0]["lr"]
        own.step()
        reference.step()
        schedule.step()
    return ours, theirs


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("restart_at", [None, 70])
def test_weights_are_those_of_torch(decay, restart_at):
    """Over three cycles of the schedule, also by an optimizer that goes on with the moments of another one."""
    ours, theirs = train_both(200, decay, restart_at)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
    start = torch.randn(3, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(ours[0].detach(), start)


def test_gradients_are_dropped():
    weight = nn.Parameter(torch.ones(2))
    weight.sum().backward()
    AdamW([weight], 0.1, 0.0).drop_gradients()
    assert weight.grad is None
