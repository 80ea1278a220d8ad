"""Selection of equation structures, with the choices' likelihood as arbiter."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.stats import chi2

from spicestat.dataset import SequenceDataset
from spicestat.equations.equation_set import EXCLUDED, EquationSet
from spicestat.equations.moves import Move, apply_moves, predict_moves
from spicestat.equations.refit import RefitResult, local_curvature, refit
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.settings import real_number
from spicestat.training.loop import Progress

__all__ = ["Criterion", "check_criterion", "required_gain", "select_structure"]

Criterion = Literal["aic", "bic"]

_TRIES = 2
"""Moves that are refitted per round, the most promising first."""

_TOLERANCE, _MAX_ITER = 0.05, 10
"""Precision of these refits: enough to compare likelihoods with what a term must gain."""

_TIE = 1e-6
"""Likelihoods that differ by less are equal."""

_HOPELESS = 0.5
"""A move is not refitted if its predicted gain falls short of its price by more than this share of a coefficient's."""


def check_criterion(criterion: str, significance: float) -> None:
    """Raise `ConfigError` for an unknown criterion, or a level that is not in (0, 1)."""
    if criterion not in ("aic", "bic"):
        raise ConfigError("unknown criterion", got=criterion, allowed="'aic' or 'bic'")
    real_number("significance", significance, 0.0, 1.0, low_included=False)


def required_gain(n_participants: int, n_trials: float, criterion: Criterion, significance: float) -> float:
    r"""Log-likelihood that one more coefficient per participant must gain.

    The larger of an information criterion's penalty (AIC: 1 per participant; BIC: half the log of
    the participant's number of trials) and the likelihood-ratio test's
    :math:`\chi^2_{P, 1 - significance} / 2`, which guards small samples.

    Parameters
    ----------
    n_participants : int
        Participants P that share the decision.
    n_trials : float
        Mean number of trials per participant.
    criterion : {"aic", "bic"}
        Akaike (1974), doi:10.1109/TAC.1974.1100705; Schwarz (1978), doi:10.1214/aos/1176344136.
    significance : float
        Level of the test, in (0, 1).

    Raises
    ------
    ConfigError
        The criterion is unknown or the level out of range.

    Examples
    --------
    >>> required_gain(40, 200, "aic", 0.001)
    40.0
    >>> round(required_gain(1, 200, "aic", 0.001), 2)
    5.41
    """
    check_criterion(criterion, significance)
    penalty = 1.0 if criterion == "aic" else 0.5 * np.log(max(n_trials, 1.0))
    return float(max(n_participants * penalty, chi2.isf(significance, n_participants) / 2))


def select_structure(
    model: BaseRNN,
    data: SequenceDataset,
    start: EquationSet,
    allowed: np.ndarray,
    *,
    shared: bool = True,
    criterion: Criterion = "aic",
    significance: float = 0.001,
    identification_price: float = 10.0,
    search_trials: int = 20_000,
    progress: Progress | None = None,
) -> RefitResult:
    """Grow the equations from a simple start while the choices demand it, then drop what they do not need.

    Each round refits the few single changes that the local quadratic of the likelihood predicts to
    be best. Growing from below keeps every fit identified, also with few trials; a full library
    fitted to 200 choices finds a use for every term.

    Parameters
    ----------
    model : BaseRNN
        Gives the forward pass.
    data : SequenceDataset
        Choices of P participants.
    start : EquationSet
        Structure, the same for everybody, and starting values.
    allowed : bool ndarray of shape (K,)
        Candidate terms.
    shared : bool
        One structure for the population (True) or one per participant.
    criterion, significance
        See `required_gain`.
    identification_price : float
        Log-likelihood that a term must gain in addition for each participant who has an identified
        estimate without it and none with it: such a term could not be compared over people.
    search_trials : int
        Trials, over all participants, that the search for a shared structure looks at, as whole blocks
        spread evenly; the final refit uses all.
    progress : callable, optional
        Called with ("equations", round, rounds, message).

    Returns
    -------
    RefitResult
        The refit of the final structure.
    """
    n_present = int((data.trials_per_participant > 0).sum())
    some = data.thinned(math.ceil(search_trials / n_present)) if shared else data
    search = _Search(model, some, allowed, start.n_participants, shared, identification_price)
    current = refit(model, some, start, tolerance=_TOLERANCE, max_iter=_MAX_ITER)
    present = current.n_trials > 0
    n_trials = float(current.n_trials[present].mean())
    gain = required_gain(int(present.sum()) if shared else 1, n_trials, criterion, significance)
    n_rounds = 2 * int(allowed.sum())
    done = 0
    for growing in (True, False):
        search.reopen()
        for _ in range(int(allowed.sum())):
            if progress is not None:
                progress("equations", done, n_rounds, "adding terms" if growing else "dropping terms")
            done += 1
            changed = search.round(current, gain, growing)
            if changed is None:
                break
            current = changed
    if progress is not None:
        progress("equations", n_rounds, n_rounds, "structure found")
    return refit(model, data, current.equations, progress=progress)


