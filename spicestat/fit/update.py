"""spice_update: estimate a fit's equations on other trials, without training a network again."""

from __future__ import annotations

from typing import Any

import numpy as np

from spicestat._files.tables import TableSource
from spicestat.fit.api import SpiceFit
from spicestat.fit.transfer import equations_of, estimated_on, estimator_for, known_codes, read_like
from spicestat.trials.reading import TrialTable
from spicestat.trials.sequences import SequenceDataset

__all__ = ["spice_update"]


def spice_update(fit: SpiceFit, trials: TableSource | TrialTable, **columns: Any) -> SpiceFit:
    """Estimate the coefficients of a fit's equations anew, on other trials: new participants, sessions or both.

    The structure stays as it was found, so that the new coefficients mean the same as the old ones, and their
    standard errors owe nothing to a search. Participants whom the fit does not know get its most frequent structure
    (which is everybody's with ``structure="population"``).

    Parameters
    ----------
    fit : SpiceFit
    trials : DataFrame, path or TrialTable
        All the trials to estimate from, with the columns of the fit's own; earlier trials do not count
        unless they are among these.
    **columns
        Settings of `read_trials` that differ from those of the fit, such as ``participant="id"`` or ``people=...``.

    Returns
    -------
    SpiceFit
        ``scores`` are on the new trials. The row "equations" is that of the earlier estimates (typical ones for new
        participants), so that it is out of sample.

    Raises
    ------
    InputError
        The trials cannot be used, or have other actions.

    Warns
    -----
    ConvergenceWarning
        Some participants have no identified estimate.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> first, second = simulate_cohort(4, 240, seed=1), simulate_cohort(6, 240, seed=2)
    >>> fit = spice_fit(first.trials, block="block", model="rescorla_wagner", epochs=20)
    >>> spice_update(fit, second.trials).trials.n_participants
    6
    """
    table = read_like(fit, trials, **columns)
    codes = known_codes(fit, table.participants, unseen="typical")
    earlier = equations_of(fit, codes)
    estimator = estimator_for(fit.estimator, codes)
    estimator.n_experiments = fit.estimator.n_experiments
    estimator.sparse_ = earlier
    estimator.inclusion_ = _inclusion(fit, codes)
    return estimated_on(
        table,
        SequenceDataset.from_trials(table),
        estimator,
        earlier,
        model=fit.coefficients.info["model"],
        where="these trials",
        updated={"n_new": int((codes < 0).sum()), "n_known": int((codes >= 0).sum())},
    )


def _inclusion(fit: SpiceFit, codes: np.ndarray) -> np.ndarray:
    """Inclusion probabilities (P, K) as the earlier fit has them, the mean for new participants."""
    frame, shape = fit.coefficients.frame, fit.estimator.equations_.coefficients.shape
    known = frame["inclusion_prob"].to_numpy(dtype="float64").reshape(shape)
    inclusion: np.ndarray = np.where((codes < 0)[:, None], known.mean(axis=0), known[codes])
    return inclusion
