"""Design: states as contrasts to the chosen action, in blocks of people that fit into the processor's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spicestat.pooled.packed import Floats, Ints
from spicestat.pooled.states import StateRows

__all__ = ["Batch", "Design", "make_design", "state_scale"]

_BATCH_NUMBERS = 200_000  # 1.6 MB


@dataclass(frozen=True, eq=False)
class Batch:
    """Contrasts of n people with at most M choices each.

    Attributes
    ----------
    people : int ndarray of shape (n,)
        Person codes.
    contrast : ndarray of shape (n, A - 1, M, K)
        States of every other action minus those of the chosen one; 0 after a person's last choice.
    n_padding : int ndarray of shape (n,)
        Number of rows after a person's last choice.
    closed : bool ndarray of shape (n, A - 1, M), optional
        Which other actions were not on offer; None: all were.
    """

    people: Ints
    contrast: npt.NDArray[Any]
    n_padding: Ints
    closed: npt.NDArray[np.bool_] | None = None

    def people_at(self, mine: npt.NDArray[np.bool_], codes: Ints) -> Batch:
        """Keep some of the people, under new codes."""
        closed = None if self.closed is None else self.closed[mine]
        return Batch(codes, self.contrast[mine], self.n_padding[mine], closed)


@dataclass(frozen=True, eq=False)
class Design:
    """Contrasts of N people, each state divided by its scale.

    Attributes
    ----------
    batches : tuple of Batch
    names : tuple of K str
        Names of the states.
    scale : ndarray of shape (K,)
        By what the states were divided; weights in the states' own units are those found here, divided by it.
    n_choices : int ndarray of shape (N,)
        Number of predicted choices.
    n_actions : int
    """

    batches: tuple[Batch, ...]
    names: tuple[str, ...]
    scale: Floats
    n_choices: Ints
    n_actions: int

    @property
    def n_people(self) -> int:
        """Number of people N."""
        return len(self.n_choices)

    @property
    def n_states(self) -> int:
        """Number of states K."""
        return len(self.names)

    @property
    def rounding(self) -> float:
        """Relative size of the rounding errors of the contrasts."""
        return float(np.finfo(self.batches[0].contrast.dtype).eps) if self.batches else 0.0

    def of_people(self, people: Ints) -> Design:
        """Keep some of the people, by their codes, which become 0, 1, ...; in increasing order."""
        place = np.full(self.n_people, -1)
        place[people] = np.arange(len(people))
        batches = []
        for batch in self.batches:
            mine = place[batch.people] >= 0
            if mine.any():
                batches.append(batch.people_at(mine, place[batch.people[mine]]))
        return replace(self, batches=tuple(batches), n_choices=self.n_choices[people])

    def single(self) -> Design:
        """Return the design in single precision: half the memory, twice the speed."""
        batches = tuple(replace(b, contrast=b.contrast.astype(np.float32)) for b in self.batches)
        return replace(self, batches=batches)

    def columns(self, keep: Sequence[int]) -> Design:
        """Keep some of the states, by their positions."""
        chosen = list(keep)
        batches = tuple(replace(b, contrast=np.ascontiguousarray(b.contrast[..., chosen])) for b in self.batches)
        return replace(self, batches=batches, names=tuple(self.names[k] for k in chosen), scale=self.scale[chosen])


def state_scale(rows: StateRows) -> Floats:
    """Root mean square of each state about its mean over actions, shape (K,); 1 for a state that never differs."""
    squares = np.empty(rows.values.shape[2])
    for k in range(len(squares)):
        values = rows.values[:, :, k]
        squares[k] = ((values - values.mean(axis=1, keepdims=True)) ** 2).mean() if len(values) else 0.0
    return np.where(squares > 1e-20, np.sqrt(squares), 1.0)


def make_design(rows: StateRows, n_people: int | None = None, scale: npt.ArrayLike | None = None) -> Design:
    """Lay out states for estimation.

    Parameters
    ----------
    rows : StateRows
    n_people : int, optional
        Number of people N, also those without a row. Default: the largest code plus one.
    scale : array of shape (K,), optional
        Default: `state_scale` of the rows.

    Returns
    -------
    Design
    """
    people = int(rows.person.max(initial=-1)) + 1 if n_people is None else n_people
    divide = state_scale(rows) if scale is None else np.asarray(scale, dtype=float)
    count = np.bincount(rows.person, minlength=people)
    start = np.searchsorted(rows.person, np.arange(people))
    size = (rows.values.shape[1] - 1) * rows.values.shape[2]
    batches = tuple(_batch(rows, group, start, count, divide) for group in _groups(count, size))
    return Design(batches, rows.names, divide, count, rows.values.shape[1])


def _groups(count: Ints, row_numbers: int) -> list[Ints]:
    """People of similar numbers of choices together, so that little is padded."""
    order = np.argsort(count, kind="stable")
    groups: list[list[int]] = [[]]
    for person in order:
        longest, first = int(count[person]), groups[-1][0] if groups[-1] else person
        full = (len(groups[-1]) + 1) * longest * row_numbers > _BATCH_NUMBERS or longest > 1.25 * count[first] + 4
        if groups[-1] and full:
            groups.append([])
        groups[-1].append(int(person))
    return [np.array(sorted(group)) for group in groups if group]


def _batch(rows: StateRows, people: Ints, start: Ints, count: Ints, scale: Floats) -> Batch:
    longest, actions = int(count[people].max()), rows.values.shape[1]
    contrast = np.zeros((len(people), actions - 1, longest, len(scale)))
    closed = None if rows.offered is None else np.zeros(contrast.shape[:3], dtype=bool)
    for i, person in enumerate(people):
        at = slice(int(start[person]), int(start[person] + count[person]))
        contrast[i, :, : count[person]] = _contrasts(rows.values[at], rows.choice[at], scale)
        if closed is not None and rows.offered is not None:
            closed[i, :, : count[person]] = _closed(rows.offered[at], rows.choice[at])
    return Batch(people, contrast, longest - count[people], closed)


def _contrasts(values: Floats, choice: Ints, scale: Floats) -> Floats:
    """States of the other actions minus those of the chosen one, (A - 1, R, K), in order of distance from it."""
    others = _others(choice, values.shape[1])
    chosen = np.take_along_axis(values, choice[:, None, None], axis=1)
    contrasts = (np.take_along_axis(values, others[..., None], axis=1) - chosen) / scale
    return np.asarray(contrasts.transpose(1, 0, 2))


def _closed(offered: npt.NDArray[np.bool_], choice: Ints) -> npt.NDArray[np.bool_]:
    """Which other actions are not on offer, (A - 1, R), in the order of `_contrasts`."""
    return ~np.take_along_axis(offered, _others(choice, offered.shape[1]), axis=1).T


def _others(choice: Ints, actions: int) -> Ints:
    """Codes of the other actions, (R, A - 1), in order of distance from the chosen one."""
    return np.asarray((choice[:, None] + np.arange(1, actions)) % actions)
