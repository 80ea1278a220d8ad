"""Effects on the natural scale of a coefficient, averaged over the population, where the model has a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spicestat._checks import check_level
from spicestat.errors import ConfigError, DataError
from spicestat.group.after.fitted import (
    FittedEquation,
    FittedGroup,
    design_of,
    fitted_equations,
    t_interval,
    t_test,
    table_of,
)
from spicestat.group.formula.design import Design
from spicestat.group.inference.multiplicity import adjust_families
from spicestat.group.inputs.links import Link
from spicestat.trials.labels import label_key

__all__ = ["average_effects", "mean_difference", "mean_slope"]

_NODES = 41


@dataclass(frozen=True)
class _Deviations:
    """How far participants' unconstrained coefficients are from their mean: nodes (n or 1, q), weights (q,)."""

    offset: np.ndarray
    weight: np.ndarray
    slope: np.ndarray
    """Derivative of the offset by the spread."""


def average_effects(
    model: FittedGroup,
    variables: str | Sequence[str] | None = None,
    *,
    over: str = "population",
    adjust: str = "BH",
    conf_level: float | None = None,
    equations: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    r"""Return average effects of covariates on coefficients in their own units, such as learning rates.

    With a link, participant i has the coefficient :math:`h(\eta_i)`, :math:`\eta_i = x_i'\gamma + u_i`. The effect of
    a number z is the mean slope :math:`E[h'(\eta_i) \, \partial\eta_i / \partial z]`, which for a logit
    link and no interaction is :math:`\gamma_z E[\alpha (1 - \alpha)]`; that of a factor's level is the mean
    difference :math:`E[h(\eta_i^{level}) - h(\eta_i^{reference})]`. Means are over the participants' covariates and

    - ``over="population"``: over :math:`u \sim N(0, \sigma^2)` as fitted (Gauss-Hermite quadrature). The error
      counts the uncertainty of :math:`\gamma` and of :math:`\sigma`, as if the two were independent;
    - ``over="participants"``: over the participants' posterior means of u, taken as known. These are shrunk, so
      that their spread is too small; the effect is slightly off for that reason.

    Standard errors are by the delta method. Without a link, the effects of a formula without interactions are those of
    the table.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    variables : str or sequence of str, optional
        Covariates. Default: all of the formula.
    over : {"population", "participants"}, default "population"
        Over whom to average; "participants" needs a method that gives their deviations.
    adjust : {"BH", "BY", "holm", "bonferroni", "none"}, default "BH"
        A family is one covariate, all of its levels, over all equations.
    conf_level : float, optional
        In (0, 1). Default: the model's.
    equations : sequence of (module, sparse_term), optional
        Default: all.

    Returns
    -------
    DataFrame
        ``module, sparse_term, variable, contrast`` ("slope", or "level - reference"), ``estimate, std_error, df,
        statistic, p_value, p_adjusted, conf_low, conf_high, conf_level``.

    Raises
    ------
    ConfigError
        A variable is not in the formula, or the method does not give what ``over`` needs.

    References
    ----------
    Average marginal effects as in Williams (2012), https://doi.org/10.1177/1536867X1201200209.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> average_effects(group)[["variable", "contrast", "estimate"]].round(3).to_dict("list")
    {'variable': ['ill', 'age'], 'contrast': ['yes - no', 'slope'], 'estimate': [0.038, 0.01]}
    """
    if over not in ("population", "participants"):
        raise ConfigError("`over` is unknown", got=over, allowed="'population', 'participants'")
    design = design_of(model)
    frame = _covariates(design)
    known = [str(name) for name in frame.columns]
    wanted = known if variables is None else [variables] if isinstance(variables, str) else list(variables)
    if not wanted or not set(wanted) <= set(known):
        raise ConfigError("average effects need covariates of the formula", got=wanted, allowed=", ".join(known))
    level = model.conf_level if conf_level is None else check_level(conf_level)
    changes = {name: _changes(design, frame, name) for name in wanted}
    rows = []
    for equation in fitted_equations(model, equations):
        deviations = _population(equation) if over == "population" else _posterior(model, equation)
        for name in wanted:
            for contrast, first, second in changes[name]:
                rows.append(_row(equation, design, deviations, first, second, contrast).assign(variable=name))
    table = pd.concat(rows, ignore_index=True)
    table["statistic"], p_value = t_test(*(table[name].to_numpy() for name in ("estimate", "std_error", "df")))
    table["p_value"] = np.where(table["withheld"], np.nan, p_value)
    table["p_adjusted"] = adjust_families(table["p_value"].to_numpy(), table["variable"].tolist(), adjust)
    error = table["std_error"].where(~table["withheld"]).to_numpy()
    ends = t_interval(table["estimate"].to_numpy(), error, table["df"].to_numpy(), level)
    table["conf_low"], table["conf_high"] = ends
    table["conf_level"] = level
    columns = ["module", "sparse_term", "variable", "contrast", "estimate", "std_error", "df", "statistic"]
    return table[[*columns, "p_value", "p_adjusted", "conf_low", "conf_high", "conf_level"]]


def mean_slope(
    link: Link, beta: np.ndarray, X: np.ndarray, change: np.ndarray, offset: np.ndarray, weight: np.ndarray
) -> tuple[float, np.ndarray]:
    r"""Return the mean slope :math:`\frac1n \sum_i \sum_q w_q h'(x_i'\beta + u_{iq}) \, d_i'\beta` and its gradient.

    Parameters
    ----------
    link : Link
    beta : ndarray of shape (p,)
    X : ndarray of shape (n, p)
    change : ndarray of shape (n, p)
        Derivative :math:`d_i` of each design row by the covariate.
    offset : ndarray of shape (n or 1, q)
        Deviations u of participants.
    weight : ndarray of shape (q,)
        Adds to 1.

    Examples
    --------
    >>> from spicestat.group.inputs.links import find_link
    >>> X, change = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    >>> mean_slope(find_link("logit"), np.array([0.0, 0.4]), X, change, np.zeros((1, 1)), np.ones(1))[0]
    0.1
    """
    eta = (X @ beta)[:, None] + offset
    slope, curvature = link.derivative(eta) @ weight, link.second_derivative(eta) @ weight
    step = change @ beta
    gradient = ((curvature * step)[:, None] * X + slope[:, None] * change).mean(axis=0)
    return float(np.mean(slope * step)), gradient


def mean_difference(
    link: Link, beta: np.ndarray, X: np.ndarray, reference: np.ndarray, offset: np.ndarray, weight: np.ndarray
) -> tuple[float, np.ndarray]:
    r"""Return the mean of :math:`h(x_i'\beta + u) - h(r_i'\beta + u)` and its gradient by beta.

    Parameters
    ----------
    link, beta, X, offset, weight
        As in `mean_slope`.
    reference : ndarray of shape (n, p)
        Design rows of the same participants with the reference level.

    Examples
    --------
    >>> from spicestat.group.inputs.links import find_link
    >>> X, reference = np.array([[1.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> beta = np.array([0.0, np.log(3.0)])
    >>> round(mean_difference(find_link("logit"), beta, X, reference, np.zeros((1, 1)), np.ones(1))[0], 6)
    0.25
    """
    with_level, without = (X @ beta)[:, None] + offset, (reference @ beta)[:, None] + offset
    value = float(np.mean((link.to_natural(with_level) - link.to_natural(without)) @ weight))
    slopes = link.derivative(with_level) @ weight, link.derivative(without) @ weight
    return value, (slopes[0][:, None] * X - slopes[1][:, None] * reference).mean(axis=0)


def _row(
    equation: FittedEquation,
    design: Design,
    deviations: _Deviations,
    first: np.ndarray,
    second: np.ndarray | None,
    contrast: str,
) -> pd.DataFrame:
    rows = np.arange(len(design.matrix))
    offset = deviations.offset
    if len(offset) > 1:
        rows = np.flatnonzero(np.isfinite(offset[:, 0]))
        offset = offset[rows]
    arguments = (equation.link, equation.beta)
    if second is None:
        X, other = design.matrix[rows], first[rows]
        estimate, gradient = mean_slope(*arguments, X, other, offset, deviations.weight)
        eta = (X @ equation.beta)[:, None] + offset
        by_spread = np.mean(
            (equation.link.second_derivative(eta) * deviations.slope) @ deviations.weight * (other @ equation.beta)
        )
    else:
        X, other = first[rows], second[rows]
        estimate, gradient = mean_difference(*arguments, X, other, offset, deviations.weight)
        slopes = [equation.link.derivative((matrix @ equation.beta)[:, None] + offset) for matrix in (X, other)]
        by_spread = np.mean(((slopes[0] - slopes[1]) * deviations.slope) @ deviations.weight)
    variance = float(gradient @ equation.covariance @ gradient)
    if by_spread != 0.0 and np.isfinite(equation.spread_error):
        variance += float(by_spread * equation.spread_error) ** 2
    return pd.DataFrame(
        {
            "module": [equation.module],
            "sparse_term": equation.sparse_term,
            "contrast": contrast,
            "estimate": estimate,
            "std_error": np.sqrt(variance),
            "df": float(np.min(equation.df)),
            "withheld": equation.withheld,
        }
    )


def _changes(design: Design, frame: pd.DataFrame, name: str) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Return the design rows that an effect compares, or the derivative of the design rows by a number."""
    if name in design.levels:
        reference, *others = design.levels[name]
        base = design.design_for(frame.assign(**{name: reference}))
        return [
            (f"{_word(level)} - {_word(reference)}", design.design_for(frame.assign(**{name: level})), base)
            for level in others
        ]
    values = frame[name].to_numpy(dtype="float64")
    # small enough for a curved term, large enough for the rounding of the difference
    step = 1e-4 * float(np.std(values))
    ends = [design.design_for(frame.assign(**{name: values + sign * step})) for sign in (1.0, -1.0)]
    return [("slope", (ends[0] - ends[1]) / (2.0 * step), None)]


def _word(level: object) -> str:
    return level if isinstance(level, str) else f"{level:g}"


def _covariates(design: Design) -> pd.DataFrame:
    if design.frame is None or not len(design.frame.columns):
        raise DataError("the formula has no covariate", got=design.formula)
    return design.frame


def _population(equation: FittedEquation) -> _Deviations:
    if equation.link.name == "identity":
        return _Deviations(np.zeros((1, 1)), np.ones(1), np.zeros(1))
    if not np.isfinite(equation.spread):
        raise ConfigError(
            f"the method gives no spread between participants for {equation.module} / {equation.sparse_term}",
            do="use a hierarchical model",
        )
    nodes, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    return _Deviations(equation.spread * nodes[None, :], weight / weight.sum(), nodes)


def _posterior(model: FittedGroup, equation: FittedEquation) -> _Deviations:
    if model.ran_vals is None:
        raise ConfigError("the method gives no deviations of participants", do='use over="population"')
    values = model.ran_vals
    here = (values["module"] == equation.module) & (values["sparse_term"] == equation.sparse_term)
    own = values[here & (values["term"] == "(Intercept)")]
    known = {label_key(label): float(value) for label, value in zip(own["level"], own["estimate"], strict=True)}
    labels = [table_of(model).participants[row] for row in design_of(model).rows]
    offset = np.array([known.get(label_key(label), np.nan) for label in labels])[:, None]
    if not np.isfinite(offset).any():
        raise DataError(f"no participant has a deviation for {equation.module} / {equation.sparse_term}")
    return _Deviations(offset, np.ones(1), np.zeros(1))
