"""Quantities derived from equation coefficients, with delta-method standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from spicestat.coefficients import COLUMNS, CoefficientTable
from spicestat.errors import ConfigError, DataError, ExclusionWarning, warn_user
from spicestat.group.after.expressions import Expression, parse_expression, term_name
from spicestat.group.after.fitted import FittedEquation, FittedGroup, fitted_equations, t_interval
from spicestat.group.after.marginal_means import marginal_means
from spicestat.group.after.quantities import (
    fixed_point,
    forgetting_rate,
    half_life,
    inverse_temperature,
    learning_rate,
    perseveration,
    standard_quantities,
)
from spicestat.group.formula.design import name_some

__all__ = [
    "DERIVED",
    "derived_means",
    "fixed_point",
    "forgetting_rate",
    "half_life",
    "inverse_temperature",
    "learning_rate",
    "perseveration",
    "standard_quantities",
    "with_derived",
]

DERIVED = "derived"
"""Module name of derived quantities in a coefficient table."""
_NORMAL_95 = 1.959963984540054


def with_derived(
    table: CoefficientTable, expressions: Mapping[str, str | Expression], *, keep: bool = True
) -> CoefficientTable:
    r"""Add derived quantities to every participant's coefficients.

    With a participant's coefficients c and their covariance V, the quantity is g(c) and its variance
    :math:`\nabla g' V \nabla g`. The result is a coefficient table with rows of module ``derived``, which
    `spice_group` analyses like any other: ``spice_group(with_derived(table, ...), "~ age", modules="derived")``.

    A quantity exists for the participants who have all its terms in their equation and for whom it is defined
    (no division by 0, no logarithm of a negative number); the others have ``selected`` False. It is at a bound or not
    converged if one of its terms is. A term that the structure fixes (the same value for
    everybody, no standard error) is a known number. The delta method is a linear approximation: a ratio
    whose denominator is within about three standard errors of 0 has no useful standard error.

    Beware of quantities whose standard error grows with the quantity, such as half-lives and ratios: a group
    model that weights by precision then believes the small ones and its mean is too low. (16 simulated
    participants, forgetting .25: mean half-life 1.6, where the mean forgetting rate of .20 means 3.1.) Analyse the
    logarithm, ``log(log(0.5) / log(...))``, or take `derived_means` of a hierarchical model.

    Parameters
    ----------
    table : CoefficientTable
    expressions : mapping of name to expression
        See `parse_expression`; `standard_quantities` gives the usual ones.
    keep : bool, default True
        Whether the original terms stay in the table.

    Raises
    ------
    ConfigError
        An expression cannot be read, names an unknown term, or a name is taken.
    DataError
        An expression needs covariances that the table does not have.

    Warns
    -----
    ExclusionWarning
        A quantity is not defined for some participants.

    Examples
    --------
    >>> table = CoefficientTable.from_frame(pd.DataFrame({
    ...     "participant": ["a", "b"], "module": "x_value", "term": "x_value",
    ...     "estimate": [0.8, 0.5], "std_error": [0.02, 0.1]}))
    >>> derived = with_derived(table, {"half-life": 'log(0.5) / log(x_value["x_value"])'}, keep=False)
    >>> derived.frame[["term", "estimate", "std_error"]].round(3).to_dict("list")
    {'term': ['half-life', 'half-life'], 'estimate': [3.106, 1.0], 'std_error': [0.348, 0.289]}
    """
    parsed = _parsed(expressions, table)
    values, covariance, constant = _free_covariance(table)
    selected, converged, at_bound = (
        table.wide(name).to_numpy(dtype=bool) for name in ("selected", "converged", "at_bound")
    )
    jacobian = np.zeros((len(values), len(parsed), values.shape[1]))
    rows = []
    for row, (name, expression) in enumerate(parsed.items()):
        columns = [table.terms.index(pair) for pair in expression.terms]
        _check_covariance(table, expression, [column for column in columns if not constant[column]])
        value, gradient = expression.evaluate(values[:, columns])
        has_terms = selected[:, columns].all(axis=1)
        defined = np.isfinite(value)
        _warn_undefined(name, table, has_terms & ~defined)
        jacobian[:, row, columns] = gradient
        variance = _quadratic(gradient, covariance[:, columns][:, :, columns])
        used = has_terms & defined
        rows.append(
            {
                "term": name,
                "estimate": np.where(used, value, 0.0),
                "std_error": np.where(used & (variance > 0), np.sqrt(np.maximum(variance, 0.0)), np.nan),
                "selected": used,
                "converged": converged[:, columns].all(axis=1),
                "at_bound": at_bound[:, columns].any(axis=1),
            }
        )
    frame = _derived_frame(table, rows)
    blocks = _extended(covariance, jacobian) if table.covariance is not None else None
    return _assembled(table, frame, blocks, keep)


def derived_means(
    model: FittedGroup,
    expressions: Mapping[str, str | Expression],
    variables: str | Sequence[str] = (),
    *,
    by: str | Sequence[str] = (),
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    cov_keep: int = 2,
    conf_level: float | None = None,
) -> pd.DataFrame:
    r"""Return derived quantities of the marginal mean coefficients, with delta-method intervals.

    Every term of an expression is replaced by its equation's marginal mean on the natural scale (see
    `marginal_means`). The errors of terms of different equations are correlated; their covariance has to come from
    the method. The quantity of the mean coefficients is not the mean of the participants' quantities unless
    the expression is linear: for the latter analyse `with_derived`.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    expressions : mapping of name to expression
    variables, by, at, weights, cov_keep, conf_level
        As in `marginal_means`.

    Returns
    -------
    DataFrame
        ``quantity``, the variables, ``estimate, std_error, df, conf_low, conf_high, conf_level``. Degrees of
        freedom are the smallest of the effects involved.

    Raises
    ------
    ConfigError
        An expression names what is not in the model, or terms of several equations while the method gives no
        covariance between equations.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> derived_means(group, {"percent": '100 * x_value["reward"]'}, "ill")["estimate"].round(1).tolist()
    [42.1, 45.9]
    """
    fitted = {equation.key: equation for equation in fitted_equations(model)}
    parsed = {name: _expression(text) for name, text in expressions.items()}
    if not parsed:
        raise ConfigError("no expression was given")
    frames = []
    for name, expression in parsed.items():
        unknown = [pair for pair in expression.terms if pair not in fitted]
        if unknown:
            raise ConfigError(f"'{name}' names terms that are not in the model", got=unknown, allowed=list(fitted))
        means = marginal_means(
            model, variables, by=by, at=at, weights=weights, cov_keep=cov_keep, conf_level=conf_level,
            equations=expression.terms,
        )  # fmt: skip
        involved = [fitted[pair] for pair in expression.terms]
        frame = means.grid.copy()
        frame.insert(0, "quantity", name)
        columns = _mean_columns(model, expression, involved, means.weights, means.conf_level)
        frames.append(frame.assign(**columns, conf_level=means.conf_level))
    return pd.concat(frames, ignore_index=True)


def _expression(text: str | Expression) -> Expression:
    return text if isinstance(text, Expression) else parse_expression(text)


def _parsed(expressions: Mapping[str, str | Expression], table: CoefficientTable) -> dict[str, Expression]:
    if not expressions:
        raise ConfigError("no expression was given")
    parsed = {str(name): _expression(text) for name, text in expressions.items()}
    taken = [name for name in parsed if (DERIVED, name) in table.terms]
    if taken:
        raise ConfigError("the table has these derived quantities already", got=taken, do="choose other names")
    for name, expression in parsed.items():
        unknown = [pair for pair in expression.terms if pair not in table.terms]
        if unknown:
            raise ConfigError(
                f"'{name}' names terms that are not in the table",
                got=", ".join(term_name(*pair) for pair in unknown),
                allowed=", ".join(term_name(*pair) for pair in table.terms),
            )
    return parsed


def _free_covariance(table: CoefficientTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return estimates (P, K), their covariance (P, K, K), and which terms are known numbers (K,)."""
    values = table.wide().to_numpy(dtype="float64")
    errors = table.wide("std_error").to_numpy(dtype="float64")
    fixed = table.wide("selected") & table.wide("converged") & ~table.wide("at_bound")
    known = [values[fixed.iloc[:, k], k] for k in range(values.shape[1])]
    constant = ~np.isfinite(errors).any(axis=0) & np.array([len(np.unique(column)) == 1 for column in known])
    if table.covariance is not None:
        covariance = np.array(table.covariance, dtype="float64")
    else:
        covariance = np.full((*values.shape, values.shape[1]), np.nan)
    place = np.arange(values.shape[1])
    missing = np.isnan(covariance[:, place, place])
    covariance[:, place, place] = np.where(missing, errors**2, covariance[:, place, place])
    covariance[:, constant, :] = 0.0
    covariance[:, :, constant] = 0.0
    return values, covariance, constant


