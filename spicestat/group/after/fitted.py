"""A fitted group model as arrays: the starting point for everything computed from its coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spicestat._checks import check_level
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError
from spicestat.group.formula.design import Design
from spicestat.group.inputs.contract import Posterior
from spicestat.group.inputs.links import Link, find_link

__all__ = [
    "DescribedGroup",
    "FittedEquation",
    "FittedGroup",
    "design_of",
    "equation_keys",
    "fitted_equation",
    "fitted_equations",
    "t_interval",
    "t_test",
    "table_of",
]


class FittedGroup(Protocol):
    """What the functions on a group model read from it; `spicestat.group.GroupResult` has all of it."""

    @property
    def method(self) -> str:
        """Name of the method, as given to `spice_group`."""

    @property
    def reads_choices(self) -> bool:
        """Whether the method reads the choices themselves, not people's estimates."""

    @property
    def coefficients(self) -> pd.DataFrame:
        """Rows of the result, fixed effects and standard deviations."""

    @property
    def glance_frame(self) -> pd.DataFrame:
        """One row per equation, or one for a joint model."""

    @property
    def covariance(self) -> Mapping[tuple[str, str], pd.DataFrame]:
        """Covariance of each equation's fixed effects, by (module, sparse_term)."""

    @property
    def joint_covariance(self) -> pd.DataFrame | None:
        """Covariance of all fixed effects, index (module, sparse_term, term), where the method gives it."""

    @property
    def design(self) -> Design | None:
        """Design matrix; None where a result was put together by hand."""

    @property
    def table(self) -> CoefficientTable | None:
        """Participants' coefficients; None where a result was put together by hand."""

    @property
    def ran_vals(self) -> pd.DataFrame | None:
        """Participants' deviations, where the method gives them."""

    @property
    def links(self) -> Mapping[tuple[str, str], str]:
        """Link of each equation; the identity where absent."""

    @property
    def posterior(self) -> Posterior | None:
        """Draws, where the method samples."""

    @property
    def conf_level(self) -> float:
        """Level of intervals."""


class DescribedGroup(FittedGroup, Protocol):
    """What printing and files need besides; `spicestat.group.GroupResult` has all of it."""

    @property
    def formula(self) -> str:
        """Model formula."""

    @property
    def adjust(self) -> str:
        """How p-values are adjusted."""

    @property
    def messages(self) -> tuple[str, ...]:
        """What to know, and why inference is withheld."""

    @property
    def skipped(self) -> pd.DataFrame:
        """Equations that were left out, with the reason."""


@dataclass(frozen=True)
class FittedEquation:
    """The fixed effects of one (module, sparse_term).

    Attributes
    ----------
    module, sparse_term : str
        Which coefficient of the equations it is.
    names : tuple of str, length p
        Columns of the design matrix.
    beta : ndarray of shape (p,)
        Effects on the link scale.
    covariance : ndarray of shape (p, p)
        Of ``beta``.
    df : ndarray of shape (p,)
        Degrees of freedom of each effect, infinite for normal tests.
    link : Link
        From the equation's coefficient to the scale of ``beta``.
    withheld : bool
        Whether inference is withheld: then there are no intervals and no p-values.
    spread : float
        Standard deviation between participants that the covariates leave, on the link scale; NaN where the
        method has none. The square root of the summed variances ``sd__(Intercept)`` and ``sd__Observation``.
    spread_error : float
        Standard error of ``spread``: the method's own, or from that of tau squared where it gives one, otherwise that
        of a standard deviation of a normal sample, ``spread / sqrt(2 df)``.
    of_presence : bool
        Whether these are effects on the log odds that a participant's equation has the term. A model with two parts
        gives the effects on its magnitude, and these only where the term has no other.
    """

    module: str
    sparse_term: str
    names: tuple[str, ...]
    beta: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    link: Link
    withheld: bool
    spread: float
    spread_error: float
    of_presence: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The pair (module, sparse_term)."""
        return self.module, self.sparse_term

    def df_of(self, weights: np.ndarray) -> np.ndarray:
        """Return degrees of freedom of linear functions (m, p) of the effects: the smallest of those involved."""
        involved = np.where(np.asarray(weights) != 0.0, self.df, np.inf)
        smallest: np.ndarray = np.min(involved, axis=1)
        # all weights zero, as in a polynomial at 0: any df will do, as the standard error is 0
        return np.where(np.isfinite(smallest), smallest, np.min(self.df))


def fitted_equations(
    model: FittedGroup, equations: Sequence[tuple[str, str]] | None = None
) -> tuple[FittedEquation, ...]:
    """Return the fitted equations of a group model, all or some.

    Raises
    ------
    ConfigError
        An equation is not in the model, or the method gives no covariance of its effects.
    """
    fixed, present = _fixed(model), equation_keys(model)
    wanted = present if equations is None else [tuple(pair) for pair in equations]
    unknown = [pair for pair in wanted if pair not in present]
    if unknown:
        raise ConfigError("no such equation in the group model", got=unknown, allowed=present)
    return tuple(_fitted(model, fixed, str(module), str(term)) for module, term in wanted)


def equation_keys(
    model: FittedGroup, module: str | None = None, sparse_term: str | None = None
) -> list[tuple[str, str]]:
    """Return the equations (module, sparse_term) of a group model, all or those of a module or with a term.

    Raises
    ------
    ConfigError
        There is none.
    """
    fixed = _fixed(model)
    present = list(dict.fromkeys(zip(fixed["module"], fixed["sparse_term"], strict=True)))
    found = [key for key in present if module in (None, key[0]) and sparse_term in (None, key[1])]
    if not found:
        raise ConfigError("no such equation in the group model", got=(module, sparse_term), allowed=present)
    return found


def _fixed(model: FittedGroup) -> pd.DataFrame:
    return model.coefficients[model.coefficients["effect"] == "fixed"]


def fitted_equation(model: FittedGroup, module: str, sparse_term: str) -> FittedEquation:
    """Return one fitted equation; see `fitted_equations`."""
    return fitted_equations(model, [(module, sparse_term)])[0]


def design_of(model: FittedGroup) -> Design:
    """Return a group model's design, or raise `DataError` if it has none."""
    if model.design is None:
        raise DataError("the group result has no design matrix", do="use a result of `spice_group`")
    return model.design


