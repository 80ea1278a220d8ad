"""Training and test splits by time, session, block or participant, once or in k folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spicestat._checks import real_number, seed_number, whole_number
from spicestat.errors import ConfigError, DataError
from spicestat.trials.sequences import SequenceDataset

__all__ = [
    "Split",
    "check_everybody_trains",
    "checked_share",
    "first_targets",
    "k_folds",
    "position_within",
    "split_by_block",
    "split_by_participant",
    "split_by_session",
    "split_by_time",
    "until_last",
]

By = Literal["time", "session", "block", "participant"]


class Split(NamedTuple):
    """Training and test sequences with the codes of the whole dataset."""

    train: SequenceDataset
    test: SequenceDataset


def split_by_time(data: SequenceDataset, ratio: float = 0.8) -> Split:
    """Train on the first part of every sequence and test on the rest.

    The training part ends with its last target. The test part keeps the whole sequence and only
    counts the later targets, so that a model arrives there with its learning history.

    Parameters
    ----------
    data : SequenceDataset
        All sequences.
    ratio : float in (0, 1], default 0.8
        Share of each sequence's targets that train, rounded, at least one; with 1 none is left to test.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat.trials import read_trials
    >>> data = SequenceDataset.from_trials(read_trials(simulate_cohort(2, 102, n_blocks=2).trials, block="block"))
    >>> train, test = split_by_time(data, 0.8)
    >>> int(train.mask.sum()), int(test.mask.sum()), train.n_steps, test.n_steps
    (160, 40, 40, 50)
    """
    first = first_targets(data.mask, checked_share(ratio))
    return Split(_cut(data, first), data.with_mask(~first))


def split_by_session(
    data: SequenceDataset,
    test: Sequence[int] | None = None,
    *,
    every: int | None = None,
    ratio: float | None = None,
    seed: int = 0,
) -> Split:
    """Train on some sequences of every participant and test on the others.

    Pass exactly one of ``test``, ``every`` and ``ratio``. Every participant keeps training data: one
    with a single sequence is not tested, and a list that takes all of somebody's is refused. Windows
    cut from one session share trials, so split before cutting (or use `split_by_block`).

    Parameters
    ----------
    data : SequenceDataset
        All sequences.
    test : sequence of int, optional
        Positions of the test sequences.
    every : int, optional
        Test every n-th sequence of each participant; 2 or more.
    ratio : float in (0, 1), optional
        Share of each participant's sequences that train, rounded; drawn at random.
    seed : int, default 0
        Seed of the random draw.

    Raises
    ------
    ConfigError
        Not exactly one way to choose, a setting is out of range, or nothing is left to test.
    DataError
        A participant would have no training data.
    """
    if [test, every, ratio].count(None) != 2:
        raise ConfigError("choose test sessions in one way", got=(test, every, ratio), do="pass test, every or ratio")
    if test is not None:
        return _split_rows(data, _at(test, data.n_sequences, "sequence"))
    period = None if every is None else whole_number("every", every, 2)
    share = 1.0 if ratio is None else real_number("ratio", ratio, 0.0, 1.0, low_included=False)
    rng = np.random.default_rng(seed_number(seed))
    tested = np.zeros(data.n_sequences, dtype=bool)
    for own in _rows_of_participants(data):
        if period is not None:
            tested[own[period - 1 :: period]] = True
        else:
            n_train = max(1, round(share * len(own)))
            tested[rng.permutation(own)[n_train:]] = True
    if not tested.any():
        raise ConfigError("no session is left to test", got=every or ratio, do="lower every or ratio")
    return _split_rows(data, tested)


def split_by_block(data: SequenceDataset, test: Sequence[int]) -> Split:
    """Train on some blocks of every participant and test on the others.

    Parameters
    ----------
    data : SequenceDataset
        All sequences; all windows of a block stay together.
    test : sequence of int
        The test blocks, by their position (from 0) among the blocks of the same participant and
        experiment.

    Raises
    ------
    ConfigError
        Nobody has such a block.
    DataError
        A participant would have no training data.
    """
    group = _codes(data.participant) * data.n_experiments + _codes(data.experiment)
    position = position_within(group, _codes(data.block))
    wanted = _at(test, int(position.max()) + 1, "block")
    return _split_rows(data, wanted[position])


def split_by_participant(
    data: SequenceDataset, test: Sequence[int] | None = None, *, ratio: float | None = None, seed: int = 0
) -> Split:
    """Train on some participants and test on the others.

    Codes stay as they are; a model with participant embeddings has learnt nothing about those tested.

    Parameters
    ----------
    data : SequenceDataset
        All sequences.
    test : sequence of int, optional
        Codes of the test participants.
    ratio : float in (0, 1), optional
        Or: share of participants that train, rounded, drawn at random; at least one trains.
    seed : int, default 0
        Seed of the random draw.

    Raises
    ------
    ConfigError
        Not exactly one way to choose, an unknown participant, or nobody left to train or test.
    """
    if (test is None) == (ratio is None):
        raise ConfigError("choose test participants in one way", got=(test, ratio), do="pass test or ratio")
    present = np.unique(_codes(data.participant))
    if test is None:
        share = real_number("ratio", ratio, 0.0, 1.0, low_included=False)
        rng = np.random.default_rng(seed_number(seed))
        test = rng.permutation(present)[max(1, round(share * len(present))) :].tolist()
    wanted = _at(test, data.n_participants, "participant")
    if wanted[present].all() or not wanted[present].any():
        raise ConfigError("both parts need participants", got=f"test {test}", allowed=f"some of {present.tolist()}")
    return _split_rows(data, wanted[_codes(data.participant)], keep_everybody=False)


def k_folds(data: SequenceDataset, n_folds: int = 5, by: By = "session", seed: int = 0) -> tuple[Split, ...]:
    """Split into k folds, so that each target is tested at most once.

    Parameters
    ----------
    data : SequenceDataset
        All sequences.
    n_folds : int, default 5
        Number of folds, 2 or more.
    by : {"session", "block", "participant", "time"}, default "session"
        ``"session"``: each participant's sequences are dealt out at random. ``"block"``: each
        participant's blocks in turn, windows of a block together. Either way every participant keeps
        training data in every fold, so one with a single sequence (or block) is never tested.
        ``"participant"``: participants are dealt out at random. ``"time"``: every sequence in
        consecutive parts; both sides keep the whole sequence and count different targets.
    seed : int, default 0
        Seed for assigning sequences to folds.

    Raises
    ------
    ConfigError
        A setting is unknown, or a fold would have nothing to test.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat.trials import read_trials
    >>> data = SequenceDataset.from_trials(read_trials(simulate_cohort(2, 40, n_blocks=4).trials, block="block"))
    >>> [(fold.train.n_sequences, fold.test.n_sequences) for fold in k_folds(data, 2, by="block")]
    [(4, 4), (4, 4)]
    """
    n_folds = whole_number("n_folds", n_folds, 2)
    rng = np.random.default_rng(seed_number(seed))
    if by == "time":
        part = _time_parts(data.mask, n_folds)
        folds = [Split(data.with_mask(part != fold), data.with_mask(part == fold)) for fold in range(n_folds)]
    elif by in ("session", "block", "participant"):
        fold_of_row = _dealt_rows(data, n_folds, by, rng)
        folds = [_split_rows(data, fold_of_row == fold, by != "participant") for fold in range(n_folds)]
    else:
        raise ConfigError("by is unknown", got=repr(by), allowed="'session', 'block', 'participant' or 'time'")
    if not all(bool(fold.test.mask.any()) and bool(fold.train.mask.any()) for fold in folds):
        raise ConfigError(f"there are too few data for {n_folds} folds by {by}", do="take fewer folds")
    return tuple(folds)


def checked_share(ratio: object) -> float:
    """Return a share in (0, 1]; anything else is a ConfigError."""
    if ratio == 1 and not isinstance(ratio, bool):
        return 1.0
    return real_number("ratio", ratio, 0.0, 1.0, low_included=False)


def first_targets(mask: Tensor, ratio: float) -> Tensor:
    """Mark the first share of the targets in each row of (..., T), at least one."""
    n_train = (mask.sum(dim=-1, keepdim=True) * ratio).round().clamp(min=1)
    return mask & (mask.cumsum(dim=-1) <= n_train)


def until_last(targets: Tensor) -> Tensor:
    """Mark all steps up to the last target of each row of (..., T)."""
    return targets.flip(-1).cumsum(dim=-1).flip(-1) > 0


def _cut(data: SequenceDataset, targets: Tensor) -> SequenceDataset:
    """Keep only these targets and the steps up to the last of them."""
    valid = data.valid & until_last(targets)
    kept = replace(
        data,
        valid=valid,
        mask=data.mask & targets,
        actions=torch.where(valid[..., None], data.actions, 0.0),
        rewards=torch.where(valid[..., None], data.rewards, torch.nan),
        inputs=torch.where(valid[..., None], data.inputs, torch.nan),
    )
    return kept.select(range(data.n_sequences))


def _time_parts(mask: Tensor, n_parts: int) -> Tensor:
    """Return the number of the consecutive part to which each target of (S, T) belongs."""
    rank, count = mask.cumsum(dim=1) - 1, mask.sum(dim=1, keepdim=True)
    return rank * n_parts // count.clamp(min=1)


def _dealt_rows(data: SequenceDataset, n_folds: int, by: str, rng: np.random.Generator) -> np.ndarray:
    """Return the fold in which each sequence is tested, -1 for never."""
    fold_of_row, dealt = np.full(data.n_sequences, -1), 0
    if by == "participant":
        rows = _rows_of_participants(data)
        for position, row in enumerate(rng.permutation(len(rows))):
            fold_of_row[rows[row]] = position % n_folds
        return fold_of_row
    block = _codes(data.experiment) * (int(data.block.max()) + 1) + _codes(data.block)
    for own in _rows_of_participants(data):
        unit = np.unique(block[own], return_inverse=True)[1] if by == "block" else rng.permutation(len(own))
        n_units = int(unit.max()) + 1
        if n_units > 1:
            # going on where the participant before ended keeps the folds equally large
            fold_of_row[own] = (unit + dealt) % n_folds
            dealt += n_units
    return fold_of_row


def _split_rows(data: SequenceDataset, tested: np.ndarray, keep_everybody: bool = True) -> Split:
    if keep_everybody:
        check_everybody_trains(_codes(data.participant), tested)
    return Split(data.select(np.flatnonzero(~tested).tolist()), data.select(np.flatnonzero(tested).tolist()))


def check_everybody_trains(participant: np.ndarray, tested: np.ndarray) -> None:
    """Refuse test rows (S,) that take all of somebody's; ``participant`` (S,) are codes."""
    left_out = sorted(set(participant[tested].tolist()) - set(participant[~tested].tolist()))
    if left_out:
        raise DataError(
            "participants would have no training data",
            got=f"codes {left_out[:8]}",
            do="test fewer of their sessions, or split by participant",
        )


def _rows_of_participants(data: SequenceDataset) -> list[np.ndarray]:
    participant = _codes(data.participant)
    return [np.flatnonzero(participant == code) for code in np.unique(participant)]


def position_within(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the rank of each value among the different values of its group, from 0."""
    position = np.zeros(len(group), dtype=np.int64)
    for code in np.unique(group):
        own = group == code
        position[own] = np.unique(value[own], return_inverse=True)[1]
    return position


def _at(positions: Sequence[int], size: int, what: str) -> np.ndarray:
    """Mark the given positions in a bool ndarray of shape (size,)."""
    numbers = [whole_number(f"a test {what}", position, 0) for position in positions]
    unknown = [number for number in numbers if number >= size]
    if unknown:
        raise ConfigError(f"there is no such {what}", got=unknown, allowed=f"0 to {size - 1}")
    flags = np.zeros(size, dtype=bool)
    flags[numbers] = True
    return flags


def _codes(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.cpu())
