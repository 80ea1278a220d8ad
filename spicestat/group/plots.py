"""Figures of group models; matplotlib is imported when one is drawn, and no style or window is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from spicestat._colours import BLACK, BLUE, COLOURS, ORANGE
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError
from spicestat.group.after.augment import augment
from spicestat.group.after.fitted import FittedGroup, design_of, equation_keys, fitted_equation, table_of
from spicestat.group.after.marginal_means import marginal_means
from spicestat.group.after.standardised import standardised_effects
from spicestat.group.formula.functions import level_word
from spicestat.group.inputs.alignment import align_people

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["caterpillar_plot", "covariate_plot", "forest_plot", "literal", "presence_plot"]

_GREY, _LIGHT = "#7A7A7A", "#BDBDBD"
_EFFECT_LABELS = {
    "total": "standardised effect (standard deviations of the coefficient)",
    "residual": "effect / standard deviation that the covariates leave",
    "raw": "effect, in units of the coefficient",
}


def forest_plot(model: FittedGroup, kind: str = "total") -> Figure:
    """Draw all effects of the covariates with their intervals; see `GroupResult.plot_forest`."""
    if kind not in _EFFECT_LABELS:
        raise ConfigError("unknown kind of effect", got=kind, allowed=", ".join(map(repr, _EFFECT_LABELS)))
    if kind == "raw":
        rows = model.coefficients[model.coefficients["effect"] == "fixed"]
        rows = rows[rows["term"] != "(Intercept)"]
    else:
        rows = standardised_effects(model, kind)
    if rows.empty:
        raise DataError("there is no covariate effect to draw", do="fit a formula with a covariate")
    rows = rows.assign(equation=[_label(*pair) for pair in zip(rows["module"], rows["sparse_term"], strict=True)])
    panel, line = ("equation", "term") if kind == "raw" else ("term", "equation")
    titles, lines = list(dict.fromkeys(rows[panel])), list(dict.fromkeys(rows[line]))
    figure, axes = _panels(len(titles), height=1.3 + 0.32 * len(lines), share_y=True)
    for axis, title in zip(axes, titles, strict=True):
        here = rows[rows[panel] == title]
        _forest_panel(axis, here, [lines.index(name) for name in here[line]])
        axis.set_title(_broken(literal(title)), fontsize=9, loc="left")
    figure.supxlabel(_EFFECT_LABELS[kind], fontsize=9)
    axes[0].set_yticks(range(len(lines)), [literal(name) for name in lines])
    axes[0].set_ylim(len(lines) - 0.5, -0.5)
    level = 100 * float(rows["conf_level"].iloc[0])
    title = f"Effects of covariates with {level:g} % intervals (filled: the interval excludes 0)"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def caterpillar_plot(
    model: FittedGroup, values: str = "auto", *, equations: Sequence[tuple[str, str]] | None = None
) -> Figure:
    """Draw every participant's coefficient, sorted; see `GroupResult.plot_caterpillar`."""
    if values not in ("auto", "observed", "posterior"):
        raise ConfigError("`values` is unknown", got=values, allowed="'auto', 'observed', 'posterior'")
    if values == "posterior" and model.ran_vals is None:
        raise ConfigError("the method gives no posterior means", do='use values="observed"')
    posterior = values == "posterior" or (values == "auto" and model.ran_vals is not None)
    data = augment(model)
    present = list(dict.fromkeys(zip(data["module"], data["sparse_term"], strict=True)))
    wanted = present if equations is None else [fitted_equation(model, *pair).key for pair in equations]
    figure, axes = _panels(len(wanted), height=3.6)
    for axis, (module, term) in zip(axes, wanted, strict=True):
        rows = data[(data["module"] == module) & (data["sparse_term"] == term)]
        centre, error = ("posterior_mean", "posterior_std_error") if posterior else ("observed", "std_error")
        rows = rows[np.isfinite(rows[centre])].sort_values(centre)
        _caterpillar_panel(axis, rows[centre].to_numpy(), rows[error].to_numpy())
        axis.axvline(float(rows["fitted"].mean()), color=ORANGE, linewidth=1.0, linestyle="--", zorder=0)
        axis.set_title(_broken(literal(_label(module, term))), fontsize=9, loc="left")
        axis.set_xlabel(f"{'posterior mean' if posterior else 'estimate'}{_scale_note(model, (module, term))}")
        axis.set_ylabel(f"{len(rows)} participants")
    figure.suptitle("Participants with 95 % intervals; dashed: mean of the model", fontsize=10, x=0.01, ha="left")
    return figure