def table_of(model: FittedGroup) -> CoefficientTable:
    """Return a group model's coefficient table, or raise `DataError` if it has none."""
    if model.table is None:
        raise DataError("the group result has no coefficient table", do="use a result of `spice_group`")
    return model.table


def t_interval(
    estimate: np.ndarray, std_error: np.ndarray, df: np.ndarray, conf_level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of t intervals.

    Examples
    --------
    >>> low, high = t_interval(np.array([1.0]), np.array([0.5]), np.array([np.inf]), 0.95)
    >>> low.round(3).item(), high.round(3).item()
    (0.02, 1.98)
    """
    half = student.ppf(0.5 + check_level(conf_level) / 2.0, df) * std_error
    return estimate - half, estimate + half


def t_test(estimate: np.ndarray, std_error: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return t statistics and two-sided p-values, NaN where the standard error is not positive."""
    known = np.isfinite(std_error) & (std_error > 0)
    statistic = np.divide(estimate, std_error, out=np.full(np.shape(estimate), np.nan), where=known)
    return statistic, 2.0 * student.sf(np.abs(statistic), df)


def _fitted(model: FittedGroup, fixed: pd.DataFrame, module: str, sparse_term: str) -> FittedEquation:
    key = (module, sparse_term)
    rows = fixed[(fixed["module"] == module) & (fixed["sparse_term"] == sparse_term)]
    names = tuple(design_of(model).names)
    of_presence = model.method == "presence" or bool((rows["group"] == "presence").all())
    if not of_presence:
        rows = rows[rows["group"] != "presence"]
    by_term = rows.set_index("term")
    if key not in model.covariance:
        raise ConfigError(f"the method gives no covariance of the effects on {module} / {sparse_term}")
    if by_term.empty or not set(by_term.index) <= set(names):
        raise DataError("the coefficients do not match the design", got=list(by_term.index), allowed=list(names))
    # a covariate that is kept off this coefficient has the effect 0 for certain
    filled = by_term[["estimate", "df"]].reindex(list(names))
    filled = filled.fillna({"estimate": 0.0, "df": float(by_term["df"].min())})
    covariance = model.covariance[key].reindex(index=list(names), columns=list(names), fill_value=0.0)
    spread, own_error = _spread(model.coefficients, key)
    df = filled["df"].to_numpy(dtype="float64")
    return FittedEquation(
        module,
        sparse_term,
        names,
        filled["estimate"].to_numpy(dtype="float64"),
        covariance.to_numpy(dtype="float64"),
        df,
        find_link(model.links.get(key, "identity")),
        bool(rows["p_value"].isna().all() and rows["conf_low"].isna().all()),
        spread,
        own_error if np.isfinite(own_error) else _spread_error(model.glance_frame, key, spread, float(np.min(df))),
        of_presence,
    )


def _spread(coefficients: pd.DataFrame, key: tuple[str, str]) -> tuple[float, float]:
    """Return the standard deviation between participants, and its standard error where the table has it."""
    here = (coefficients["module"] == key[0]) & (coefficients["sparse_term"] == key[1])
    sds = here & coefficients["term"].isin(["sd__(Intercept)", "sd__Observation"])
    rows = coefficients[sds & (coefficients["effect"] == "ran_pars")]
    values = rows["estimate"].to_numpy(dtype="float64")
    if len(values) == 1:
        return float(values[0]), float(rows["std_error"].iloc[0])
    return (float(np.sqrt(np.sum(values**2))) if len(values) else np.nan), np.nan


def _spread_error(glance: pd.DataFrame, key: tuple[str, str], spread: float, df: float) -> float:
    here = glance[(glance["module"] == key[0]) & (glance["sparse_term"] == key[1])]
    if len(here) == 1 and "tau_squared_se" in here:
        error, tau_squared = float(here["tau_squared_se"].iloc[0]), float(here["tau_squared"].iloc[0])
        if np.isfinite(error) and np.isclose(tau_squared, spread**2):
            return error / (2.0 * spread) if spread > 0 else np.nan
    return spread / float(np.sqrt(2.0 * df)) if np.isfinite(df) else np.nan
