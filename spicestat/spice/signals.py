"""Finds out which control signals each module receives, by running the model once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spicestat.equations.estimate.forward import copied
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN, Call

__all__ = ["module_signals"]

_N_SEQUENCES, _N_STEPS = 4, 12


def module_signals(
    model: BaseRNN, rnn_modules: Sequence[str], control_signals: Sequence[str], n_inputs: int = 0
) -> dict[str, list[str]]:
    """Name the inputs of modules in the order of the model's ``call_module``: a ``library_setup``.

    The model runs on a few made-up trials, on which all signals differ; an input is the recorded signal
    that it equals wherever the module applies.

    Parameters
    ----------
    model : BaseRNN
        Trained or not; it is left as it is.
    rnn_modules : sequence of str
        Modules.
    control_signals : sequence of str
        Names under which the model may record signals. Of several names for one signal the first counts.
    n_inputs : int, default 0
        Additional inputs that the model needs.

    Raises
    ------
    ConfigError
        The model does not call a module, or an input is none of the signals.

    Examples
    --------
    >>> from spicestat.models.precoded import LearningRateRNN
    >>> model = LearningRateRNN(n_actions=2)
    >>> module_signals(model, list(model.submodules_rnn), ["c_action", "c_reward", "c_value_reward"])
    {'x_learning_rate_reward': ['c_reward', 'c_value_reward'], 'x_value_reward_not_chosen': []}
    """
    watched = copied(model)
    with torch.no_grad(), watched.record() as (signals, calls):
        watched(_made_up_trials(model, n_inputs), batch_first=True)
    # a recording ends with the block, but its lists stay
    stacked = {name: torch.stack(signals[name]) for name in control_signals if name in signals}
    return {module: _names(module, calls, stacked) for module in rnn_modules}


def _names(module: str, calls: Mapping[str, list[Call]], signals: Mapping[str, Tensor]) -> list[str]:
    if module not in calls:
        raise ConfigError(f"forward() never calls the RNN module '{module}'", allowed=sorted(calls))
    inputs = torch.stack([call.inputs for call in calls[module]])
    cells = torch.stack([call.action for call in calls[module]]) > 0
    names: list[str] = []
    for position in range(inputs.shape[-1]):
        own = inputs[..., position][cells]
        same = [name for name, signal in signals.items() if torch.equal(signal[cells], own)]
        if not same:
            raise ConfigError(
                f"input {position + 1} of the module '{module}' is none of the control signals",
                allowed=list(signals),
                do="record it with record_signal() and name it, or pass library_setup",
            )
        names.append(next((name for name in same if name not in names), same[0]))
    return names


def _made_up_trials(model: BaseRNN, n_inputs: int) -> Tensor:
    """Features (M * S, T, F) of participant 0, in which no two signals are alike."""
    rng = np.random.default_rng(0)
    shape = (_N_SEQUENCES, _N_STEPS)
    actions = np.eye(model.n_actions)[rng.integers(model.n_actions, size=shape)]
    numbers = rng.uniform(0.1, 0.9, size=(*shape, model.n_actions + n_inputs))
    features = np.concatenate([actions, numbers, np.zeros((*shape, 3))], axis=-1)
    some = next(model.parameters(), torch.zeros(()))
    return torch.as_tensor(features).to(some.device, some.dtype).repeat(model.n_members, 1, 1)
