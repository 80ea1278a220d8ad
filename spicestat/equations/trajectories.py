"""Trajectories: each module's inputs and outputs on the data, as rows for sparse regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spicestat._runtime.threads import one_thread
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN, Call
from spicestat.models.config import SpiceConfig
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Trajectory", "record_member_trajectories", "record_trajectories"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One module's updates.

    Attributes
    ----------
    variables : ndarray of shape (N, 1 + n_signals)
        State before the update and control signals.
    target : ndarray of shape (N,)
        State after the update.
    participant : int ndarray of shape (N,)
        Whose update it is.
    """

    variables: np.ndarray
    target: np.ndarray
    participant: np.ndarray


def record_trajectories(model: BaseRNN, data: SequenceDataset, config: SpiceConfig) -> dict[str, Trajectory]:
    """Run the networks on the data and collect every module's updates.

    Rows are those cells (sequence, step, action) that are not padding, that the model calls the
    module for, and that the module's filters keep. Ensemble members are averaged cell by cell.

    Parameters
    ----------
    model : BaseRNN
        A trained model with M members.
    data : SequenceDataset
        Its data.
    config : SpiceConfig
        Modules, signals and filters.

    Raises
    ------
    ConfigError
        The model does not call a module, or does not record a signal that a filter needs, or
        passes another number of inputs than ``library_setup`` names.
    """
    signals, calls = _recorded(model, data)
    return {module: _trajectory(module, model.n_members, data, config, signals, calls) for module in config.rnn_modules}


def record_member_trajectories(
    model: BaseRNN, data: SequenceDataset, config: SpiceConfig
) -> list[dict[str, Trajectory]]:
    """Like `record_trajectories`, for each of the M members alone."""
    signals, calls = _recorded(model, data)
    found = []
    for member in range(model.n_members):
        rows = slice(member * data.n_sequences, (member + 1) * data.n_sequences)
        own_signals = {name: [signal[rows] for signal in steps] for name, steps in signals.items()}
        own_calls = {name: [_part(call, rows) for call in steps] for name, steps in calls.items()}
        found.append(
            {module: _trajectory(module, 1, data, config, own_signals, own_calls) for module in config.rnn_modules}
        )
    return found


def _part(call: Call, rows: slice) -> Call:
    return Call(call.value[rows], call.inputs[rows], call.next_value[rows], call.action[rows])


def _recorded(model: BaseRNN, data: SequenceDataset) -> tuple[dict[str, list[Tensor]], dict[str, list[Call]]]:
    """Signals and calls of all members on the data."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), one_thread(), model.record() as (signals, calls):
            model(_repeated(data.xs, model.n_members), batch_first=True)
    finally:
        model.train(was_training)
    return signals, calls


def _repeated(tensor: Tensor, n_members: int) -> Tensor:
    return tensor.repeat(n_members, *([1] * (tensor.ndim - 1)))


def _trajectory(
    module: str,
    n_members: int,
    data: SequenceDataset,
    config: SpiceConfig,
    signals: Mapping[str, list[Tensor]],
    calls: Mapping[str, list[Call]],
) -> Trajectory:
    if module not in calls:
        raise ConfigError(f"forward() never calls the RNN module '{module}'", allowed=sorted(calls))
    own = calls[module]
    if len(own) != data.n_steps:
        raise ConfigError(f"forward() must call the module '{module}' once per time step", got=len(own))
    value, inputs, target, cells = (
        _members_mean(torch.stack([getattr(call, name) for call in own], dim=1), n_members)
        for name in ("value", "inputs", "next_value", "action")
    )
    if inputs.shape[-1] != len(config.signals(module)):
        raise ConfigError(
            f"library_setup of '{module}' must name the inputs of its call_module()",
            got=list(config.signals(module)),
            allowed=f"{inputs.shape[-1]} names, in the order of the call",
        )
    keep = (cells > 0) & data.valid.unsqueeze(-1)
    for signal, wanted, equal in config.filters(module):
        if signal not in signals:
            raise ConfigError(f"forward() never records the signal '{signal}'", do="call record_signal() with it")
        recorded = _members_mean(torch.stack(signals[signal], dim=1), n_members)
        keep = keep & ((recorded == wanted) == equal)
    who = data.participant.reshape(-1, 1, 1).expand_as(keep)
    variables = torch.cat([value.unsqueeze(-1), inputs], dim=-1)
    return Trajectory(
        variables[keep].double().cpu().numpy(), target[keep].double().cpu().numpy(), who[keep].cpu().numpy()
    )


def _members_mean(tensor: Tensor, n_members: int) -> Tensor:
    grouped = tensor.reshape(n_members, tensor.shape[0] // n_members, *tensor.shape[1:])
    return grouped.mean(dim=0)