class _Search:
    """Groups of participants that share a structure, and which of them still change."""

    def __init__(
        self,
        model: BaseRNN,
        data: SequenceDataset,
        allowed: np.ndarray,
        n_participants: int,
        shared: bool,
        identification_price: float,
    ) -> None:
        self.model, self.data, self.allowed = model, data, allowed
        self.group = np.zeros(n_participants, dtype="int64") if shared else np.arange(n_participants)
        self.open = np.ones(self.group.max() + 1, dtype=bool)
        self.has_data = data.trials_per_participant.numpy() > 0
        self.identification_price = identification_price

    def reopen(self) -> None:
        """Let every group with data change again."""
        self.open = np.bincount(self.group, self.has_data) > 0

    def round(self, current: RefitResult, gain: float, growing: bool) -> RefitResult | None:
        """Make each open group's best change, if one pays; None when no group changed."""
        curvature = local_curvature(self.model, self.data, current.equations)
        moves = {
            int(group): _promising(
                predict_moves(
                    current.equations,
                    self.allowed,
                    curvature,
                    current.log_likelihood,
                    np.flatnonzero(self.group == group),
                ),
                gain,
                growing,
            )
            for group in np.flatnonzero(self.open)
        }
        best, best_margin = current, np.zeros(len(self.open))
        for attempt in range(_TRIES):
            chosen = {group: ranked[attempt] for group, ranked in moves.items() if attempt < len(ranked)}
            if not chosen:
                break
            per_participant = {who: chosen[group] for who, group in enumerate(self.group.tolist()) if group in chosen}
            moved = apply_moves(current.equations, curvature, per_participant)
            # a removal's own start may lie beside the better maximum; while growing, the winner gets a second start
            starts: list[np.ndarray] | None = [] if growing else None
            trial = refit(self.model, self.data, moved, starts, tolerance=_TOLERANCE, max_iter=_MAX_ITER)
            margin = self._margin(current, trial, chosen, gain)
            better = margin > best_margin
            best = _merged(best, trial, better[self.group])
            best_margin = np.where(better, margin, best_margin)
        changed = best_margin > 0
        self.open &= changed
        if not changed.any():
            return None
        again = refit(self.model, self.data, best.equations, tolerance=_TOLERANCE, max_iter=_MAX_ITER)
        return _merged(best, again, again.log_likelihood > best.log_likelihood)

    def _margin(self, current: RefitResult, trial: RefitResult, chosen: dict[int, Move], gain: float) -> np.ndarray:
        """By how much each group's likelihood gain exceeds the price of its move; -inf without a move."""
        gained = np.bincount(self.group, trial.log_likelihood - current.log_likelihood, len(self.open))
        lost = np.bincount(self.group, trial.unidentified & ~current.unidentified, len(self.open))
        margin = np.full(len(self.open), -np.inf)
        for group, move in chosen.items():
            dearer = self.identification_price * lost[group] if move.n_coefficients > 0 else 0.0
            margin[group] = gained[group] - _price(move, gain, int((self.group == group).sum())) - dearer
        return margin


def _promising(moves: list[Move], gain: float, growing: bool) -> list[Move]:
    """Growing allows additions and exchanges, pruning allows removals and exchanges; the first few that may pay."""
    unwanted = -1 if growing else 1
    hopeful = [
        move
        for move in moves
        if move.n_coefficients != unwanted and move.gain > gain * (move.n_coefficients - _HOPELESS)
    ]
    return sorted(hopeful, key=lambda move: gain * move.n_coefficients - move.gain)[:_TRIES]


def _price(move: Move, gain: float, n_participants: int) -> float:
    """Log-likelihood that a move must gain; among equals, a term that is not there is the simplest."""
    if move.n_coefficients == 0:
        return -_TIE if move.status == EXCLUDED else _TOLERANCE * n_participants
    return gain * move.n_coefficients


def _merged(first: RefitResult, second: RefitResult, take_second: np.ndarray) -> RefitResult:
    """Take each participant's result from one of two refits."""

    def pick(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(take_second.reshape(-1, *[1] * (one.ndim - 1)), other, one)

    equations = EquationSet(
        first.equations.libraries,
        first.equations.states,
        pick(first.equations.coefficients, second.equations.coefficients),
        pick(first.equations.status, second.equations.status),
    )
    return RefitResult(
        equations,
        pick(first.covariance, second.covariance),
        pick(first.log_likelihood, second.log_likelihood),
        first.n_trials,
        pick(first.converged, second.converged),
        pick(first.at_bound, second.at_bound),
    )
