"""The masked likelihood of choices, the default of all models."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choice_log_likelihood"]


def choice_log_likelihood(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Sum of log softmax probabilities of the targets, per sequence; padding and missing choices never count.

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
