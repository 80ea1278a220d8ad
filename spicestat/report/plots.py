"""Figures of fits and group models; no global style is changed, and no window is opened."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spicestat._files.tables import check_numeric, require_columns
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ColumnError, DataError
from spicestat.group.plots import literal
from spicestat.group.result import GroupResult

__all__ = ["plot_caterpillar", "plot_covariate", "plot_forest"]

_BLUE, _GREY, _ORANGE = "#2a6f97", "#9aa5ad", "#c8553d"


def plot_forest(result: GroupResult) -> tuple[Figure, np.ndarray]:
    """Draw the covariates' effects with their intervals, one panel per covariate term.

    Effects are divided by their standard errors, so that coefficients on different scales share
    one axis; the intervals are those of the table.

    Parameters
    ----------
    result : GroupResult
        From `spice_group`.

    Returns
    -------
    (Figure, ndarray of Axes)

    Raises
    ------
    DataError
        The formula has no covariate.
    """
    table = result.tidy()
    table = table[table["term"] != "(Intercept)"]
    if table.empty:
        raise DataError("there is no covariate effect to draw", do="fit a formula with a covariate")
    covariates = list(dict.fromkeys(table["term"]))
    coefficients = list(dict.fromkeys(zip(table["module"], table["sparse_term"], strict=True)))
    figure, axes = _panels(len(covariates), height=1.2 + 0.42 * len(coefficients), share_y=True)
    for axis, covariate in zip(axes, covariates, strict=True):
        rows = table[table["term"] == covariate]
        position = [coefficients.index(pair) for pair in zip(rows["module"], rows["sparse_term"], strict=True)]
        in_errors = rows[["estimate", "conf_low", "conf_high"]].div(rows["std_error"], axis=0)
        _draw_intervals(axis, np.array(position), *(in_errors[name].to_numpy() for name in in_errors))
        axis.axvline(0.0, color=_GREY, linewidth=0.8, zorder=0)
        axis.set_title(literal(covariate), fontsize=10, loc="left")
        axis.set_xlabel("effect / standard error")
    axes[0].set_yticks(range(len(coefficients)), [_label(*pair) for pair in coefficients])
    axes[0].set_ylim(len(coefficients) - 0.5, -0.5)
    return figure, axes


def plot_caterpillar(coefficients: CoefficientTable) -> tuple[Figure, np.ndarray]:
    """Draw every participant's estimates with 95 % intervals, sorted, one panel per free coefficient.

    Participants without an interval (at a bound, or not identified) are drawn as open circles; those
    whose equation lacks the term are not drawn.

    Raises
    ------
    DataError
        No coefficient was estimated.
    """
    frame = coefficients.frame
    free = frame.groupby(["module", "term"], sort=False)["std_error"].apply(lambda column: column.notna().any())
    pairs = [pair for pair in coefficients.terms if free[pair]]
    if not pairs:
        raise DataError("no coefficient was estimated, so there is nothing to draw")
    figure, axes = _panels(len(pairs), height=3.4)
    for axis, (module, term) in zip(axes, pairs, strict=True):
        used = (frame["module"] == module) & (frame["term"] == term) & frame["selected"]
        rows = frame[used].sort_values("estimate")
        known = rows["std_error"].notna().to_numpy()
        position = np.arange(len(rows))
        axis.hlines(position[known], rows["conf_low"][known], rows["conf_high"][known], color=_GREY, linewidth=0.8)
        axis.plot(rows["estimate"][known], position[known], "o", color=_BLUE, markersize=3)
        axis.plot(rows["estimate"][~known], position[~known], "o", color=_ORANGE, markersize=4, fillstyle="none")
        low, high = np.quantile(rows["estimate"][known], [0.02, 0.98])
        margin = 0.5 * (high - low) + 1e-3
        axis.set_xlim(low - margin, high + margin)
        axis.set_yticks([])
        axis.set_title(_label(module, term).replace(": ", "\n").replace("(", "\n("), fontsize=9, loc="left")
        axis.set_xlabel("estimate and 95 % interval")
    axes[0].set_ylabel(f"{len(coefficients.participants)} participants")
    return figure, axes


def plot_covariate(
    coefficients: CoefficientTable,
    covariate: str,
    module: str,
    term: str,
    data: pd.DataFrame | None = None,
) -> tuple[Figure, Axes]:
    """Draw one coefficient against a numeric covariate, each estimate with its 95 % interval.

    Parameters
    ----------
    coefficients : CoefficientTable
        Estimates.
    covariate : str
        Column of ``data``.
    module, term : str
        Which coefficient.
    data : DataFrame, optional
        Participants' covariates with a column ``participant``; default: the table's own.

    Raises
    ------
    ColumnError
        There is no such covariate or coefficient.
    DataError
        The term is in nobody's equation.
    """
    people = coefficients.people if data is None else data
    if people is None or covariate not in people:
        raise ColumnError(f"no covariate '{covariate}'", allowed=[] if people is None else list(people.columns))
    check_numeric(people, covariate, "the covariate table's")
    require_columns(people, ["participant"], "the covariate table")
    if (module, term) not in coefficients.terms:
        raise ColumnError(f"no coefficient '{term}' of '{module}'", allowed=list(coefficients.terms))
    rows = coefficients.frame.query("module == @module and term == @term and std_error.notna()")
    if rows.empty:
        raise DataError(
            f"no participant has an estimate of '{term}' of '{module}'", do="choose a term of the equations"
        )
    rows = rows.merge(people[["participant", covariate]], on="participant")
    if rows.empty:
        raise DataError("no participant of the table is in the covariate table", do="check the ids")
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axis = figure.add_subplot()
    _clean(axis)
    axis.vlines(rows[covariate], rows["conf_low"], rows["conf_high"], color=_GREY, linewidth=0.8)
    axis.plot(rows[covariate], rows["estimate"], "o", color=_BLUE, markersize=4)
    low, high = np.quantile(rows["estimate"], [0.02, 0.98])
    margin = 0.5 * (high - low) + 1e-3
    axis.set_ylim(low - margin, high + margin)
    axis.set_xlabel(literal(covariate))
    axis.set_ylabel(_label(module, term))
    return figure, axis


def _panels(n_panels: int, height: float, share_y: bool = False) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(max(4.5, 2.9 * n_panels + 1.2), height), layout="constrained")
    axes = figure.subplots(1, n_panels, squeeze=False, sharey=share_y)[0]
    for axis in axes:
        _clean(axis)
    return figure, axes


def _clean(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.xaxis.label.set_fontsize(9)
    axis.yaxis.label.set_fontsize(9)


def _draw_intervals(axis: Axes, position: np.ndarray, estimate: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    apart = (low > 0) | (high < 0)
    for where, colour in ((apart, _ORANGE), (~apart, _BLUE)):
        axis.hlines(position[where], low[where], high[where], color=colour, linewidth=1.6)
        axis.plot(estimate[where], position[where], "o", color=colour, markersize=5)


def _label(module: str, term: str) -> str:
    return literal(f"{module}({term})" if module == "beta" else f"{module}: {term}")
