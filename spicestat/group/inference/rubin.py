"""Rubin's rules: estimates of several imputations as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError
from spicestat.group.inputs.contract import GroupEstimates

__all__ = ["barnard_rubin", "pooled_estimates"]

_EFFECT = ["module", "sparse_term", "term"]


def barnard_rubin(share: np.ndarray, n_imputations: int, complete: np.ndarray) -> np.ndarray:
    r"""Return degrees of freedom of pooled estimates.

    .. math:: \nu = (1/\nu_m + 1/\nu_o)^{-1}, \quad \nu_m = (m - 1) / \lambda^2, \quad
        \nu_o = \frac{\nu_c + 1}{\nu_c + 3} \nu_c (1 - \lambda)

    Parameters
    ----------
    share : ndarray
        :math:`\lambda`, the share of the variance that comes from imputation.
    n_imputations : int
        m.
    complete : ndarray
        :math:`\nu_c`, degrees of freedom if nothing were missing; may be infinite.

    References
    ----------
    Barnard & Rubin (1999), https://doi.org/10.1093/biomet/86.4.948.

    Examples
    --------
    >>> barnard_rubin(np.array([0.0, 0.2]), 20, np.array([40.0, 40.0])).round(2).tolist()
    [38.14, 28.67]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (n_imputations - 1) / share**2
        observed = np.where(np.isinf(complete), np.inf, (complete + 1) / (complete + 3) * complete * (1 - share))
        return np.asarray(1.0 / (1.0 / between + 1.0 / observed))


def pooled_estimates(found: Sequence[GroupEstimates], missing: str) -> GroupEstimates:
    """Pool what a group method found in several imputations.

    Parameters
    ----------
    found : sequence of GroupEstimates
        Of the same coefficients and effects.
    missing : str
        What was imputed, for the first message.

    Raises
    ------
    ConfigError
        The method has tests of its own, or draws, which Rubin's rules do not pool.

    References
    ----------
    Rubin (1987), Multiple Imputation for Nonresponse in Surveys, https://doi.org/10.1002/9780470316696.
    """
    first = found[0]
    if {"p_value", "conf_low"} & set(first.fixed.columns) or first.posterior is not None:
        raise ConfigError(
            "multiple imputation pools estimates with standard errors, and this method has tests or draws of its own",
            do='use method="hierarchical", "meta", "multivariate_meta", "mixed" or "ols", or complete cases',
        )
    keys = [set(map(tuple, one.fixed[_EFFECT].to_numpy())) for one in found]
    if any(own != keys[0] for own in keys):
        raise ConfigError("imputations lead to models of different coefficients", do="leave out rare levels of factors")
    m = len(found)
    tables = [one.fixed for one in found]
    values = _stacked(tables, "estimate")
    complete = _stacked(tables, "df").mean(axis=0)
    within, between = _variances(values, _stacked(tables, "std_error"))
    variance = within + between
    share = between / variance
    fixed = first.fixed.assign(
        estimate=values.mean(axis=0), std_error=np.sqrt(variance), df=barnard_rubin(share, m, complete)
    )
    worst = int(np.argmax(share))
    effect = ":".join(fixed.iloc[worst][["module", "sparse_term"]])
    said = (
        f"{missing}: {m} imputations by chained equations, pooled by Rubin's rules; of the uncertainty about effects "
        f"at most {100 * share[worst]:.0f} % comes from them ('{fixed['term'].iloc[worst]}' of {effect})"
    )
    return replace(
        first,
        fixed=fixed,
        ran_pars=_averaged(found, "ran_pars"),
        glance=_glances(found),
        covariance=_covariances(found, fixed, values),
        joint_covariance=_joint(found, fixed, values),
        ran_vals=None if first.ran_vals is None else _averaged(found, "ran_vals"),
        shrunken=_shrunken(found),
        messages=(said, *dict.fromkeys(text for one in found for text in one.messages)),
        doubt=next((one.doubt for one in found if one.doubt), ""),
    )


def _stacked(tables: Sequence[pd.DataFrame], name: str) -> np.ndarray:
    return np.stack([table[name].to_numpy(dtype="float64") for table in tables])


def _variances(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance within imputations, and between them, of estimates (m, ...) with standard errors."""
    return (errors**2).mean(axis=0), (1.0 + 1.0 / len(values)) * values.var(axis=0, ddof=1)


def _shrunken(found: Sequence[GroupEstimates]) -> pd.DataFrame | None:
    """Average people's coefficients."""
    tables = [one.shrunken for one in found if one.shrunken is not None]
    if not tables:
        return None
    middle = np.mean([table.to_numpy(dtype="float64") for table in tables], axis=0)
    return pd.DataFrame(middle, index=tables[0].index, columns=tables[0].columns)


def _averaged(found: Sequence[GroupEstimates], table: str) -> pd.DataFrame:
    """Average the estimates of a table, with Rubin's rule for standard errors where it has some."""
    frames: list[pd.DataFrame] = [getattr(one, table) for one in found]
    first = frames[0]
    if first.empty:
        return first
    values = _stacked(frames, "estimate")
    pooled = {"estimate": values.mean(axis=0)}
    if "std_error" in first:
        within, between = _variances(values, _stacked(frames, "std_error"))
        pooled["std_error"] = np.sqrt(within + between)
    if "weight" in first:
        pooled["weight"] = _stacked(frames, "weight").mean(axis=0)
    return first.assign(**pooled)


def _glances(found: Sequence[GroupEstimates]) -> pd.DataFrame:
    """Average what is a real number, and join what is a fact."""
    first = found[0].glance.copy()
    for name in first.columns:
        columns = [one.glance[name] for one in found]
        if name == "converged":
            first[name] = np.logical_and.reduce([column.to_numpy(dtype=bool) for column in columns])
        elif pd.api.types.is_float_dtype(first[name]):
            first[name] = np.mean([column.to_numpy(dtype="float64") for column in columns], axis=0)
    return first


def _total(blocks: Sequence[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Total covariance of effects, from covariances (p, p) and estimates (m, p)."""
    away = values - values.mean(axis=0)
    m = len(values)
    return np.asarray(np.mean(blocks, axis=0) + (1.0 + 1.0 / m) * (away.T @ away) / (m - 1))


def _covariances(
    found: Sequence[GroupEstimates], fixed: pd.DataFrame, values: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    pooled = {}
    for key in found[0].covariance:
        own = ((fixed["module"] == key[0]) & (fixed["sparse_term"] == key[1])).to_numpy()
        pooled[key] = _total([np.asarray(one.covariance[key]) for one in found], values[:, own])
    return pooled


def _joint(found: Sequence[GroupEstimates], fixed: pd.DataFrame, values: np.ndarray) -> pd.DataFrame | None:
    """Pool the covariance of all effects that are in the table."""
    first = found[0].joint_covariance
    if first is None:
        return None
    effects = list(fixed[_EFFECT].itertuples(index=False, name=None))
    joints = [one.joint_covariance for one in found if one.joint_covariance is not None]
    blocks = [joint.loc[effects, effects].to_numpy() for joint in joints]
    index = pd.MultiIndex.from_tuples(effects, names=first.index.names)
    return pd.DataFrame(_total(blocks, values), index=index, columns=index)
