"""Folds: which choices are predicted by what was fitted without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from spicestat.errors import ConfigError, DataError
from spicestat.fit.packing import predicted_rows
from spicestat.trials.labels import match_labels
from spicestat.trials.table import TrialTable

__all__ = ["Fold", "Over", "make_folds"]

Over = Literal["blocks", "people"]
"""What is left out: blocks of everybody, or all of some people's."""

_LAST = 5
"""Of people with one block, one part in so many is left out."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Choices that are left out, and what may be used to predict them.

    Attributes
    ----------
    train : TrialTable
        What models are fitted to.
    test : TrialTable
        The blocks with choices that are left out. Each choice is predicted from those before it in its block.
    held : int ndarray of shape (H,)
        Positions of the choices that are left out in ``test.frame``.
    row : int ndarray of shape (H,)
        Their positions in the frame of the whole table.
    """

    train: TrialTable
    test: TrialTable
    held: np.ndarray
    row: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Code in ``train`` of every participant of ``test``, -1 for those who are not there."""
        return match_labels(self.test.participants, self.train.participants, here="the test", there="the training")


def make_folds(table: TrialTable, over: Over = "blocks", n_folds: int = 3, seed: int = 0) -> tuple[Fold, ...]:
    """Deal blocks, or people, out to folds.

    A block counts with two choices or more; its first choice is predicted where something was shown before it. Over
    blocks, everybody's blocks are dealt out in turn, so that a person trains in each fold; of people with one block its
    last fifth is left out, once, in the first fold, and predicted from all that came before.

    Parameters
    ----------
    table : TrialTable
    over : {"blocks", "people"}, default "blocks"
    n_folds : int, default 3
        There are no more than blocks of the person with most blocks, or than people.
    seed : int, default 0
        Of the order in which blocks, or people, are dealt out; blocks are in the same order for everybody.

    Raises
    ------
    DataError
        Nothing can be left out.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat.trials import read_trials
    >>> table = read_trials(simulate_cohort(4, 80, n_blocks=4).trials, block="block")
    >>> [(len(fold.held), fold.train.n_participants) for fold in make_folds(table)]
    [(76, 4), (76, 4), (152, 4)]
    >>> [(len(fold.held), fold.train.n_participants) for fold in make_folds(table, "people", 2)]
    [(152, 2), (152, 2)]
    """
    block, counts = table.frame["block"].to_numpy(), predicted_rows(table)
    size = np.bincount(block[counts], minlength=len(table.blocks))
    if not size.any():
        raise DataError("no choice can be left out: no block has two choices", do="pass trials with choices")
    rng = np.random.default_rng(seed)
    if over == "people":
        _refuse_occasions(table)
        owner = table.frame["participant"].to_numpy()
        fold_of = _dealt_people(np.unique(owner[counts]), table.n_participants, n_folds, rng)
        held, untrained = np.where(counts, fold_of[owner], -1), fold_of[owner]
    else:
        held, untrained = _dealt_blocks(table, size, counts, n_folds, rng)
    folds = [number for number in range(n_folds) if (held == number).any()]
    if not folds:
        raise DataError(
            "no choice can be left out: nobody has two blocks, or six choices in one",
            do="name the block column, or pass over='people'",
        )
    return tuple(_fold(table, held == number, untrained == number) for number in folds)


def _refuse_occasions(table: TrialTable) -> None:
    """Raise where somebody left out on one occasion would be trained on another."""
    if table.record["columns"].get("occasion") and table.people["person"].duplicated().any():
        raise ConfigError(
            "leaving people out takes participants for different people",
            got=f"people on several occasions ({', '.join(table.record['columns']['occasion'])})",
            do="pass over='blocks', or a fit without `occasion`",
        )


def _dealt_people(able: np.ndarray, n_people: int, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each person; -1 for those without a choice to predict."""
    fold = np.full(n_people, -1)
    fold[rng.permutation(able)] = np.arange(len(able)) % n_folds
    if len(able) < n_folds:
        raise DataError("there are fewer people than folds", got=len(able), allowed=f"{n_folds} or more")
    return fold


def _dealt_blocks(
    table: TrialTable, size: np.ndarray, counts: np.ndarray, n_folds: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fold in which each trial is predicted, and in which it is not fitted; -1 for none."""
    block, owner = table.frame["block"].to_numpy(), table.blocks["participant"].to_numpy()
    usable = np.flatnonzero(size)
    begin = np.searchsorted(owner[usable], owner[usable])
    rank, n_own = np.arange(len(usable)) - begin, np.bincount(owner[usable], minlength=table.n_participants)
    n_dealt = min(n_folds, int(n_own.max()))
    turns = np.concatenate([rng.permutation(n_dealt) for _ in range(-(-int(n_own.max()) // n_dealt))])
    fold = np.full(len(table.blocks), -1)
    several = n_own[owner[usable]] > 1
    fold[usable[several]] = turns[rank[several]]
    held, untrained = np.where(counts, fold[block], -1), fold[block]
    single = np.isin(block, usable[~several])
    so_far = np.asarray(table.frame.assign(counts=counts).groupby("block")["counts"].cumsum())
    last = single & (so_far > size[block] - size[block] // _LAST)
    held[last & counts] = untrained[last] = 0
    return held, untrained


def _fold(table: TrialTable, held: np.ndarray, untrained: np.ndarray) -> Fold:
    block = table.frame["block"].to_numpy()
    shown = np.isin(block, block[held])
    place = np.cumsum(shown) - 1
    row = np.flatnonzero(held)
    return Fold(table.select(~untrained), table.select(shown), place[row], row)
