"""Structure search, judged by the likelihood of the choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spicestat._runtime.progress import Progress
from spicestat.equations.estimate.prior import weak_prior_of
from spicestat.equations.estimate.refit import RefitResult, default_starts, refit
from spicestat.equations.select.criteria import Arbiter, Criterion, required_gain
from spicestat.equations.select.individual import individual_structures
from spicestat.equations.select.population import population_structure
from spicestat.equations.select.workbench import Workbench
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.models.base import BaseRNN
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Selection", "select_structure"]


_FOLDS = 4
"""Parts of the cross-validation."""

_PRIOR_ODDS = 2.0
"""Odds, before the data, that a coefficient is absent."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What the search found.

    Attributes
    ----------
    result : RefitResult
        The refit of the final structure by maximum likelihood.
    inclusion : ndarray of shape (P, K)
        Probability that a term is estimated, over the structures that were compared, weighted by the
        exponential of their scores (posterior probabilities under ``criterion="evidence"``).
    """

    result: RefitResult
    inclusion: np.ndarray


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
    others: Sequence[EquationSet] = (),
) -> Selection:
    """Find the structure that the choices speak for: one for everybody, or one per participant.

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
        One structure for the population (`population_structure`) or one per participant
        (`individual_structures`).
    criterion : {"aic", "bic", "evidence", "cv"}
        With "aic" and "bic" a coefficient must gain `required_gain`; "evidence" compares Laplace
        approximations of the log evidence under `weak_prior` (each coefficient being half as likely to be
        there as not, before the data), "cv" the cross-validated log-likelihood
        in four consecutive parts of the sequences (four times the work).
    significance : float
        See `required_gain`.
    identification_price : float
        For a shared structure: log-likelihood that a structure must gain in addition for each participant
        without an identified estimate: such a term could not be compared over people.
    search_trials : int
        Trials, over all participants, that the search for a shared structure looks at, as whole blocks
        spread evenly; the final refit uses all.
    progress : callable, optional
        Called with ("equations", done, total, message).
    others : sequence of EquationSet, optional
        Further starts, for searches that get stuck; see `population_structure`. The final refit tries their
        coefficients, too.

    Returns
    -------
    Selection
    """
    n_present = int((data.trials_per_participant > 0).sum())
    some = data.thinned(math.ceil(search_trials / n_present)) if shared else data
    if criterion in ("evidence", "cv"):
        price = math.log(_PRIOR_ODDS) if criterion == "evidence" else 0.0
        arbiter = Arbiter(price, prior=weak_prior_of(model, data, start))
    else:
        together = n_present if shared else 1
        n_trials = float(some.trials_per_participant.sum()) / n_present
        price = required_gain(together, n_trials, criterion, significance) / together
        arbiter = Arbiter(price, identification_price if shared else 0.0)
    if shared:
        others = [other for other in others if (other.status == other.status[0]).all()]
    bench = Workbench(model, some, arbiter, start, allowed, n_folds=_FOLDS if criterion == "cv" else 0)
    find = population_structure if shared else individual_structures
    found = find(bench, start, progress, others)
    starts = [*default_starts(model, found), *(other.coefficients for other in others)]
    final = refit(model, data, found, starts, progress=progress)
    return Selection(final, bench.visited.inclusion(final.equations.status, shared=shared))
