"""Predictions of a trained network and their likelihood; ensemble members are averaged as probabilities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spicestat._runtime.threads import one_thread
from spicestat.models.base import BaseRNN
from spicestat.training.loss import check_times, mean_nll
from spicestat.trials.sequences import SequenceDataset

__all__ = ["repeat_members", "rnn_logits", "rnn_nll"]


def rnn_logits(model: BaseRNN, data: SequenceDataset) -> Tensor:
    """Logits (S, T, A) of the networks, averaged as probabilities over ensemble members (then logged)."""
    logits, _ = _run_networks(model, data)
    if model.n_members == 1:
        only: Tensor = logits
        return only
    log_probability = torch.log_softmax(logits, dim=-1).reshape(model.n_members, *data.mask.shape, -1)
    return torch.logsumexp(log_probability, dim=0)


def rnn_nll(model: BaseRNN, data: SequenceDataset) -> float:
    """Mean negative log-likelihood per choice, in nats, of the networks; ensemble members are averaged by likelihood.

    For a model with response times it is that of choice and time together, which are a density: it
    may be negative.
    """
    if not model.needs_times:
        return mean_nll(rnn_logits(model, data), data)
    check_times(model, data)
    logits, state = _run_networks(model, data)
    targets, times, mask = (
        repeat_members(part, model.n_members).reshape(-1, 1) for part in (data.targets, data.times, data.mask)
    )
    # every step a sequence of its own, so that members are averaged trial by trial
    each_step = {name: value.repeat_interleave(data.n_steps, dim=0) for name, value in state.items()}
    trials = model.log_likelihood(logits.reshape(-1, 1, logits.shape[-1]), each_step, targets, times, mask)
    per_member = trials.reshape(model.n_members, *data.mask.shape)
    averaged = torch.logsumexp(per_member, dim=0) - math.log(model.n_members)
    return float(-averaged.sum() / data.mask.sum())


def _run_networks(model: BaseRNN, data: SequenceDataset) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (M * S, T, A) and last states of all members, without gradients and dropout."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), one_thread():
            logits, state = model(repeat_members(data.xs, model.n_members), batch_first=True)
    finally:
        model.train(was_training)
    return logits, state


def repeat_members(tensor: Tensor, n_members: int) -> Tensor:
    """Repeat rows for each ensemble member, member by member."""
    return tensor if n_members == 1 else tensor.repeat(n_members, *([1] * (tensor.ndim - 1)))
