"""Estimated marginal means of the participants' coefficients, as R's emmeans makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import check_level
from spicestat._display import screen
from spicestat.errors import ConfigError
from spicestat.group.after.fitted import FittedEquation, FittedGroup, design_of, fitted_equations, t_interval
from spicestat.group.after.text import equation_paragraphs, wrapped
from spicestat.group.formula.design import Design

__all__ = ["MarginalMeans", "marginal_means", "reference_grid"]

# of these tables, and of those of contrasts and derived quantities that are made of them
_COLUMNS = (
    "module", "sparse_term", "estimate", "std_error", "df", "conf_low", "conf_high", "conf_level", "type", "contrast",
    "statistic", "p_value", "p_adjusted", "df_num", "quantity",
)  # fmt: skip


@dataclass(frozen=True)
class MarginalMeans:
    """Estimated marginal means, and what contrasts of them need.

    Attributes
    ----------
    frame : DataFrame
        ``module, sparse_term``, the grouping variables, ``estimate, std_error, df, conf_low, conf_high,
        conf_level, type``: one row per equation and combination of levels.
    grid : DataFrame of m rows
        The combinations of levels, the first variable fastest.
    weights : ndarray of shape (m, p)
        Each mean as a linear function of an equation's effects.
    variables, by : tuple of str
        Columns of ``grid``: what the means are compared over, and what stays apart.
    type : {"link", "response"}
        Scale of ``frame``.
    conf_level : float
        Level of the intervals.
    equations : tuple of FittedEquation
        The equations, in the order of ``frame``.
    """

    frame: pd.DataFrame
    grid: pd.DataFrame
    weights: np.ndarray
    variables: tuple[str, ...]
    by: tuple[str, ...]
    type: str
    conf_level: float
    equations: tuple[FittedEquation, ...] = field(repr=False)

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.frame.copy()

    def __repr__(self) -> str:
        wanted = [*self.variables, *self.by]
        what = f" of {' x '.join(wanted)}" if wanted else ""
        scale = f" on the {self.type} scale" if any(own.link.name != "identity" for own in self.equations) else ""
        text = (
            wrapped(f"Marginal means{what}{scale}, {100 * self.conf_level:g} % intervals")
            + "\n\n"
            + equation_paragraphs(self.frame, wanted, ["estimate", "std_error", "conf_low", "conf_high"])
        )
        return screen(text, "tidy()")


def marginal_means(
    model: FittedGroup,
    variables: str | Sequence[str] = (),
    *,
    by: str | Sequence[str] = (),
    at: Mapping[str, Any] | None = None,
    weights: str = "equal",
    type: str = "link",
    cov_keep: int = 2,
    conf_level: float | None = None,
    equations: Sequence[tuple[str, str]] | None = None,
) -> MarginalMeans:
    r"""Return the mean coefficient of each combination of covariate levels, averaged over all other covariates.

    On a reference grid of design rows :math:`x_g` (see `reference_grid`) the mean of a combination c of
    ``variables`` and ``by`` is :math:`\sum_{g \in c} w_g x_g' \hat\beta`, with equal weights that add to 1, so that a
    mean does not depend on how many participants there are of each kind. Its variance is
    :math:`l' V l` with :math:`l = \sum w_g x_g`.

    With a link, averages are taken on the link scale. ``type="response"`` then gives
    :math:`h(\eta)`, standard error :math:`h'(\eta) \, se(\eta)`, and the transformed limits. That is the
    coefficient of the participant in the middle (the median), not the mean over participants: see
    `after.average_effects`.

    Equal to ``emmeans::emmeans(model, variables, by, at)`` and ``summary(., type = )``. Degrees of freedom of a mean
    are the smallest of the effects that it is made of.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    variables : str or sequence of str
        Covariates whose levels are wanted. Default: one mean over all.
    by : str or sequence of str
        Covariates whose levels are wanted and which contrasts keep apart.
    at : mapping of str to value or values, optional
        Levels or values of some covariates in the grid.
    weights : {"equal", "proportional"}, default "equal"
        "proportional": factors that are averaged over count as often as they are among the participants.
    type : {"link", "response"}, default "link"
        Scale of the results.
    cov_keep : int, default 2
        A number with at most this many different values is a factor here, as in emmeans.
    conf_level : float, optional
        In (0, 1). Default: the model's.
    equations : sequence of (module, sparse_term), optional
        Default: all.

    Raises
    ------
    ConfigError
        A variable is not in the formula, a level does not exist, or a setting is unknown.

    References
    ----------
    Searle, Speed & Milliken (1980), https://doi.org/10.1080/00031305.1980.10483031;
    Lenth, emmeans, https://cran.r-project.org/package=emmeans.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> marginal_means(group, "ill").frame[["ill", "estimate", "df"]].round(3).to_dict("list")
    {'ill': ['no', 'yes'], 'estimate': [0.421, 0.459], 'df': [3.0, 3.0]}
    """
    _check_choice("weights", weights, ("equal", "proportional"))
    _check_choice("type", type, ("link", "response"))
    level = model.conf_level if conf_level is None else check_level(conf_level)
    kept, apart = _as_names(variables), _as_names(by)
    grid = reference_grid(design_of(model), first=(*kept, *apart), at=at, cov_keep=cov_keep)
    wanted = [*kept, *apart]
    _check_wanted(wanted, grid)
    cells, linear = _average(grid, design_of(model), wanted, weights)
    fitted = fitted_equations(model, equations)
    frames = [_mean_rows(equation, cells, linear, type, level) for equation in fitted]
    frame = pd.concat(frames, ignore_index=True)
    return MarginalMeans(frame, cells, linear, kept, apart, type, level, fitted)


def reference_grid(
    design: Design, *, first: Sequence[str] = (), at: Mapping[str, Any] | None = None, cov_keep: int = 2
) -> pd.DataFrame:
    """Return all combinations of the covariates' reference levels, the first column fastest.

    Factors have all their levels, numbers their mean over the participants of the design (all values, if there
    are at most ``cov_keep``).

    Parameters
    ----------
    design : Design
        From `build_design`.
    first : sequence of str
        Covariates that come first; the others follow in the order of the formula.
    at : mapping of str to value or values, optional
        Levels or values to use instead.
    cov_keep : int, default 2
        As in emmeans.

    Examples
    --------
    >>> from spicestat.group.formula.design import build_design
    >>> people = pd.DataFrame({"participant": [1, 2, 3, 4, 5], "age": [20.0, 30, 40, 50, 35],
    ...                        "diagnosis": ["healthy", "bipolar", "healthy", "bipolar", "healthy"]})
    >>> reference_grid(build_design("~ diagnosis + age", people)).to_dict("list")
    {'diagnosis': ['bipolar', 'healthy'], 'age': [35.0, 35.0]}
    """
    levels = _grid_levels(design, cov_keep)
    for name, values in (at or {}).items():
        if name not in levels:
            raise ConfigError(f"`at` names the unknown covariate '{name}'", allowed=", ".join(levels) or "(none)")
        levels[name] = _at_values(design, name, values)
    order = [name for name in first if name in levels] + [name for name in levels if name not in first]
    # the first column changes fastest, as in R's expand.grid
    rows = [combination[::-1] for combination in product(*(levels[name] for name in reversed(order)))]
    return pd.DataFrame(rows, columns=order)


def _grid_levels(design: Design, cov_keep: int) -> dict[str, list[Any]]:
    frame = design.frame if design.frame is not None else pd.DataFrame()
    levels: dict[str, list[Any]] = {}
    for name in map(str, frame.columns):
        if name in design.levels:
            levels[name] = list(design.levels[name])
        else:
            values = np.unique(frame[name].to_numpy(dtype="float64"))
            levels[name] = values.tolist() if len(values) <= cov_keep else [float(frame[name].mean())]
    return levels


def _at_values(design: Design, name: str, values: Any) -> list[Any]:
    several = isinstance(values, Sequence | np.ndarray | pd.Series | pd.Index) and not isinstance(values, str)
    given = list(values) if several else [values]
    if not given:
        raise ConfigError(f"`at` gives no value of '{name}'")
    if name not in design.levels:
        if not all(isinstance(value, int | float | np.number) and np.isfinite(value) for value in given):
            raise ConfigError(f"`at` gives a value of '{name}' that is not a number", got=given)
        return [float(value) for value in given]
    words = [str(value).upper() if isinstance(value, bool | np.bool_) else value for value in given]
    levels = design.levels[name]
    matched = [next((level for level in levels if word == level or str(word) == level), None) for word in words]
    if None in matched:
        raise ConfigError(f"`at` gives a level of '{name}' that was not in the data", got=given, allowed=list(levels))
    return matched


def _average(grid: pd.DataFrame, design: Design, wanted: list[str], weights: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the wanted combinations (m rows) and each one's average design row (m, p)."""
    matrix = design.design_for(grid)
    weight = np.ones(len(grid)) if weights == "equal" else _frequencies(grid, design, wanted)
    if not wanted:
        return pd.DataFrame(index=[0]), (weight @ matrix / weight.sum())[None, :]
    cells = grid[wanted].drop_duplicates().reset_index(drop=True)
    linear = np.empty((len(cells), matrix.shape[1]))
    for row, cell in enumerate(cells.itertuples(index=False, name=None)):
        member = np.all([grid[name] == value for name, value in zip(wanted, cell, strict=True)], axis=0)
        linear[row] = weight[member] @ matrix[member] / weight[member].sum()
    return cells, linear


