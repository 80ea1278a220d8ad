"""Trials: files and tables are read, checked once, coded, laid out as sequences, and split.

What needs torch, the sequences and their splits, is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spicestat._lazy import lazy_names

_HOMES = {
    "SequenceDataset": "spicestat.trials.sequences",
    "Split": "spicestat.trials.splits",
    "TrialTable": "spicestat.trials.reading",
    "k_folds": "spicestat.trials.splits",
    "read_trials": "spicestat.trials.reading",
    "split_by_block": "spicestat.trials.splits",
    "split_by_participant": "spicestat.trials.splits",
    "split_by_session": "spicestat.trials.splits",
    "split_by_time": "spicestat.trials.splits",
}

__all__ = [
    "SequenceDataset",
    "Split",
    "TrialTable",
    "k_folds",
    "read_trials",
    "split_by_block",
    "split_by_participant",
    "split_by_session",
    "split_by_time",
]

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow names that are found when used
    from spicestat.trials.reading import TrialTable as TrialTable
    from spicestat.trials.reading import read_trials as read_trials
    from spicestat.trials.sequences import SequenceDataset as SequenceDataset
    from spicestat.trials.splits import Split as Split
    from spicestat.trials.splits import k_folds as k_folds
    from spicestat.trials.splits import split_by_block as split_by_block
    from spicestat.trials.splits import split_by_participant as split_by_participant
    from spicestat.trials.splits import split_by_session as split_by_session
    from spicestat.trials.splits import split_by_time as split_by_time

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
