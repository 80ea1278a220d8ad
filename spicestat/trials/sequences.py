"""SequenceDataset: trials as padded tensors, one sequence per block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spicestat.errors import DataError, ShapeError
from spicestat.trials.features import FeatureLayout
from spicestat.trials.reading import TrialTable
from spicestat.trials.roles import refuse_shown

__all__ = ["SequenceDataset"]

_PER_STEP = ("actions", "rewards", "inputs", "targets", "mask", "times", "valid")


@dataclass(frozen=True, eq=False)
class SequenceDataset:
    """Choices and rewards of S sequences, padded to T steps.

    A step holds what happened on one trial; its target is the choice on the next one.

    Attributes
    ----------
    actions : Tensor of shape (S, T, A)
        One-hot choices; all zeros where the choice is missing.
    rewards : Tensor of shape (S, T, A)
        Reward per action, NaN where it was not observed.
    inputs : Tensor of shape (S, T, I)
        Additional inputs.
    targets : Tensor of shape (S, T)
        Action index of the next choice; 0 where `mask` is False.
    mask : bool Tensor of shape (S, T)
        Whether the target counts: False for padding and missing choices.
    times : Tensor of shape (S, T)
        Response time of the target choice in seconds, NaN where there is none.
    valid : bool Tensor of shape (S, T)
        Whether the step is a trial at all: False for padding.
    block, experiment, participant : int Tensor of shape (S,)
        Codes from 0.
    n_participants, n_experiments : int
        Number of codes, also those without a sequence here.

    Examples
    --------
    >>> xs = torch.tensor([[[1., 0, 1, 0, 0], [0, 1, 0, 0, 0]]])  # 1 sequence, 2 steps, 2 actions
    >>> ys = torch.tensor([[[0., 1], [-1, -1]]])
    >>> data = SequenceDataset.from_arrays(xs, ys)
    >>> data.n_sequences, data.n_steps, int(data.mask.sum())
    (1, 2, 1)
    """

    actions: Tensor
    rewards: Tensor
    inputs: Tensor
    targets: Tensor
    mask: Tensor
    times: Tensor
    valid: Tensor
    block: Tensor
    experiment: Tensor
    participant: Tensor
    n_participants: int
    n_experiments: int

    def __repr__(self) -> str:
        return (
            f"<SequenceDataset: {self.n_sequences} sequences of up to {self.n_steps} steps, {self.n_actions} actions, "
            f"{self.n_participants} participants>"
        )

    @property
    def n_sequences(self) -> int:
        """Number of sequences S."""
        return int(self.actions.shape[0])

    @property
    def n_steps(self) -> int:
        """Number of steps T, padding included."""
        return int(self.actions.shape[1])

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return int(self.actions.shape[2])

    @property
    def xs(self) -> Tensor:
        """Features of shape (S, T, 2A + I + 3): actions, rewards, inputs, block, experiment, participant."""
        ids = torch.stack([self.block, self.experiment, self.participant], dim=-1).to(self.actions.dtype)
        ids = ids[:, None, :].expand(-1, self.n_steps, -1)
        features = torch.cat([self.actions, self.rewards, self.inputs], dim=-1)
        features = torch.where(self.valid[..., None], features, torch.nan)
        return torch.cat([features, ids], dim=-1)

    @property
    def ys(self) -> Tensor:
        """Next choices one-hot, shape (S, T, A), NaN where there is no target; see `from_arrays` for response times."""
        one_hot = torch.nn.functional.one_hot(self.targets, self.n_actions).to(self.actions.dtype)
        if self.has_times:
            times = torch.nan_to_num(self.times, nan=torch.inf).unsqueeze(-1)
            one_hot = torch.where(one_hot > 0, times, 0.0)
        return torch.where(self.mask[..., None], one_hot, torch.nan)

    @property
    def has_times(self) -> bool:
        """Whether any target has a response time."""
        return bool(torch.isfinite(self.times[self.mask]).any())

    @property
    def largest_reward(self) -> float:
        """Largest absolute value of an observed reward, 0 where none was observed."""
        return float(torch.nan_to_num(self.rewards[self.valid]).abs().max())

    @property
    def reward_span(self) -> float:
        """Difference between the largest and the smallest reward of a chosen action, `largest_reward` if it is 0."""
        seen = self.rewards[self.valid[..., None] & (self.actions > 0) & torch.isfinite(self.rewards)]
        return (float(seen.max() - seen.min()) if len(seen) else 0.0) or self.largest_reward

    @property
    def trials_per_participant(self) -> Tensor:
        """Number of targets per participant, int Tensor of shape (P,)."""
        counts = torch.zeros(self.n_participants, dtype=torch.int64, device=self.mask.device)
        return counts.index_add(0, self.participant, self.mask.sum(dim=1))

    @property
    def lengths(self) -> Tensor:
        """Steps of each sequence up to its last trial, int Tensor of shape (S,)."""
        steps = torch.arange(1, self.n_steps + 1, device=self.valid.device)
        return torch.where(self.valid, steps, 0).amax(dim=1)

    def select(self, index: Sequence[int] | Tensor) -> SequenceDataset:
        """Return the sequences at ``index``, trimmed to the longest of them; codes stay as they are."""
        rows = torch.as_tensor(index, dtype=torch.int64, device=self.mask.device)
        steps = int(self.lengths[rows].max()) if len(rows) else 0
        per_step: dict[str, Any] = {name: getattr(self, name)[rows, :steps] for name in _PER_STEP}
        codes: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("block", "experiment", "participant")}
        return replace(self, **per_step, **codes)

    def thinned(self, n_trials: int) -> SequenceDataset:
        """Return, for each participant, evenly spread sequences that hold about ``n_trials`` targets (all if fewer)."""
        counts = self.mask.sum(dim=1)
        rows = []
        for code in sorted(set(self.participant.tolist())):
            own = torch.nonzero(self.participant == code).squeeze(1)
            share = min(1.0, n_trials / max(int(counts[own].sum()), 1))
            n_kept = max(1, math.ceil(share * len(own)))
            rows.append(own[torch.linspace(0, len(own) - 1, n_kept).round().long()])
        return self.select(torch.cat(rows).sort().values)

    def with_mask(self, mask: Tensor) -> SequenceDataset:
        """Return the dataset with only those targets counted where ``mask`` (S, T) is also True."""
        return replace(self, mask=self.mask & mask)

    def pooled(self) -> SequenceDataset:
        """Return the dataset with all sequences as those of one participant."""
        return replace(self, participant=torch.zeros_like(self.participant), n_participants=1)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> SequenceDataset:
        """Move to a device; floating-point tensors also take ``dtype``."""
        tensors = {name: value for name, value in self.__dict__.items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {
            name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
            for name, value in tensors.items()
        }
        return replace(self, **moved)

    @classmethod
    def from_trials(cls, trials: TrialTable) -> SequenceDataset:
        """Build one sequence per block; blocks of a single trial hold no target and are left out.

        Raises
        ------
        DataError
            No block has two trials.
        ConfigError
            The trials have stimuli, options or other roles that no network uses.
        """
        refuse_shown(trials)
        frame = trials.frame
        block, step = frame["block"].to_numpy(), frame["trial"].to_numpy()
        length = np.bincount(block, minlength=len(trials.blocks))
        used = np.flatnonzero(length >= 2)
        if not len(used):
            raise DataError("no block has two trials, so no choice can be predicted", do="check the block column")
        row_of_block = np.full(len(length), -1)
        row_of_block[used] = np.arange(len(used))
        keep = row_of_block[block] >= 0
        row, step = row_of_block[block[keep]], step[keep]
        shape = (len(used), int(length.max()))
        choice = np.full(shape, -1)
        choice[row, step] = frame["choice"].to_numpy()[keep]
        reward_columns = [f"reward_{action}" for action in range(trials.n_actions)]
        rewards = _scatter(frame[reward_columns].to_numpy()[keep], row, step, shape)
        inputs = _scatter(frame[list(trials.inputs)].to_numpy(dtype="float64")[keep], row, step, shape)
        times = _scatter(trials.times[keep, None], row, step, shape)[..., 0]
        actions = (choice[:, :-1, None] == np.arange(trials.n_actions)).astype("float32")
        codes = trials.blocks.iloc[used]
        return cls(
            actions=torch.tensor(actions),
            rewards=torch.tensor(rewards[:, :-1]),
            inputs=torch.tensor(inputs[:, :-1]),
            targets=torch.tensor(np.maximum(choice[:, 1:], 0)),
            mask=torch.tensor(choice[:, 1:] >= 0),
            times=torch.tensor(times[:, 1:]),
            valid=torch.tensor(np.arange(1, shape[1]) < length[used, None]),
            block=torch.tensor(used),
            experiment=torch.tensor(codes["experiment"].to_numpy(dtype="int64")),
            participant=torch.tensor(codes["participant"].to_numpy(dtype="int64")),
            n_participants=trials.n_participants,
            n_experiments=len(trials.experiments),
        )

    @classmethod
    def from_arrays(
        cls,
        xs: np.ndarray | Tensor,
        ys: np.ndarray | Tensor,
        n_participants: int | None = None,
        n_experiments: int | None = None,
    ) -> SequenceDataset:
        """Build from SPICE's feature layout.

        Parameters
        ----------
        xs : array of shape (S, T, F)
            Either ``F = 2A + 1`` (actions, rewards, participant) or ``F >= 2A + 3``
            (actions, rewards, additional inputs, block, experiment, participant). A step is
            padding where all actions are NaN or -1.
        ys : array of shape (S, T, A)
            Next choice, one-hot: 1 at the action that was chosen, or instead of 1 the response time in
            seconds (``inf`` where a choice has none). No target where no entry is positive (NaN, -1 or
            0). Where every choice has a 1, there are no response times.
        n_participants, n_experiments : int, optional
            Default: largest code + 1.

        Raises
        ------
        ShapeError
            The shapes do not fit.
        DataError
            A participant code is not an integer from 0, or there is no target at all.
        """
        x, y = _floats(xs), _floats(ys)
        if x.ndim != 3 or y.ndim != 3 or x.shape[:2] != y.shape[:2]:
            raise ShapeError(
                "xs and ys must be 3-D and agree in their first two dimensions", got=(tuple(x.shape), tuple(y.shape))
            )
        layout = FeatureLayout(int(y.shape[2]), int(x.shape[2]))
        actions = x[..., layout.actions]
        valid = ~(torch.isnan(actions) | (actions == -1)).all(dim=-1)
        mask = (y > 0).any(dim=-1)
        if not bool(mask.any()):
            raise DataError("ys holds no choice to predict")
        chosen = y.nan_to_num(nan=-1.0, posinf=torch.inf).amax(dim=-1)
        timed = mask & torch.isfinite(chosen) & (chosen[mask] != 1).any()
        participant = _codes(x[..., -1], valid, "participant")
        zeros = torch.zeros_like(participant)
        block = _codes(x[..., -3], valid, "block") if layout.has_blocks else zeros
        experiment = _codes(x[..., -2], valid, "experiment") if layout.has_blocks else zeros
        return cls(
            actions=torch.where(actions > 0, 1.0, 0.0),
            rewards=x[..., layout.rewards],
            inputs=x[..., layout.inputs],
            targets=torch.where(mask, torch.nan_to_num(y, nan=-1.0).argmax(dim=-1), 0),
            mask=mask,
            times=torch.where(timed, chosen, torch.nan),
            valid=valid,
            block=block,
            experiment=experiment,
            participant=participant,
            n_participants=max(int(participant.max()) + 1, n_participants or 0),
            n_experiments=max(int(experiment.max()) + 1, n_experiments or 0),
        )


def _floats(array: np.ndarray | Tensor) -> Tensor:
    if isinstance(array, Tensor):
        return array.to(torch.float32)
    # a copy, as torch cannot hold read-only arrays
    return torch.from_numpy(np.array(array, dtype="float32"))


def _scatter(values: np.ndarray, row: np.ndarray, step: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    padded = np.full((*shape, values.shape[1]), np.nan, dtype="float32")
    padded[row, step] = values
    return padded


def _codes(column: Tensor, valid: Tensor, what: str) -> Tensor:
    """Read one integer code per sequence from a feature column of shape (S, T)."""
    first = column[:, 0]
    varies = ((column != first[:, None]) & valid).any()
    integer = torch.isfinite(first) & (first == first.round()) & (first >= 0)
    if bool(varies) or not bool(integer.all()):
        raise DataError(
            f"each sequence needs one {what} code, an integer from 0", got=sorted(set(column.flatten().tolist()))[:8]
        )
    return first.to(torch.int64)
