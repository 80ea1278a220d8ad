"""A small recurrent network that knows nothing of learning: what choices and rewards say about the next choice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from spicestat._runtime.threads import one_thread, seeded
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.training.early_stopping import Training, train_until_worse

__all__ = ["Gru", "train_gru", "watch_last"]

_HIDDEN, _EMBEDDING, _DROPOUT = 16, 8, 0.2
_BATCH = 32
_TRAINING = Training(epochs=60, patience=8, learning_rate=2e-2, decay=1e-2, least_gain=1e-4)
_TYPICAL = 32
"""How many of the people who were fitted stand for one who was not."""


class _Network(nn.Module):
    """Gated recurrent units that are told who chooses: (T, S, F) and codes (S,) to log-probabilities (T, S, A)."""

    def __init__(self, n_features: int, n_actions: int, n_people: int) -> None:
        super().__init__()
        self.people = nn.Embedding(n_people, _EMBEDDING)
        nn.init.normal_(self.people.weight, std=0.1)
        self.units = nn.GRU(n_features + _EMBEDDING, _HIDDEN)
        self.readout = nn.Linear(_HIDDEN, n_actions)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, features: Tensor, who: Tensor) -> Tensor:
        me = self.dropout(self.people(who)).expand(len(features), -1, -1)
        hidden, _ = self.units(torch.cat([features, me], dim=-1))
        return torch.log_softmax(self.readout(self.dropout(hidden)), dim=-1)


@dataclass(frozen=True, eq=False)
class Gru:
    """A trained network.

    Attributes
    ----------
    network : torch module
    n_people : int
    reward_size : float
        By what rewards are divided.
    n_free : int
        Number of its weights.
    n_epochs : int
        Passes over the data until it predicted the choices best by which training was stopped.
    """

    network: nn.Module
    n_people: int
    reward_size: float
    n_free: int
    n_epochs: int

    def predict(self, data: Sessions, known: Ints) -> Floats:
        """Probabilities of A actions before every choice, (T, S, A); the first of a session is not predicted (NaN).

        Parameters
        ----------
        data : Sessions
            With rewards divided by ``reward_size``.
        known : int ndarray of shape (S,)
            Code of each session's person among those who were fitted; below 0 for one who was not, who is predicted
            by the average over 32 people who were.
        """
        features, targets = _features(data), _targets(data)
        out = np.full((*data.choice.shape, data.n_actions), np.nan)
        with torch.no_grad(), one_thread():
            for group, stand_ins in ((known >= 0, None), (known < 0, self._stand_ins())):
                if group.any():
                    rows = torch.from_numpy(np.flatnonzero(group))
                    people = [torch.from_numpy(known)[rows]] if stand_ins is None else stand_ins
                    seen = features[:, rows]
                    shares = torch.stack([self.network(seen, p.expand(len(rows))).exp() for p in people]).mean(dim=0)
                    out[1:, group] = shares.double().numpy()
        out[1:][targets.numpy() < 0] = np.nan
        return np.asarray(out / out.sum(axis=2, keepdims=True))

    def _stand_ins(self) -> list[Tensor]:
        """Codes of some people, evenly spread over all."""
        return list(torch.from_numpy(np.unique(np.linspace(0, self.n_people - 1, _TYPICAL).round().astype(np.int64))))


def train_gru(data: Sessions, watched: np.ndarray, seed: int = 0) -> Gru:
    """Train a network on some choices until it no longer predicts others better.

    Parameters
    ----------
    data : Sessions
        T choices of S sessions.
    watched : bool ndarray of shape (T, S)
        Choices that are not learned from, but tell when to stop. With none, training goes on to its end.
    seed : int, default 0
        Of first weights, dropout and batches. The same seed, data and machine give the same numbers.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> rng = np.random.default_rng(0)
    >>> choice = rng.integers(0, 2, (12, 20))
    >>> data = pack_sessions(choice, choice, np.arange(12) // 2, n_actions=2)
    >>> gru = train_gru(data, np.broadcast_to(np.arange(12) % 2 == 1, (20, 12)))
    >>> gru.predict(data, data.person).shape
    (20, 12, 2)
    """
    n_people = int(data.person.max()) + 1
    parts = _Parts.of(data, watched)
    with seeded(seed), one_thread():
        network = _Network(2 * data.n_actions, data.n_actions, n_people)
        epoch = _run(network, parts)
    n_free = sum(weights.numel() for weights in network.parameters())
    return Gru(network.eval(), n_people, data.reward_size, n_free, epoch)


def watch_last(data: Sessions) -> np.ndarray:
    """Choose what to watch while training: everybody's last session, or the last fifth of the only one.

    Returns
    -------
    bool ndarray of shape (T, S)

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> data = pack_sessions(np.zeros((3, 5), int), np.zeros((3, 5)), [0, 0, 1], n_actions=2)
    >>> watch_last(data).sum(axis=0)
    array([0, 5, 1])
    """
    lengths = (data.choice >= 0).sum(axis=0)
    usable = np.flatnonzero(lengths > 1)
    # the last of each person, as later ones overwrite earlier ones
    last = dict(zip(data.person[usable].tolist(), usable.tolist(), strict=True))
    several = np.bincount(data.person[usable], minlength=int(data.person.max()) + 1) > 1
    begin = lengths.copy()
    for person, session in last.items():
        begin[session] = 0 if several[person] else lengths[session] - lengths[session] // 5
    time = np.arange(len(data.choice))[:, None]
    return np.asarray((time >= begin) & (time < lengths))


@dataclass(frozen=True, eq=False)
class _Parts:
    """What training needs: features (T, S, F), next choices (T, S), -1 where they do not count, and people (S,)."""

    features: Tensor
    learned: Tensor
    watched: Tensor
    who: Tensor

    @classmethod
    def of(cls, data: Sessions, watched: np.ndarray) -> _Parts:
        targets, other = _targets(data), torch.from_numpy(np.ascontiguousarray(watched[1:]))
        learned, seen = targets.masked_fill(other, -1), targets.masked_fill(~other, -1)
        return cls(_features(data), learned, seen, torch.from_numpy(data.person))

    def batches(self) -> list[Tensor]:
        """Sessions to learn from, of similar length together, in random order."""
        lengths = _lengths(self.learned)
        # ties and near ties are broken anew each time, so that batches differ from epoch to epoch
        order = torch.argsort(lengths * (1.0 + 0.2 * torch.rand(len(lengths))))
        groups = [rows for rows in torch.split(order[lengths[order] > 0], _BATCH) if len(rows)]
        return [groups[k] for k in torch.randperm(len(groups)).tolist()]


def _run(network: _Network, parts: _Parts) -> int:
    """Train, leave the network as it was at its best, and return after which epoch that was."""
    n_batches = len(parts.batches())
    watching = torch.nonzero(_lengths(parts.watched)).squeeze(1)
    watched = partial(_watched_loss, network, parts, watching) if len(watching) else None
    return train_until_worse(
        network, _TRAINING, n_batches, parts.batches, partial(_loss, network, parts, parts.learned), watched
    )


def _watched_loss(network: _Network, parts: _Parts, rows: Tensor) -> float:
    return float(_loss(network, parts, parts.watched, rows))


def _loss(network: _Network, parts: _Parts, targets: Tensor, rows: Tensor) -> Tensor:
    """Mean negative log-likelihood of the choices that count in some sessions."""
    steps = int(_lengths(targets[:, rows]).max())
    wanted = targets[:steps, rows]
    log_p = network(parts.features[:steps, rows], parts.who[rows])
    return nn.functional.nll_loss(log_p.flatten(0, 1), wanted.flatten(), ignore_index=-1)


def _lengths(targets: Tensor) -> Tensor:
    """Count the steps of each session up to the last choice that counts, (S,)."""
    steps = torch.arange(1, len(targets) + 1)[:, None]
    return torch.where(targets >= 0, steps, 0).amax(dim=0)


def _features(data: Sessions) -> Tensor:
    """Tell what happened on each trial but the last: choice, one-hot, and rewards shown; (T - 1, S, 2 A)."""
    choice, reward = data.choice[:-1], np.nan_to_num(data.reward[:-1])
    chosen = choice[..., None] == np.arange(data.n_actions)
    return torch.from_numpy(np.concatenate([chosen, reward], axis=2)).float()


def _targets(data: Sessions) -> Tensor:
    """Return the next choice, (T - 1, S); -1 after the last."""
    return torch.from_numpy(np.ascontiguousarray(data.choice[1:]))
