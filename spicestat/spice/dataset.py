"""DatasetRNN: features and next choices of sessions as a torch Dataset, in SPICE's layout."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spicestat._checks import whole_number
from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.trials.features import FeatureLayout

__all__ = ["DatasetRNN", "real_steps"]

ArrayLike = np.ndarray | Tensor


class DatasetRNN(Dataset[tuple[Tensor, Tensor]]):
    """Sessions of choices and rewards, with the next choice of every step.

    The tensors are copies and may be changed in place: ``dataset.xs[..., -1] = 0`` gives all
    sessions to participant 0. `SequenceDataset.from_arrays(dataset.xs, dataset.ys)` reads them.

    Parameters
    ----------
    xs : array of shape (S, T, F)
        Features: either ``F = 2A + 1`` (actions one-hot, rewards per action, participant) or
        ``F >= 2A + 3`` (actions, rewards, additional inputs, block, experiment, participant).
        Rewards that were not shown are NaN; a step is padding where all actions are NaN or -1.
        Shape (T, F) is one session; (P, S, T, F) is a table of sessions, see
        `reshape_data_along_participantdim`.
    ys : array of shape (S, T, A)
        Next choice, one-hot (indexes are refused); no target where no entry is positive.
    normalize_features : int or sequence of int, optional
        Feature columns that are mapped from their own smallest..largest value to 0..1. Missing
        values and padding do not count and stay as they are; every other value does, so a reward
        that was not shown must be NaN and not -1.
    sequence_length : int, optional
        Cut every session into windows of this many steps, from step 0 on in steps of ``stride``, until
        its trials are covered; a session that ends within its last window is padded there. The order
        is window by window, sessions within. A model starts every window afresh. Default (also -1, and any length of T
        or more): whole sessions.
    stride : int, default 1
        Distance between the starts of windows.
    device : torch device or str, optional
        Where the tensors are put; default: where ``xs`` is.

    Attributes
    ----------
    xs, ys : Tensor, float32
        Features and next choices.
    sequence_length, stride : int
        Steps T of ``xs``, and the stride.
    device : torch.device
        Where the tensors are.
    participants, experiments, actions : tuple or None
        Labels by code, where they are known; see `convert_dataset`.
    record : dict or None
        What was counted, left out and rescaled, where it is known; see `read_trials`.

    Raises
    ------
    ShapeError
        The shapes do not fit.
    ConfigError
        A setting is out of range.
    DataError
        A feature to normalise does not vary, or values are not numbers.

    Examples
    --------
    >>> xs = np.zeros((3, 10, 5))
    >>> xs[..., 0] = 1
    >>> dataset = DatasetRNN(xs, xs[..., :2], sequence_length=4, stride=3)
    >>> len(dataset), dataset.xs.shape
    (9, torch.Size([9, 4, 5]))
    """

    participants: tuple[Hashable, ...] | None = None
    experiments: tuple[Hashable, ...] | None = None
    actions: tuple[Hashable, ...] | None = None
    record: dict[str, Any] | None = None

    def __init__(
        self,
        xs: ArrayLike,
        ys: ArrayLike,
        normalize_features: int | Sequence[int] | None = None,
        sequence_length: int | None = None,
        stride: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        x, y = _sessions(xs, "xs"), _sessions(ys, "ys")
        if x.shape[:-1] != y.shape[:-1]:
            raise ShapeError(
                "xs and ys must agree in all dimensions but the last one",
                got=(tuple(x.shape), tuple(y.shape)),
                do="pass ys one-hot, with one column per action",
            )
        for column in _columns(normalize_features, x.shape[-1]):
            x[..., column] = _normalized(x[..., column], real_steps(x, y.shape[-1]), column)
        self.stride = whole_number("stride", stride, 1)
        if sequence_length is not None and sequence_length != -1:
            x, y = _windows(x, y, whole_number("sequence_length", sequence_length, 1), self.stride)
        self.device = _device(device, xs)
        self.xs: Tensor = x.to(self.device)
        self.ys: Tensor = y.to(self.device)
        self.sequence_length = int(self.xs.shape[-2])

    def __len__(self) -> int:
        return int(self.xs.shape[0])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.xs[index], self.ys[index]

    def __repr__(self) -> str:
        return f"<DatasetRNN: xs {tuple(self.xs.shape)}, ys {tuple(self.ys.shape)}>"


def real_steps(xs: Tensor, n_actions: int) -> Tensor:
    """Tell trials from padding: bool Tensor (..., T) of features (..., T, F), False where all actions are NaN or -1."""
    actions = xs[..., :n_actions]
    return ~(torch.isnan(actions) | (actions == -1)).all(dim=-1)


def _sessions(array: ArrayLike, name: str) -> Tensor:
    """Copy to a float32 tensor with at least 3 dimensions."""
    if isinstance(array, Tensor):
        tensor = array.detach().to(torch.float32, copy=True)
    else:
        try:
            tensor = torch.from_numpy(np.array(array, dtype="float32"))
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} must be an array of numbers: {error}") from error
    if tensor.ndim == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.ndim not in (3, 4) or tensor.shape[-2] == 0:
        raise ShapeError(
            f"{name} has the wrong shape", got=tuple(np.shape(array)), allowed="(sessions, steps, columns), steps > 0"
        )
    return tensor


def _columns(features: int | Sequence[int] | None, width: int) -> list[int]:
    if features is None:
        return []
    wanted = [features] if isinstance(features, int | np.integer) else list(features)
    odd = [column for column in wanted if not isinstance(column, int | np.integer) or not -width <= int(column) < width]
    if odd:
        raise ConfigError(
            "normalize_features names columns of xs by number", got=odd, allowed=f"whole numbers from 0 to {width - 1}"
        )
    return [int(column) % width for column in wanted]


def _normalized(values: Tensor, real: Tensor, column: int) -> Tensor:
    counted = real & torch.isfinite(values)
    observed = values[counted]
    if not len(observed) or bool(observed.min() == observed.max()):
        raise DataError(
            f"feature {column} cannot be mapped to 0..1 because it does not vary",
            got=sorted(set(observed.tolist())) or "no value",
            do="leave it out of normalize_features",
        )
    low, high = observed.min(), observed.max()
    return torch.where(counted, (values - low) / (high - low), values)


def _windows(xs: Tensor, ys: Tensor, length: int, stride: int) -> tuple[Tensor, Tensor]:
    """Cut (S, T, F) and (S, T, A) into windows of ``length`` steps, window by window."""
    if xs.ndim != 3:
        raise ShapeError("windows are cut from single sessions", got=tuple(xs.shape), allowed="(sessions, steps, F)")
    n_steps = int(xs.shape[1])
    if length >= n_steps:
        return xs, ys
    starts = range(0, n_steps - length + stride, stride)
    missing = max(starts[-1] + length - n_steps, 0)
    if missing:
        # ids are needed on padding too, so the last step is repeated and emptied
        padding = xs[:, -1:].repeat(1, missing, 1)
        padding[..., FeatureLayout(ys.shape[2], xs.shape[2]).signals] = torch.nan
        xs = torch.cat([xs, padding], dim=1)
        ys = torch.cat([ys, torch.full_like(ys[:, :1], torch.nan).repeat(1, missing, 1)], dim=1)
    real = real_steps(xs, ys.shape[-1])
    n_real = torch.where(real, torch.arange(1, xs.shape[1] + 1, device=xs.device), 0).amax(dim=1)
    cut = []
    for start in starts:
        steps = slice(start, start + length)
        # a session that ended within the window before needs no other one
        goes_on = n_real > (start - stride + length if start else 0)
        cut.append((goes_on & real[:, steps].any(dim=1), steps))
    return torch.cat([xs[rows, steps] for rows, steps in cut]), torch.cat([ys[rows, steps] for rows, steps in cut])


def _device(device: torch.device | str | None, xs: ArrayLike) -> torch.device:
    if device is None:
        return xs.device if isinstance(xs, Tensor) else torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ConfigError("this device cannot be used", got=device, do="pass device='cpu'") from error
    return chosen
