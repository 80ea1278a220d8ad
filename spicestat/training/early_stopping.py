"""Training that ends when choices that are not learned from are predicted no better: the loop of small networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Training", "train_until_worse"]


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes
    ----------
    epochs : int
        Most passes over the data.
    patience : int
        Passes without a gain after which training ends.
    learning_rate, decay : float
        Of AdamW; the largest rate of a one-cycle schedule.
    least_gain : float
        Fall of the watched loss that counts as one.
    clip_norm : float, default 1
    """

    epochs: int
    patience: int
    learning_rate: float
    decay: float
    least_gain: float
    clip_norm: float = 1.0


def train_until_worse(
    network: nn.Module,
    how: Training,
    n_batches: int,
    batches: Callable[[], Iterable[Tensor]],
    loss: Callable[[Tensor], Tensor],
    watched: Callable[[], float] | None,
    *,
    may_stay: bool = False,
) -> int:
    """Train, leave the network as it was at its best, and return after which epoch that was.

    Parameters
    ----------
    network : torch module
    how : Training
    n_batches : int
        Of an epoch.
    batches : callable
        The batches of one epoch.
    loss : callable
        Loss of a batch.
    watched : callable or None
        Loss of what is not learned from, in evaluation mode and without gradients. None: training goes on to its end.
    may_stay : bool, default False
        Whether the network as it is before training counts as one of those that are compared.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, total_steps=how.epochs * n_batches + 1)
    best, best_epoch, kept = np.inf, how.epochs, None
    for epoch in range(0 if may_stay else 1, how.epochs + 1):
        if epoch:
            network.train()
            for batch in batches():
                optimizer.zero_grad()
                loss(batch).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), how.clip_norm)
                optimizer.step()
                schedule.step()
        if watched is None:
            continue
        network.eval()
        with torch.no_grad():
            now = watched()
        if now < best - how.least_gain:
            best, best_epoch = now, epoch
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= how.patience:
            break
    if kept is not None:
        network.load_state_dict(kept)
    return best_epoch
