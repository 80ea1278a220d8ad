"""The identity of a training run: data, model and settings, which a checkpoint must match to be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from spicestat.models.base import BaseRNN
from spicestat.models.precoded import DeclaredModel
from spicestat.training.config import TrainingConfig
from spicestat.trials.sequences import SequenceDataset

__all__ = ["digest", "run_identity"]


def run_identity(
    model: BaseRNN, data: SequenceDataset, config: TrainingConfig, validation: SequenceDataset | None
) -> dict[str, Any]:
    """Describe all that the outcome of training depends on, except for the number of epochs and the code.

    Parameters
    ----------
    model : BaseRNN
        Its structure counts, and not its weights, which training replaces.
    data, validation : SequenceDataset
        What it is trained and evaluated on; no validation data is None.
    config : TrainingConfig
        Settings; all but ``epochs`` count, as a finished run may go on.

    Returns
    -------
    dict of str to str, number, bool or None
        For JSON, and for a person to compare.

    Examples
    --------
    >>> import torch
    >>> from spicestat.models.precoded import RescorlaWagnerRNN
    >>> xs, ys = torch.ones(1, 2, 7), torch.ones(1, 2, 2)
    >>> data = SequenceDataset.from_arrays(xs, ys, n_participants=2)
    >>> identity = run_identity(RescorlaWagnerRNN(2, n_participants=2), data, TrainingConfig(seed=3), None)
    >>> identity["data"][:23], identity["validation data"], identity["seed"]
    ('1 sequences of 2 steps ', None, 3)
    """
    settings = {name: _plain(value) for name, value in asdict(config).items() if name != "epochs"}
    return {
        "model": _model(model),
        "data": _data(data),
        "validation data": None if validation is None else _data(validation),
        "device": data.mask.device.type,
        **settings,
    }


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return a SHA-256 of tensors, with their names, types and shapes, and of a text.

    Examples
    --------
    >>> import torch
    >>> digest({"x": torch.zeros(2)}) == digest({"x": torch.zeros(1, 2)})
    False
    """
    found = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        found.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().numpy().tobytes())
    return found.hexdigest()


def _model(model: BaseRNN) -> str:
    weights = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    # the text of a module names its parts and their dropout
    text = f"{model} {weights} {dict(model.start_values)}"
    if isinstance(model, DeclaredModel):
        text += str(model.declaration)
    return f"{type(model).__name__} ({digest({}, text)[:12]})"


def _data(data: SequenceDataset) -> str:
    tensors = {"features": data.xs, "targets": data.targets, "mask": data.mask, "times": data.times}
    return f"{data.n_sequences} sequences of {data.n_steps} steps ({digest(tensors)[:12]})"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
