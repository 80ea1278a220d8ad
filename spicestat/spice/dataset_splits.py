"""SPICE's splits of a DatasetRNN: along time, along sessions, and stacked by participant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spicestat.errors import ConfigError
from spicestat.spice.dataset import DatasetRNN
from spicestat.trials.features import FeatureLayout
from spicestat.trials.splits import check_everybody_trains, checked_share, first_targets, position_within, until_last

__all__ = ["reshape_data_along_participantdim", "split_data_along_sessiondim", "split_data_along_timedim"]


def split_data_along_timedim(
    dataset: DatasetRNN, split_ratio: float, device: torch.device | str | None = None
) -> tuple[DatasetRNN, DatasetRNN]:
    """Split the targets of every session in time; see `split_by_time`.

    Parameters
    ----------
    dataset : DatasetRNN
        Sessions of any length.
    split_ratio : float in (0, 1]
        Share of each session's targets that train.
    device : torch device or str, optional
        Where the parts are put; default: where the dataset is.

    Returns
    -------
    (DatasetRNN, DatasetRNN)
        Training part: ends with its last target; shorter sessions are padded with NaN (ids stay). Test
        part: the whole sessions, with targets only behind the training part, so that models reach it
        with their learning history.
    """
    mask = (dataset.ys > 0).any(dim=-1)
    first = first_targets(mask, checked_share(split_ratio))
    steps = until_last(first)
    length = max(int(steps.sum(dim=-1).max()), 1)
    x, y = dataset.xs.clone(), dataset.ys
    signals = FeatureLayout(y.shape[-1], x.shape[-1]).signals
    x[..., signals] = torch.where(steps[..., None], x[..., signals], torch.nan)
    train = x[..., :length, :], torch.where(first[..., None], y, torch.nan)[..., :length, :]
    test = dataset.xs, torch.where((mask & ~first)[..., None], y, torch.nan)
    return _like(dataset, *train, device), _like(dataset, *test, device)


def split_data_along_sessiondim(
    dataset: DatasetRNN, list_test_sessions: Sequence[int] | None = None, device: torch.device | str | None = None
) -> tuple[DatasetRNN, DatasetRNN]:
    """Split whole sessions off.

    Parameters
    ----------
    dataset : DatasetRNN
        Sessions; they may differ between participants.
    list_test_sessions : sequence of int, optional
        Test sessions of every participant: block codes, where ``xs`` has a block column, else the
        position (from 0) among the sessions of the same participant. Default: no split, both parts are
        the whole dataset.
    device : torch device or str, optional
        Where the parts are put; default: where the dataset is.

    Returns
    -------
    (DatasetRNN, DatasetRNN)
        Training and test sessions.

    Raises
    ------
    ConfigError
        Nobody has such a session.
    DataError
        A participant would have no training data.
    """
    if list_test_sessions is None:
        whole = dataset if device is None else _like(dataset, dataset.xs, dataset.ys, device)
        return whole, whole
    participant = dataset.xs[:, 0, -1].cpu().numpy()
    if FeatureLayout(dataset.ys.shape[-1], dataset.xs.shape[-1]).has_blocks:
        session = dataset.xs[:, 0, -3].cpu().numpy()
    else:
        session = position_within(participant, np.arange(len(dataset)))
    unknown = [number for number in list_test_sessions if number not in session]
    if unknown:
        raise ConfigError("there are no such sessions", got=unknown, allowed=np.unique(session).tolist())
    tested = np.isin(session, list(list_test_sessions))
    check_everybody_trains(participant, tested)
    parts = [torch.from_numpy(rows).to(dataset.xs.device) for rows in (~tested, tested)]
    train, test = (_like(dataset, dataset.xs[rows], dataset.ys[rows], device) for rows in parts)
    return train, test


def reshape_data_along_participantdim(dataset: DatasetRNN, device: torch.device | str | None = None) -> DatasetRNN:
    """Stack sessions by participant: from (sessions, T, F) to (participants, sessions, T, F).

    Parameters
    ----------
    dataset : DatasetRNN
        Sessions of one or more participants.
    device : torch device or str, optional
        Where the result is put; default: where the dataset is.

    Returns
    -------
    DatasetRNN
        Participants in the order of their codes. Participants with fewer sessions than others get empty ones:
        NaN, with the ids of the participant's first session.
    """
    x, y, participant = dataset.xs, dataset.ys, dataset.xs[:, 0, -1]
    ids = FeatureLayout(y.shape[-1], x.shape[-1]).ids
    codes, counts = torch.unique(participant, return_counts=True)
    xs = x.new_full((len(codes), int(counts.max()), *x.shape[1:]), torch.nan)
    ys = y.new_full((len(codes), int(counts.max()), *y.shape[1:]), torch.nan)
    for row, code in enumerate(codes):
        own = torch.nonzero(participant == code).squeeze(1)
        xs[row, ..., ids] = x[own[0], 0, ids]
        xs[row, : len(own)], ys[row, : len(own)] = x[own], y[own]
    return _like(dataset, xs, ys, device)


def _like(dataset: DatasetRNN, xs: Tensor, ys: Tensor, device: torch.device | str | None) -> DatasetRNN:
    """Put tensors into a dataset with the labels of another one."""
    made = DatasetRNN(xs, ys, device=device)
    made.participants, made.experiments, made.actions = dataset.participants, dataset.experiments, dataset.actions
    made.record = dataset.record
    return made