def covariate_plot(
    model: FittedGroup,
    covariate: str | None = None,
    module: str | None = None,
    sparse_term: str | None = None,
    *,
    at: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw coefficients against a covariate; see `GroupResult.plot_covariate`."""
    keys = equation_keys(model, module, sparse_term)
    own = _covariate(model, covariate)
    name = str(own.name)
    levels = design_of(model).levels.get(name)
    values = np.linspace(own.min(), own.max(), 80).tolist() if levels is None else list(levels)
    means = marginal_means(model, name, at={**(at or {}), name: values}, type="response", equations=keys).frame
    figure, axes = _panels(len(keys), height=3.5, width=4.8 if len(keys) == 1 else None)
    for axis, key in zip(axes, keys, strict=True):
        line = means[(means["module"] == key[0]) & (means["sparse_term"] == key[1])]
        mean, low, high = (line[column].to_numpy() for column in ("estimate", "conf_low", "conf_high"))
        rows = _own_estimates(model, key)
        if levels is None:
            _points(axis, own.to_numpy(dtype="float64"), rows)
            axis.fill_between(values, low, high, color=BLUE, alpha=0.2, linewidth=0, zorder=3)
            axis.plot(values, mean, color=BLUE, linewidth=1.8, zorder=4)
        else:
            place = np.array([values.index(value) for value in own])
            # participants of a level stand side by side, in an even spread that is the same every time
            _points(axis, place + _spread_out(place), rows)
            _level_means(axis, values, mean, low, high)
        axis.set_ylim(*_limits(np.concatenate([rows["estimate"], rows["low"], rows["high"], low, high])))
        axis.set_xlabel(literal(name))
        axis.set_ylabel(_broken(literal(_label(*key))))
    shown = "line" if levels is None else "mean"
    title = f"Blue: {shown} of the group model, {100 * model.conf_level:g} % interval"
    axes[0].set_title(title, fontsize=9, loc="left")
    return figure


def presence_plot(table: CoefficientTable, by: str | None = None) -> Figure:
    """Draw the share of participants whose equation has each term, with 95 % Wilson intervals.

    Terms that everybody has are left out, unless all terms are such. A value that the structure keeps (coefficient 1)
    is in the equation. The column ``inclusion_prob`` is not drawn: it is the probability that a term is estimated,
    which a kept value is not.

    Parameters
    ----------
    table : CoefficientTable
        With a structure of its own for each participant.
    by : str, optional
        A factor: one bar for each of its levels (at most five).

    Raises
    ------
    ConfigError
        ``by`` is not a covariate, or has more than five levels.

    References
    ----------
    Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.
    """
    selected = table.wide("selected").astype(bool)
    varying = [pair for pair in table.terms if not selected[pair].all()] or list(table.terms)
    groups = _members(table, by)
    figure, axes = _panels(1, height=1.2 + 0.24 * len(varying) * max(1.3, len(groups)), width=7.5)
    axis = axes[0]
    thick = 0.8 / len(groups)
    for index, ((name, members), colour) in enumerate(zip(groups.items(), COLOURS, strict=False)):
        n = int(members.sum())
        share = selected.loc[members, varying].mean().to_numpy()
        low, high = _wilson(share, n)
        place = np.arange(len(varying)) + (index - (len(groups) - 1) / 2) * thick
        axis.barh(place, share, height=0.92 * thick, color=colour, alpha=0.75, label=literal(f"{name} (n = {n})"))
        axis.hlines(place, low, high, color=BLACK, linewidth=1.0)
    axis.set_yticks(range(len(varying)), [literal(_label(*pair)) for pair in varying])
    axis.set_ylim(len(varying) - 0.5, -0.5)
    axis.set_xlim(0.0, 1.0)
    axis.set_xlabel("share of participants (95 % interval)")
    if by is not None:
        figure.legend(loc="outside upper left", ncols=min(3, len(groups)), frameon=False, fontsize=8, title_fontsize=8)
    return figure


def _forest_panel(axis: Axes, rows: pd.DataFrame, position: Sequence[int]) -> None:
    place = np.asarray(position, dtype="float64")
    estimate, low, high = (rows[name].to_numpy(dtype="float64") for name in ("estimate", "conf_low", "conf_high"))
    known = np.isfinite(low) & np.isfinite(high)
    apart = known & ((low > 0) | (high < 0))
    axis.axvline(0.0, color=_GREY, linewidth=0.8, zorder=0)
    for who, colour, fill in ((apart, ORANGE, "full"), (known & ~apart, BLUE, "none")):
        axis.hlines(place[who], low[who], high[who], color=colour, linewidth=1.6)
        axis.plot(
            estimate[who], place[who], "o", color=colour, markersize=5.5, fillstyle=fill, markerfacecoloralt="white"
        )
    axis.plot(estimate[~known], place[~known], "x", color=_GREY, markersize=5)


def _covariate(model: FittedGroup, name: str | None) -> pd.Series[Any]:
    """Return the participants' values of the covariate to draw, by default the formula's first."""
    frame = design_of(model).frame
    if frame is None or frame.columns.empty:
        raise ConfigError("the model has no covariate to plot coefficients against")
    if name is not None and name not in frame.columns:
        raise ConfigError(f"'{name}' is not a covariate of the formula", allowed=", ".join(map(str, frame.columns)))
    return frame[name or frame.columns[0]]


def _points(axis: Axes, place: np.ndarray, rows: pd.DataFrame) -> None:
    """Draw participants' estimates with their intervals; open circles have none."""
    estimate, lower, upper = (rows[name].to_numpy() for name in ("estimate", "low", "high"))
    certain: np.ndarray = np.isfinite(lower)
    axis.vlines(place[certain], lower[certain], upper[certain], color=_LIGHT, linewidth=0.8, zorder=1)
    axis.plot(place[certain], estimate[certain], "o", color=_GREY, markersize=3.5, zorder=2)
    axis.plot(place[~certain], estimate[~certain], "o", color=_GREY, markersize=3.5, fillstyle="none", zorder=2)


def _level_means(axis: Axes, levels: list[Any], mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    beside = np.arange(len(levels)) + 0.32
    axis.vlines(beside, low, high, color=BLUE, linewidth=1.8, zorder=3)
    axis.plot(beside, mean, "D", color=BLUE, markersize=5.5, zorder=4)
    axis.set_xticks(range(len(levels)), [literal(level_word(level)) for level in levels])
    axis.set_xlim(-0.5, len(levels) - 0.4)


def _caterpillar_panel(axis: Axes, centre: np.ndarray, error: np.ndarray) -> None:
    place = np.arange(len(centre))
    known = np.isfinite(error)
    half = norm.ppf(0.975) * error
    axis.hlines(place[known], (centre - half)[known], (centre + half)[known], color=_LIGHT, linewidth=1.2)
    axis.plot(centre[known], place[known], "o", color=BLUE, markersize=2.8)
    axis.plot(centre[~known], place[~known], "o", color=BLACK, markersize=3.5, fillstyle="none")
    # a few very long intervals are cut, so that the others can be seen
    usual = np.minimum(half, 3.0 * np.nanmedian(half)) if known.any() else np.zeros(len(centre))
    axis.set_xlim(*_limits(np.concatenate([centre, centre - usual, centre + usual])))
    axis.set_yticks([])


def _own_estimates(model: FittedGroup, key: tuple[str, str]) -> pd.DataFrame:
    """Return the design's participants' own estimates and 95 % limits on the natural scale, NaN where not usable."""
    wide = {
        name: table_of(model).wide(name)[key].iloc[design_of(model).rows]
        for name in ("estimate", "std_error", "selected")
    }
    rows = pd.DataFrame(wide).reset_index(drop=True)
    rows["estimate"] = rows["estimate"].where(rows["selected"].astype(bool))
    half = norm.ppf(0.975) * rows["std_error"]
    return rows.assign(low=rows["estimate"] - half, high=rows["estimate"] + half)


def _spread_out(place: np.ndarray) -> np.ndarray:
    """Return an even offset in [-0.2, 0.2] within each group of equal places."""
    offset = np.zeros(len(place))
    for value in np.unique(place):
        members = np.flatnonzero(place == value)
        offset[members] = np.linspace(-0.2, 0.2, len(members)) if len(members) > 1 else 0.0
    return offset


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return axis limits that hold all values but those far outside, which unidentified participants have."""
    finite = values[np.isfinite(values)]
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75]) if len(finite) else (0.0, 0.5, 1.0)
    fence = 5.0 * (high - low)
    inside = finite[np.abs(finite - middle) <= fence] if fence > 0 else finite
    ends = (float(inside.min()), float(inside.max())) if len(inside) else (low, high)
    margin = 0.05 * (ends[1] - ends[0]) + 1e-9
    return ends[0] - margin, ends[1] + margin


def _members(table: CoefficientTable, by: str | None) -> dict[str, np.ndarray]:
    if by is None:
        return {"all": np.ones(len(table.participants), dtype=bool)}
    people = table.people
    if people is None or by not in people.columns:
        known = [] if people is None else list(people.columns)
        raise ConfigError(f"'{by}' is not a covariate", allowed=", ".join(map(str, known)) or "(none)")
    aligned, positions = align_people(table.participants, people)
    levels = sorted(aligned[by].dropna().unique().tolist(), key=str)
    if not 1 <= len(levels) <= len(COLOURS):
        raise ConfigError(
            f"'{by}' has {len(levels)} levels", allowed=f"1 to {len(COLOURS)}, for the bars to be told apart"
        )
    groups = {}
    for level in levels:
        groups[f"{by} {level}"] = np.zeros(len(table.participants), dtype=bool)
        groups[f"{by} {level}"][positions[(aligned[by] == level).to_numpy()]] = True
    return groups


def _wilson(share: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    z2 = norm.ppf(0.975) ** 2 / n
    centre = (share + z2 / 2.0) / (1.0 + z2)
    half = np.sqrt(z2 * (share * (1.0 - share) + z2 / 4.0)) / (1.0 + z2)
    return centre - half, centre + half


def _panels(n: int, height: float, share_y: bool = False, width: float | None = None) -> tuple[Figure, list[Any]]:
    from spicestat._drawing import panels

    in_all = max(5.0, 2.7 * n + 2.0) if width is None else width
    figure, axes = panels(n, in_all / n, height, columns=n, sharey=share_y)
    for axis in axes:
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=5)
        axis.xaxis.label.set_fontsize(9)
        axis.yaxis.label.set_fontsize(9)
    return figure, axes


def literal(text: str) -> str:
    r"""Return text from the data so that matplotlib draws it as it is, dollars and all.

    Examples
    --------
    >>> print(literal("cost $US$"))
    cost \$US\$
    """
    return text.replace("$", r"\$")


def _label(module: str, term: str) -> str:
    if module == "beta":
        return f"{module}({term})"
    plain = {"1": "constant", module: "own state"}
    return f"{module}: {plain.get(term, term)}"


def _broken(label: str) -> str:
    return label.replace(": ", ":\n").replace("(", "\n(") if len(label) > 26 else label


def _scale_note(model: FittedGroup, key: tuple[str, str]) -> str:
    link = model.links.get(key, "identity")
    return "" if link == "identity" else f" ({link} scale)"
