"""The coefficient table of a fit: one row per participant, module and term, in the unit of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from spicestat.coefficients import CoefficientTable
from spicestat.equations.estimate.population import PooledEquations
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.structure.equation_set import EXCLUDED
from spicestat.equations.structure.units import in_unit_of_data
from spicestat.errors import ConfigError
from spicestat.trials.table import TrialTable

__all__ = ["By", "column_by", "fit_info", "lay_out", "lay_out_refit"]

By = Literal["pooled", "ml"]
"""Which coefficients equations have: pooled over people, or each participant's own maximum-likelihood estimates."""

_CONF_LEVEL = 0.95
_COLUMNS: dict[str, str] = {"pooled": "pooled", "ml": "estimate"}


def column_by(by: By) -> str:
    """Return the column of a coefficient table that holds pooled values, or own estimates.

    Raises
    ------
    ConfigError
        ``by`` is neither "pooled" nor "ml".
    """
    if by not in _COLUMNS:
        raise ConfigError("unknown `by`", got=by, allowed="'pooled' or 'ml'")
    return _COLUMNS[by]


def fit_info(table: TrialTable, model: str, seed: int, structure: str) -> dict[str, Any]:
    """Return what a coefficient table keeps about the fit that it is from."""
    columns = table.record["columns"]
    occasions = columns.get("occasion")
    return {
        **({"occasion": {"participant": columns["participant"], "columns": occasions}} if occasions else {}),
        "model": model,
        "spicestat": version("spicestat"),
        "seed": seed,
        "structure": structure,
        "varying": list(table.record.get("varying", [])),
        "missing": table.record.get("missing"),
    }


def lay_out(
    table: TrialTable,
    terms: Sequence[tuple[str, str]],
    estimate: np.ndarray,
    std_error: np.ndarray,
    covariance: np.ndarray,
    n_trials: np.ndarray,
    info: Mapping[str, Any],
    columns: Mapping[str, np.ndarray],
) -> CoefficientTable:
    """Lay estimates out as a long table, with 95 % intervals.

    Parameters
    ----------
    table : TrialTable
        Of P participants.
    terms : sequence of K (module, term)
    estimate, std_error : ndarray of shape (P, K)
    covariance : ndarray of shape (P, K, K)
    n_trials : ndarray of shape (P,)
        Predicted choices of each participant.
    info : mapping
        See `fit_info`.
    columns : mapping of str to ndarray of shape (P, K)
        Further columns of the contract.
    """
    n_participants, n_terms = estimate.shape
    margin = norm.ppf(0.5 + _CONF_LEVEL / 2) * std_error
    modules, names = zip(*terms, strict=True)
    frame = pd.DataFrame(
        {
            "participant": np.repeat(pd.Series(table.participants).to_numpy(), n_terms),
            "module": np.tile(modules, n_participants),
            "term": np.tile(names, n_participants),
            "estimate": estimate.ravel(),
            "std_error": std_error.ravel(),
            "conf_low": (estimate - margin).ravel(),
            "conf_high": (estimate + margin).ravel(),
            "n_trials": np.repeat(n_trials, n_terms).astype("float64"),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )
    return CoefficientTable.from_frame(frame, covariance, table.people, dict(info))


def lay_out_refit(
    table: TrialTable,
    refit: RefitResult,
    inclusion: np.ndarray | None,
    info: Mapping[str, Any],
    factors: np.ndarray,
    pooled: PooledEquations | None = None,
) -> CoefficientTable:
    """Lay a refit, and pooled equations where there are some, out in the unit of the data.

    ``factors`` (K,) are those of `unit_factors`. Without inclusion probabilities (P, K) their column is missing (NaN).
    """
    equations = in_unit_of_data(refit.equations, factors)
    covariance = refit.covariance * np.outer(factors, factors)
    shape = equations.status.shape
    columns = {
        "selected": equations.status != EXCLUDED,
        "inclusion_prob": np.full(shape, np.nan) if inclusion is None else inclusion,
        "converged": np.broadcast_to(refit.converged[:, None], shape),
        "at_bound": refit.at_bound,
    }
    if pooled is not None:
        columns["pooled"] = in_unit_of_data(pooled.equations, factors).coefficients
        columns |= {"pooled_sd": pooled.sd * factors, "shared": np.zeros(shape, dtype=bool)}
    std_error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    return lay_out(table, equations.terms, equations.coefficients, std_error, covariance, refit.n_trials, info, columns)
