"""From a method's estimates to the rows of a group result: tests, adjustment, intervals, withholding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spicestat._checks import check_level
from spicestat.errors import ConfigError
from spicestat.group.inference.max_t import max_t_adjust
from spicestat.group.inference.multiplicity import MAX_T, adjust_families
from spicestat.group.inputs.contract import GroupEstimates

__all__ = ["COLUMNS", "GLANCE", "SAMPLING", "coefficient_table", "glance_table", "intervals"]

COLUMNS = (
    "module",
    "sparse_term",
    "effect",
    "group",
    "level",
    "term",
    "estimate",
    "std_error",
    "statistic",
    "df",
    "p_value",
    "p_adjusted",
    "conf_low",
    "conf_high",
    "conf_level",
)
GLANCE = (
    "module",
    "sparse_term",
    "nobs",
    "tau_squared",
    "tau_squared_se",
    "i_squared",
    "h_squared",
    "cochran_qe",
    "p_value_cochran_qe",
    "cochran_qm",
    "p_value_cochran_qm",
    "df_residual",
    "log_lik",
    "aic",
    "bic",
    "n_excluded",
    "share_unidentified",
    "withheld",
    "converged",
    "contradictions",
    "method",
    "formula",
)
SAMPLING = ("rhat", "ess_bulk", "ess_tail", "n_divergent")
"""Columns that `glance` has in addition where a posterior was sampled: the worst of all parameters."""

_KINDS = {"nobs": "int64", "n_excluded": "int64", "withheld": "bool", "converged": "bool"}
_TEXT = ("module", "sparse_term", "effect", "group", "level", "term")


def coefficient_table(
    estimates: GroupEstimates,
    withheld: Mapping[tuple[str, str], bool],
    terms: Mapping[str, str],
    *,
    adjust: str,
    conf_level: float,
) -> pd.DataFrame:
    """Return the rows of a group result, with exactly the columns `COLUMNS`.

    Parameters
    ----------
    estimates : GroupEstimates
    withheld : mapping of (module, sparse_term) to bool
        Equations whose p-values and intervals are NaN. They do not count as tests
        when p-values are adjusted.
    terms : mapping of str to str
        The term of the formula of each effect: all levels of a factor are adjusted together.
    adjust : str
        See `adjust_p_values`.
    conf_level : float
        In (0, 1).
    """
    fixed = estimates.fixed.assign(effect="fixed")
    error = fixed["std_error"].to_numpy()
    tested = np.isfinite(error) & (error > 0)
    fixed["statistic"] = np.divide(fixed["estimate"], error, out=np.full(len(fixed), np.nan), where=tested)
    hidden = np.array([withheld[key] for key in zip(fixed["module"], fixed["sparse_term"], strict=True)])
    p_value = 2.0 * student.sf(np.abs(fixed["statistic"].to_numpy()), fixed["df"].to_numpy())
    own = set(estimates.fixed.columns)
    fixed["p_value"] = np.where(hidden, np.nan, fixed["p_value"] if "p_value" in own else p_value)
    if "p_adjusted" in own:
        fixed["p_adjusted"] = fixed["p_adjusted"].where(~hidden)
    elif adjust.lower() == MAX_T.lower():
        fixed["p_adjusted"] = np.where(hidden, np.nan, _max_t(estimates, fixed, hidden, _families(fixed, terms)))
    else:
        fixed["p_adjusted"] = adjust_families(fixed["p_value"].to_numpy(), _families(fixed, terms), adjust)
    if "conf_low" in own:
        fixed["conf_low"], fixed["conf_high"] = (fixed[name].where(~hidden) for name in ("conf_low", "conf_high"))
    else:
        fixed["conf_low"], fixed["conf_high"] = intervals(fixed, conf_level)
    spread = estimates.ran_pars.assign(effect="ran_pars")
    together = fixed if spread.empty else pd.concat([fixed, spread], ignore_index=True)
    frame = together.reindex(columns=COLUMNS)
    frame["conf_level"] = conf_level
    return _typed(frame)


def _families(fixed: pd.DataFrame, terms: Mapping[str, str]) -> list[tuple[object, object]]:
    """Return each row's family: a term of the formula, in one part of the model."""
    part = fixed["group"] if "group" in fixed else pd.Series([None] * len(fixed))
    return list(zip(fixed["term"].map(terms), part, strict=True))


def _max_t(
    estimates: GroupEstimates, fixed: pd.DataFrame, hidden: np.ndarray, families: list[tuple[object, object]]
) -> np.ndarray:
    """Adjust by the distribution of the largest statistic of a family, from permutations or the joint covariance."""
    if estimates.max_t is not None:
        return np.asarray(estimates.max_t, dtype="float64")
    if estimates.joint_covariance is None:
        raise ConfigError(
            f'adjust="{MAX_T}" needs the covariance of all effects together',
            do='use method="hierarchical", "multivariate_meta" or "permutation", or another adjustment',
        )
    adjusted = np.full(len(fixed), np.nan)
    usable = ~hidden & np.isfinite(fixed["statistic"].to_numpy())
    for family in dict.fromkeys(families):
        rows = np.flatnonzero([other == family for other in families] & usable)
        if len(rows):
            keys = list(fixed.iloc[rows][["module", "sparse_term", "term"]].itertuples(index=False, name=None))
            block = estimates.joint_covariance.loc[keys, keys].to_numpy()
            error = np.sqrt(np.diag(block))
            statistic, df = (fixed[name].to_numpy(dtype="float64")[rows] for name in ("statistic", "df"))
            adjusted[rows] = max_t_adjust(statistic, block / np.outer(error, error), df)
    return adjusted


def intervals(fixed: pd.DataFrame, conf_level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper limits of t intervals, NaN where the p-value is withheld.

    Parameters
    ----------
    fixed : DataFrame
        Columns ``estimate, std_error, df, p_value``.
    conf_level : float
        In (0, 1).
    """
    level = check_level(conf_level)
    half = student.ppf(0.5 + level / 2.0, fixed["df"].to_numpy(dtype="float64")) * fixed["std_error"].to_numpy()
    half = np.where(fixed["p_value"].isna().to_numpy(), np.nan, half)
    centre = fixed["estimate"].to_numpy()
    return centre - half, centre + half


def glance_table(estimates: GroupEstimates, *, max_unidentified: float, method: str, formula: str) -> pd.DataFrame:
    """Return the one-row-per-equation summary: the columns `GLANCE`, and `SAMPLING` where there are some."""
    sampled = [name for name in SAMPLING if name in estimates.glance]
    glance = estimates.glance.reindex(columns=[*GLANCE, *sampled])
    # draws say themselves how far they are from convergence
    stuck = np.zeros(len(glance), dtype=bool) if sampled else ~estimates.glance["converged"].astype(bool)
    glance["withheld"] = (estimates.glance["share_unidentified"] > max_unidentified) | stuck | bool(estimates.doubt)
    glance.loc[glance["withheld"], ["p_value_cochran_qe", "p_value_cochran_qm"]] = np.nan
    glance["method"], glance["formula"] = method, formula
    # what only some methods can notice; "" where nothing is wrong
    glance["contradictions"] = glance["contradictions"].astype(object).where(glance["contradictions"].notna(), "")
    for name in GLANCE[2:-3]:
        values = glance[name].to_numpy()
        glance[name] = values.astype(_KINDS.get(name, "float64"))
    return glance


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    typed = frame.copy()
    for name in COLUMNS:
        if name in _TEXT:
            column = frame[name].astype(object)
            typed[name] = column.where(column.notna(), None)
        else:
            typed[name] = frame[name].astype("float64")
    return typed