def _check_covariance(table: CoefficientTable, expression: Expression, uncertain: list[int]) -> None:
    if table.covariance is None and len(uncertain) > 1:
        raise DataError(
            f"'{expression.text}' needs the covariance of its terms, which this table does not have",
            do="use the coefficients of a fit, or a fit folder, in place of a table of standard errors",
        )


def _quadratic(gradient: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return gradient' covariance gradient for each participant; a zero slope needs no covariance."""
    used = gradient[:, :, None] * gradient[:, None, :]
    return np.asarray(np.where(used == 0.0, 0.0, used * covariance).sum(axis=(1, 2)))


def _warn_undefined(name: str, table: CoefficientTable, who: np.ndarray) -> None:
    if who.any():
        labels = [label for label, lacking in zip(table.participants, who, strict=True) if lacking]
        warn_user(
            f"'{name}' is not defined for {len(labels)} of {len(who)} participants: {name_some(labels)}.",
            ExclusionWarning,
        )


def _derived_frame(table: CoefficientTable, rows: list[dict[str, Any]]) -> pd.DataFrame:
    trials = table.wide("n_trials").max(axis=1).to_numpy(dtype="float64")
    frames = []
    for row in rows:
        frame = pd.DataFrame({"participant": table.participants, "module": DERIVED, **row})
        half = _NORMAL_95 * frame["std_error"]
        frame["conf_low"], frame["conf_high"] = frame["estimate"] - half, frame["estimate"] + half
        frames.append(frame.assign(inclusion_prob=np.nan, n_trials=trials))
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _extended(covariance: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Return the covariance (P, K + D, K + D) of the terms followed by the derived quantities."""
    known = np.nan_to_num(covariance)
    whole = np.concatenate([np.broadcast_to(np.eye(covariance.shape[1]), covariance.shape), jacobian], axis=1)
    extended = np.einsum("pik,pkl,pjl->pij", whole, known, whole)
    # an entry is unknown if any unknown covariance would have entered it
    unknown = np.einsum("pik,pkl,pjl->pij", whole != 0.0, np.isnan(covariance), whole != 0.0) > 0
    unknown |= ~np.isfinite(extended)
    return np.where(unknown, np.nan, extended)


def _assembled(table: CoefficientTable, frame: pd.DataFrame, blocks: np.ndarray | None, keep: bool) -> CoefficientTable:
    together = pd.concat([table.frame, frame], ignore_index=True) if keep else frame
    names = list(dict.fromkeys(frame["term"]))
    order = [*table.terms, *((DERIVED, name) for name in names)]
    info = {**table.info, "derived": names}
    made = CoefficientTable.from_frame(together, None, table.people, info)
    if blocks is None:
        return made
    place = [order.index(pair) for pair in made.terms]
    return CoefficientTable(made.frame, blocks[:, place][:, :, place], table.people, info)


def _mean_columns(
    model: FittedGroup, expression: Expression, involved: list[FittedEquation], linear: np.ndarray, conf_level: float
) -> dict[str, np.ndarray]:
    """Return estimate, error and interval of an expression at every row of marginal means (m, p)."""
    eta = np.stack([linear @ equation.beta for equation in involved], axis=1)
    pairs = list(zip(involved, eta.T, strict=True))
    natural = np.stack([equation.link.to_natural(column) for equation, column in pairs], axis=1)
    slope = np.stack([equation.link.derivative(column) for equation, column in pairs], axis=1)
    value, gradient = expression.evaluate(natural)
    covariance = _between(model, involved)
    # gradient of the expression by all effects: (m, k, p) flattened as the covariance is
    jacobian = ((gradient * slope)[:, :, None] * linear[:, None, :]).reshape(len(linear), -1)
    error = np.sqrt(np.maximum(np.einsum("mi,ij,mj->m", jacobian, covariance, jacobian), 0.0))
    df = np.min([equation.df_of(linear) for equation in involved], axis=0)
    hidden = any(equation.withheld for equation in involved)
    low, high = t_interval(value, np.full_like(error, np.nan) if hidden else error, df, conf_level)
    return {"estimate": value, "std_error": error, "df": df, "conf_low": low, "conf_high": high}


def _between(model: FittedGroup, involved: list[FittedEquation]) -> np.ndarray:
    """Return the covariance of the effects of several equations, one block after the other."""
    if len(involved) == 1:
        return involved[0].covariance
    if model.joint_covariance is None:
        raise ConfigError(
            "the method gives no covariance between equations, which an expression over several terms needs",
            got=", ".join(term_name(*equation.key) for equation in involved),
            do='use method="hierarchical" or "multivariate_meta", or analyse `with_derived` of the coefficients',
        )
    labels = [(*equation.key, name) for equation in involved for name in equation.names]
    # effects of covariates that are kept off a coefficient are 0 for certain
    known = model.joint_covariance.reindex(index=labels, columns=labels, fill_value=0.0)
    return np.asarray(known, dtype="float64")
