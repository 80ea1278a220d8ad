"""Masked choice log-likelihoods: padding and missing choices never count."""

from __future__ import annotations

import torch
from torch import Tensor

from spicestat.dataset import SequenceDataset

__all__ = ["choice_log_likelihood", "mean_nll"]


def choice_log_likelihood(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Sum of log softmax probabilities of the targets, per sequence.

    Parameters
    ----------
    logits : Tensor of shape (R, T, A)
    targets : int Tensor of shape (R, T)
    mask : bool Tensor of shape (R, T)

    Returns
    -------
    Tensor of shape (R,)

    Examples
    --------
    >>> choice_log_likelihood(torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.long), torch.tensor([[True, False]]))
    tensor([-1.3863])
    """
    chosen = torch.gather(logits, -1, targets.unsqueeze(-1)).squeeze(-1)
    log_probability = chosen - torch.logsumexp(logits, dim=-1)
    return torch.where(mask, log_probability, 0.0).sum(dim=-1)


def mean_nll(logits: Tensor, data: SequenceDataset) -> float:
    """Mean negative log-likelihood per choice, in nats, of logits (S, T, A)."""
    total = choice_log_likelihood(logits, data.targets, data.mask).sum()
    return float(-total / data.mask.sum())
