"""Participants whose choices cannot be fitted alone: which, and what is said of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Sized
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spicestat.errors import DataError, ExclusionWarning, SuspiciousDataWarning, warn_user
from spicestat.trials.table import TrialTable

__all__ = ["Everybody", "left_out_and_kept", "refuse_constant", "unusable_participants"]

Codes = npt.NDArray[np.int64]

_CONSTANT = "made the same choice throughout"


class Everybody(NamedTuple):
    """Participants, or participants on occasions, for messages."""

    labels: Sequence[Hashable]
    on_occasions: bool

    def share(self, some: Sized) -> str:
        """Say how many some are."""
        return f"{len(some)} of {len(self.labels)} participants{' on occasions' if self.on_occasions else ''}"

    @staticmethod
    def listed(texts: Sequence[str]) -> str:
        """Show the first ten."""
        return "; ".join([*texts[:10], *(["..."] if len(texts) > 10 else [])])


def unusable_participants(
    participant: Codes, choice: Codes, first: npt.NDArray[np.bool_], n_participants: int, n_actions: int
) -> dict[int, str]:
    """Return the participants whose choices carry no information, with the reason.

    ``first`` says which trials open a block: their choice is nothing to predict from.

    Examples
    --------
    >>> first = np.array([True, False, True, False])
    >>> unusable_participants(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), first, 2, 2)
    {1: 'made the same choice throughout'}
    """
    made = choice >= 0
    pairs = participant[made] * n_actions + choice[made]
    table = np.bincount(pairs, minlength=n_participants * n_actions).reshape(n_participants, n_actions)
    total, distinct = table.sum(axis=1), (table > 0).sum(axis=1)
    reasons: dict[int, str] = {}
    predicted = np.bincount(participant[made & ~first], minlength=n_participants)
    for code in np.flatnonzero((total < 2) | (distinct < 2) | (predicted == 0)):
        if total[code] < 2:
            reason = "has fewer than 2 choices"
        elif predicted[code] == 0:
            reason = "made no choice after the first trial of a block"
        else:
            reason = _CONSTANT
        reasons[int(code)] = reason
    return reasons


def left_out_and_kept(
    reasons: Mapping[int, str], everybody: Everybody, unusable: str
) -> tuple[dict[int, str], list[int]]:
    """Return who is left out, with the reasons, and who made the same choice throughout and is kept; warn of both.

    ``unusable`` is that of `read_trials`.
    """
    constant = [code for code, why in reasons.items() if why == _CONSTANT] if unusable == "keep" else []
    left_out = {code: why for code, why in reasons.items() if code not in constant}
    _report_unusable(left_out, everybody, unusable)
    _report_constant(constant, everybody)
    return left_out, constant


def _report_unusable(reasons: Mapping[int, str], everybody: Everybody, unusable: str) -> None:
    """Warn of participants who are left out; "error" raises, as it is an error that nobody is left."""
    if not reasons:
        return
    count = f"{everybody.share(reasons)} cannot be fitted"
    shown = everybody.listed([f"{everybody.labels[code]!s} {why}" for code, why in reasons.items()])
    if unusable == "error" or len(reasons) == len(everybody.labels):
        raise DataError(
            count,
            got=shown,
            allowed="at least 2 choices and 2 different actions per participant",
            do="drop these participants, or check the participant and choice columns",
        )
    warn_user(f"{count} and are left out: {shown}", ExclusionWarning)


def _report_constant(constant: Sequence[int], everybody: Everybody) -> None:
    """Warn of participants who made the same choice throughout and are kept."""
    if constant:
        shown = everybody.listed([str(everybody.labels[code]) for code in constant])
        warn_user(
            f"{everybody.share(constant)} {_CONSTANT}, and are kept: {shown}. If they did not attend to the task, "
            "leave their rows out",
            SuspiciousDataWarning,
        )


def refuse_constant(trials: TrialTable) -> None:
    """Raise where everybody made the same choice throughout: that is no population to be estimated."""
    if len(trials.record.get("constant", ())) == trials.n_participants:
        raise DataError(
            f"all {trials.n_participants} participants {_CONSTANT}",
            allowed="2 different actions of some participant",
            do="check the participant and choice columns",
        )
