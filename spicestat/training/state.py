"""TrainingState: everything that interrupted training needs to resume, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TrainingState", "moments_of", "random_states", "set_moments", "set_random_states"]

_TORCH, _CUDA, _RUN = "torch", "cuda", "run"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training run between two epochs.

    The smoothed loss and the learning-rate schedule are missing, as they follow from the history.

    Attributes
    ----------
    train_nll : tuple of float
        Mean training NLL of each epoch so far.
    validation_nll : tuple of (int, float)
        Epoch (from 1) and validation NLL where it was evaluated.
    best_epoch : int
        Epoch of the best validation loss, 0 before the first evaluation.
    tensors : dict of str to Tensor
        Weights, best weights, AdamW's moments and states of random generators, as ``part.name``.

    Examples
    --------
    >>> state = TrainingState.of((0.7,), (), 0, {"model": {"x.weight": torch.ones(2)}, "best": {}})
    >>> list(state.tensors), state.part("model"), state.part("best")
    (['model.x.weight'], {'x.weight': tensor([1., 1.])}, {})
    """

    train_nll: tuple[float, ...]
    validation_nll: tuple[tuple[int, float], ...]
    best_epoch: int
    tensors: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        train_nll: tuple[float, ...],
        validation_nll: tuple[tuple[int, float], ...],
        best_epoch: int,
        parts: Mapping[str, Mapping[str, Tensor]],
    ) -> TrainingState:
        """Copy the tensors of all parts, which training goes on changing."""
        tensors = {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}
        copies = {name: value.detach().clone() for name, value in tensors.items()}
        return cls(train_nll, validation_nll, best_epoch, copies)

    def part(self, part: str) -> dict[str, Tensor]:
        """Return the tensors of a part by their own names."""
        start = f"{part}."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the step counts and moments of AdamW as ``moment.number of the parameter``."""
    stored = optimizer.state_dict()["state"]
    return {f"{moment}.{number}": value for number, moments in stored.items() for moment, value in moments.items()}


def set_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    """Put back what `moments_of` returned."""
    stored: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        moment, number = name.split(".")
        stored.setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict({"state": stored, "param_groups": optimizer.state_dict()["param_groups"]})


def random_states(run: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """Return the states of a run's own generator and of torch's, on the device, too."""
    states = {_RUN: run.get_state(), _TORCH: torch.get_rng_state()}
    return states | ({_CUDA: torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_states(states: Mapping[str, Tensor], run: torch.Generator, device: torch.device) -> None:
    """Put back what `random_states` returned."""
    run.set_state(states[_RUN])
    torch.set_rng_state(states[_TORCH])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[_CUDA], device)