def _frequencies(grid: pd.DataFrame, design: Design, wanted: list[str]) -> np.ndarray:
    """Return how many participants have each grid row's levels of the factors that are averaged over."""
    frame = design.frame
    averaged = [name for name in grid.columns if name not in wanted and len(grid[name].unique()) > 1]
    if not averaged or frame is None:
        return np.ones(len(grid))
    counts = frame[averaged].astype(object).value_counts()
    found = [float(counts.get(tuple(row), 0.0)) for row in grid[averaged].itertuples(index=False, name=None)]
    if not np.sum(found) > 0:
        raise ConfigError(
            "no participant has the levels that are averaged over", got=averaged, do='use weights="equal"'
        )
    return np.array(found)


def _mean_rows(
    equation: FittedEquation, cells: pd.DataFrame, linear: np.ndarray, type: str, conf_level: float
) -> pd.DataFrame:
    eta = linear @ equation.beta
    error = np.sqrt(np.maximum(np.einsum("mp,pq,mq->m", linear, equation.covariance, linear), 0.0))
    df = equation.df_of(linear)
    low, high = t_interval(eta, np.full_like(error, np.nan) if equation.withheld else error, df, conf_level)
    estimate = eta
    if type == "response":
        estimate, low, high = (np.asarray(equation.link.to_natural(value)) for value in (eta, low, high))
        error = np.abs(equation.link.derivative(eta)) * error
    frame = cells.copy()
    frame.insert(0, "module", equation.module)
    frame.insert(1, "sparse_term", equation.sparse_term)
    return frame.assign(
        estimate=estimate, std_error=error, df=df, conf_low=low, conf_high=high, conf_level=conf_level, type=type
    )


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _check_wanted(wanted: list[str], grid: pd.DataFrame) -> None:
    unknown = [name for name in wanted if name not in grid.columns]
    if unknown or len(set(wanted)) < len(wanted):
        raise ConfigError(
            "marginal means need covariates of the formula, each once",
            got=wanted,
            allowed=", ".join(map(str, grid.columns)) or "(the formula has none)",
        )
    clash = [name for name in wanted if name in _COLUMNS]
    if clash:
        raise ConfigError(f"the covariate {clash[0]!r} has the name of a column of the result", do="rename it")


def _check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"`{name}` is unknown", got=value, allowed=", ".join(map(repr, allowed)))
