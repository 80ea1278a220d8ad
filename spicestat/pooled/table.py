"""The fit as columns of a long table: one row per person and state, as CoefficientTable has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from spicestat.pooled.fit import PooledFit
from spicestat.pooled.packed import Floats
from spicestat.pooled.states import State

__all__ = ["MODULE", "coefficient_columns"]

MODULE = "beta"


def coefficient_columns(
    fit: PooledFit, library: Sequence[State] = (), level: float = 0.95
) -> dict[str, npt.NDArray[Any]]:
    """Columns of N x K rows, person by person: own estimates, pooled ones, and what is shared.

    Parameters
    ----------
    fit : PooledFit
    library : sequence of State, optional
        Further states, which were not selected: estimate 0, standard error NaN.
    level : float, default 0.95
        Of the intervals of the own estimates.

    Returns
    -------
    dict of str to ndarray
        ``participant`` (codes), ``module``, ``term``, ``estimate``, ``std_error``, ``conf_low``, ``conf_high``,
        ``pooled``, ``pooled_sd``, ``selected``, ``shared``, ``n_trials``, ``converged``. A shared weight stands in
        everybody's rows with the population's standard error. Own estimates that a person's choices do not bound are
        NaN.
    """
    absent = [declared.name for declared in library if declared not in fit.states]
    terms, n_people = [*fit.names, *absent], len(fit.pooled)
    estimate = _with_shared(fit.own.estimate, fit.mean[fit.n_own :], len(absent), 0.0)
    error = _with_shared(fit.own.std_error, fit.std_error[fit.n_own :], len(absent), np.nan)
    width = norm.ppf(0.5 + level / 2.0) * error
    position = np.arange(len(terms))
    columns = {
        "participant": np.repeat(np.arange(n_people), len(terms)),
        "module": np.full(n_people * len(terms), MODULE),
        "term": np.tile(np.array(terms), n_people),
        "estimate": estimate,
        "std_error": error,
        "conf_low": estimate - width,
        "conf_high": estimate + width,
        "pooled": _with_shared(fit.pooled, np.zeros(0), len(absent), 0.0),
        "pooled_sd": _with_shared(fit.pooled_sd, np.zeros(0), len(absent), np.nan),
        "selected": np.tile(position < len(fit.names), n_people),
        "shared": np.tile((position >= fit.n_own) & (position < len(fit.names)), n_people),
        "n_trials": np.repeat(fit.n_choices, len(terms)),
        "converged": np.full(n_people * len(terms), fit.converged),
    }
    return {name: column.ravel() for name, column in columns.items()}


def _with_shared(own: Floats, shared: Floats, n_absent: int, absent: float) -> Floats:
    """People's own numbers, then those that are everybody's, then those of states that are not there."""
    n_people = len(own)
    return np.hstack([own, np.tile(shared, (n_people, 1)), np.full((n_people, n_absent), absent)])
