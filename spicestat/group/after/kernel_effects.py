"""Effects of covariates on kernels: what one reward, and one choice, does to the next choices of whom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spicestat._checks import check_level
from spicestat._colours import COLOURS
from spicestat._display import html_block, screen
from spicestat._runtime.blas import on_one_blas_thread
from spicestat.errors import ConfigError, DataError, IdentifiabilityWarning, NumericalError, SpicestatWarning, warn_user
from spicestat.group.after.fitted import FittedGroup, design_of
from spicestat.group.after.kernel_curves import Curves, KernelLevels, averaged_curves, curves_of
from spicestat.group.formula.functions import level_word
from spicestat.pooled.kernel_shape import derive, from_draws
from spicestat.pooled.kernels import EVENTS, Event, FittedMoves, check_events
from spicestat.pooled.packed import Floats
from spicestat.pooled.prediction import covariance_root

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GroupKernels", "HasKernelMoves", "HasRivals", "effects_at", "kernel_effects"]

_COLUMNS = ("event", "quantity", "variable", "level", "contrast", "lag", "estimate", "std_error", "df")
_ASK_OTHERS = "; other plausible structures may know some, see `average`"
_NUMBERS = ["estimate", "std_error", "conf_low", "conf_high"]
_DRAWS, _SEED = 400, 20261128


@runtime_checkable
class HasKernelMoves(Protocol):
    """A fit whose kernels are linear in people's coefficients, such as `spicestat.HistoryFit`."""

    def kernel_moves(self, event: Event, *, lags: int = 20, events_per_person: int = 60) -> FittedMoves:
        """Return everybody's kernels as functions of their coefficients."""


@runtime_checkable
class HasRivals(HasKernelMoves, Protocol):
    """A fit that knows which other structures are plausible, such as `spicestat.HistoryFit`."""

    @property
    def rival_fits(self) -> Sequence[tuple[Self, int]]:
        """The fit itself and those of other structures, with how often each was found."""


@dataclass(frozen=True, eq=False, repr=False)
class GroupKernels:
    """Kernels at levels of a covariate, and how they differ; see `GroupResult.kernels`.

    Attributes
    ----------
    frame : DataFrame
        ``event`` (reward, choice), ``quantity`` (kernel, total, half_life, learning_rate), ``variable``, ``level`` or
        ``contrast`` (the other one is missing), ``lag`` (of a kernel), ``estimate, std_error, df, conf_low, conf_high,
        conf_level``. With ``average=True`` also ``n_structures``, how many structures these are averages over, and,
        with the fit's own structure as known, ``given_estimate, given_std_error, given_conf_low, given_conf_high``.
    variable : str
        The covariate.
    """

    frame: pd.DataFrame
    variable: str

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.frame.copy()

    def plot(self) -> Figure:
        """Draw the kernels of the levels with their intervals, one panel per event."""
        from spicestat._drawing import kernel_axis, panels

        rows = self.frame[(self.frame["quantity"] == "kernel") & self.frame["level"].notna()]
        events, levels = (list(dict.fromkeys(rows[name])) for name in ("event", "level"))
        figure, axes = panels(len(events), 3.7, 3.2)
        for axis, event in zip(axes, events, strict=True):
            kernel_axis(axis, event)
            for place, level in enumerate(levels):
                curve = rows[(rows["event"] == event) & (rows["level"] == level)]
                colour = COLOURS[place % len(COLOURS)]
                axis.fill_between(
                    curve["lag"], curve["conf_low"], curve["conf_high"], color=colour, alpha=0.2, linewidth=0
                )
                label = f"{self.variable}: {level}".replace("$", r"\$")
                axis.plot(curve["lag"], curve["estimate"], color=colour, marker="o", markersize=3, label=label)
        # in the first panel, which narrow pages show without scrolling
        axes[0].legend(fontsize=8)
        return figure

    def __repr__(self) -> str:
        text = self._summary().to_string(index=False, na_rep="", float_format="{:.3f}".format)
        return screen(f"{self._title()}:\n{text}", "tidy()")

    def _repr_html_(self) -> str:
        return html_block("Kernels of a group model", [self._title()], self._summary())

    def _title(self) -> str:
        level = 100 * float(self.frame["conf_level"].iloc[0])
        title = f"Kernels by {self.variable} over {int(self.frame['lag'].max())} choices, {level:g} % intervals"
        if "n_structures" not in self.frame:
            return title
        return f"{title}, averaged over {self.frame['n_structures'].max()} structures (given: by the fit's own)"

    def _summary(self) -> pd.DataFrame:
        rows = self.frame[self.frame["quantity"] != "kernel"]
        who = rows["level"].where(rows["level"].notna(), rows["contrast"])
        averaged = ["estimate", "conf_low", "conf_high", "given_conf_low", "given_conf_high"]
        shown = rows[["event", "quantity", *(averaged if "n_structures" in rows else _NUMBERS)]]
        shown = shown.rename(columns={"given_conf_low": "given_low", "given_conf_high": "given_high"})
        shown.insert(2, self.variable, who)
        return shown


@on_one_blas_thread
def kernel_effects(
    model: FittedGroup,
    covariate: str | None = None,
    *,
    fit: HasKernelMoves | None = None,
    events: Sequence[Event] = EVENTS,
    lags: int = 20,
    events_per_person: int = 60,
    conf_level: float | None = None,
    average: bool = False,
) -> GroupKernels:
    r"""Return what one reward, and one choice, does to the next choices at each level of a covariate.

    `Kernels` says what a kernel is. Person i's is :math:`M_i w_i`, with what an event changes in the states of their
    own history, :math:`M_i`, and their weights. At level c of the covariate it is the mean over everybody of

    .. math:: M_i (\bar x_c'\gamma + \hat u_i):

    the weights that the model predicts, other covariates as they are, and everybody's own deviation. So levels differ
    in weights, never in the histories that people happened to have. Levels are those of a factor, or the mean of a
    number minus and plus one standard deviation over the rows of the design.

    Kernels and totals are linear in :math:`\gamma`, and their errors are those of the joint covariance of all effects
    and the weights that the population shares, with which means move (`SharedWeights`), and of the histories;
    half-lives and effective learning rates have quantiles of 400 draws. Degrees of freedom are combined from those of
    the effects as Welch and Satterthwaite do.

    The states of the fit are taken as known: a state that the search missed, or whose weight it shared, cannot show a
    difference. Contrasts are missing, with a warning, where all that an event changes is shared. With ``average=True``
    the same group model is fitted with each of the structures of `HistoryFit.kernels`, and kernels are averages over
    these: see `averaged_curves` for the covariance, from which intervals of everything are made. Structures in which
    the weights of all that an event changes are shared, or whose group model is withheld, know nothing of differences,
    and do not count. benchmarks/results/product.md has the coverage of both.

    Parameters
    ----------
    model : GroupResult
        Of a `HistoryFit`, of all its coefficients, by a method that estimates them jointly: "hierarchical",
        "multivariate_meta", "bayes", "bayes_meta".
    covariate : str, optional
        A covariate of the formula. Default: the first.
    fit : HistoryFit, optional
        The fit that the model is of, for a model that was read from a folder. Default: the fit that `spice_group` got.
    events : sequence of {"reward", "choice"}
    lags, events_per_person : int, default 20 and 60
        As in `HistoryFit.kernels`.
    conf_level : float, optional
        In (0, 1). Default: the model's.
    average : bool, default False
        Whether to average over plausible structures. The searches take about six times as long as the fit, once for a
        fit, and each structure takes as long as the group model.

    Returns
    -------
    GroupKernels
        Per event and level, and per contrast (level - reference, or ``slope`` per unit of a number): the kernel at each
        lag, and ``total``, ``half_life`` and ``learning_rate``, which are missing where a kernel has both signs.

    Raises
    ------
    ConfigError
        The model is not of a fit with kernels or not of all coefficients, its method estimates them separately, a
        weight has a link, or an argument is out of range. With ``average``: the model was read from a folder.
    DataError
        The formula has no covariate, or all rewards are equal.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit, spice_group
    >>> cohort = simulate_cohort(20, 120, seed=1)
    >>> fit = spice_fit(cohort.trials, block="block", trial="trial", people=cohort.people)
    >>> kernels = kernel_effects(spice_group(fit, "~ diagnosis"), "diagnosis", lags=5)
    >>> kernels.frame.query("quantity == 'total'")[["event", "level", "contrast"]].fillna("").to_numpy().tolist()[:3]
    [['reward', 'control', ''], ['reward', 'patient', ''], ['reward', '', 'patient - control']]
    """
    return effects_at(model, fit, _levels_of(model, covariate), events, lags, events_per_person, conf_level, average)


def _levels_of(model: FittedGroup, covariate: str | None = None) -> KernelLevels:
    """Return the levels of a covariate of a group model, and their contrasts.

    Raises
    ------
    ConfigError
        The covariate is not in the formula.
    DataError
        The formula has none.
    """
    design = design_of(model)
    frame = design.frame
    if frame is None or not len(frame.columns):
        raise DataError("the formula has no covariate", got=design.formula)
    name = str(frame.columns[0]) if covariate is None else covariate
    if name not in frame.columns:
        raise ConfigError("no such covariate in the formula", got=name, allowed=", ".join(map(str, frame.columns)))

    def row(value: Any) -> Floats:
        return np.asarray(design.design_for(frame.assign(**{name: value})).mean(axis=0))

    if name in design.levels:
        values = design.levels[name]
        labels = tuple(level_word(value) for value in values)
        contrasts = tuple(f"{label} - {labels[0]}" for label in labels[1:])
        weights = np.hstack([-np.ones((len(contrasts), 1)), np.eye(len(contrasts))])
    else:
        mean, sd = float(frame[name].mean()), float(frame[name].std())
        values, labels, contrasts = (mean - sd, mean + sd), ("-1 SD", "+1 SD"), ("slope",)
        weights = np.array([[-1.0, 1.0]]) / (2.0 * sd)
    return KernelLevels(name, labels, np.stack([row(value) for value in values]), design.names, contrasts, weights)


def effects_at(
    model: FittedGroup,
    fit: HasKernelMoves | None,
    levels: KernelLevels,
    events: Sequence[Event] = EVENTS,
    lags: int = 20,
    events_per_person: int = 60,
    conf_level: float | None = None,
    average: bool = False,
) -> GroupKernels:
    """Do what `kernel_effects` does, at levels that are made already."""
    level = model.conf_level if conf_level is None else check_level(conf_level)
    source = fit if fit is not None else getattr(model, "source", None)
    if not isinstance(source, HasKernelMoves):
        raise ConfigError(
            "kernels need the fit that the group model is of, one of the history of choices",
            got=type(source).__name__ if source is not None else "no fit",
            do='pass `fit`, from spice_fit(..., model="history")',
        )
    check_events(events)
    events = tuple(dict.fromkeys(events))

    def curves(group: FittedGroup, its: HasKernelMoves) -> list[Curves]:
        moves = [its.kernel_moves(event, lags=lags, events_per_person=events_per_person) for event in events]
        return [curves_of(group, event, moved, levels) for event, moved in zip(events, moves, strict=True)]

    given = curves(model, source)
    if not average:
        return GroupKernels(_tables(events, given, levels, level, _ASK_OTHERS), levels.variable)
    groups = _rival_groups(model, source)
    every = zip(given, *(curves(group, its) for group, its, _ in groups[1:]), strict=True)
    found = [averaged_curves(each, [count for _, _, count in groups]) for each in every]
    table = _tables(events, [mean for mean, _ in found], levels, level)
    n_structures = dict(zip(events, (n for _, n in found), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentifiabilityWarning)
        beside = _tables(events, given, levels, level)[_NUMBERS].add_prefix("given_")
    table = table.assign(n_structures=table["event"].map(n_structures)).join(beside)
    return GroupKernels(table, levels.variable)


def _rival_groups(model: FittedGroup, source: HasKernelMoves) -> list[tuple[FittedGroup, HasKernelMoves, int]]:
    """Fit the group model with each structure, its own first; without those in which people do not differ."""
    refit = getattr(model, "refit", None)
    if not isinstance(source, HasRivals) or refit is None:
        raise ConfigError(
            "averages over structures fit the group model again, and what it was fitted with is not known",
            got="a group model that was read from a folder" if refit is None else type(source).__name__,
            do="fit it again by spice_group(fit, formula)",
        )
    (own, count), *others = source.rival_fits
    groups: list[tuple[FittedGroup, HasKernelMoves, int]] = [(model, own, count)]
    with warnings.catch_warnings():
        # what is withheld does not count
        warnings.simplefilter("ignore", SpicestatWarning)
        for fit, times in others:
            with suppress(DataError, NumericalError):
                groups.append((refit(fit), fit, times))
    return groups


def _tables(
    events: Sequence[Event], each: Sequence[Curves], levels: KernelLevels, conf_level: float, remedy: str = ""
) -> pd.DataFrame:
    """Lay out the kernels of each event; say where nothing is known of contrasts."""
    for event, curves in zip(events, each, strict=True):
        if curves.silent:
            warn_user(
                f"the weights of all states that one {event} changes are the population's, so that nothing is known of "
                f"differences between people: contrasts of {event} kernels are missing{remedy}.",
                IdentifiabilityWarning,
            )
    tables = [_table(event, curves, levels, conf_level) for event, curves in zip(events, each, strict=True)]
    return pd.concat(tables, ignore_index=True)


def _table(event: Event, curves: Curves, levels: KernelLevels, conf_level: float) -> pd.DataFrame:
    there = np.isfinite(curves.mean[0])
    L = len(there)
    kept = np.tile(there, len(curves.mean))
    square = curves.covariance[np.ix_(kept, kept)].reshape(len(curves.mean), there.sum(), len(curves.mean), there.sum())
    known = curves.mean[:, there]
    combine, dfs = levels.combine, curves.df
    # half-lives are ratios, for which what levels share counts little
    shape_df = float(dfs[len(known) :, -1].min())
    shapes, draws = _shapes(known, square, shape_df)
    who = [(label, None) for label in levels.labels] + [(None, label) for label in levels.contrasts]
    kernels = combine @ curves.mean
    spread = np.einsum("qa,albm,qb->qlm", combine, square, combine)
    rows = []
    for q, (label, contrast) in enumerate(who):
        where: dict[str, Any] = {"event": event, "variable": levels.variable, "level": label, "contrast": contrast}
        errors = np.full(L, np.nan)
        errors[there] = np.sqrt(np.maximum(np.diag(spread[q]), 0.0))
        rows += [
            where
            | {"quantity": "kernel", "lag": lag + 1}
            | _by_t(kernels[q, lag], errors[lag], dfs[q, lag], conf_level)
            for lag in range(L)
        ]
        total = np.sqrt(max(float(spread[q].sum()), 0.0))
        rows.append(where | {"quantity": "total"} | _by_t(np.nansum(kernels[q]), total, dfs[q, -1], conf_level))
        for k, name in enumerate(("half_life", "learning_rate")):
            numbers = from_draws(combine[q] @ shapes[:, k], draws[:, :, k] @ combine[q], conf_level)
            found = dict(zip(_NUMBERS, numbers, strict=True))
            rows.append(where | {"quantity": name, "df": shape_df} | found)
    table = pd.DataFrame(rows).reindex(columns=[*_COLUMNS, "conf_low", "conf_high"]).assign(conf_level=conf_level)
    if curves.silent:
        table.loc[table["contrast"].notna(), _NUMBERS] = np.nan
    if curves.withheld:
        table[["conf_low", "conf_high"]] = np.nan
    return table


def _by_t(estimate: float, error: float, df: float, conf_level: float) -> dict[str, float]:
    half = float(student.ppf(0.5 + conf_level / 2.0, df)) * error
    numbers = {"estimate": estimate, "std_error": error, "conf_low": estimate - half, "conf_high": estimate + half}
    return {name: float(value) for name, value in numbers.items()} | {"df": float(df)}


def _shapes(curves: Floats, square: Floats, df: float) -> tuple[Floats, Floats]:
    """Half-life and learning rate of m kernels, (m, 2), and of multivariate t draws around these, (draws, m, 2)."""
    m, L = curves.shape
    errors = np.sqrt(np.maximum(np.einsum("alal->al", square), 0.0))
    rng = np.random.default_rng(_SEED)
    points = rng.standard_normal((_DRAWS, m * L))
    if np.isfinite(df):
        points *= np.sqrt(df / rng.chisquare(df, (_DRAWS, 1)))
    draws = curves + (points @ covariance_root(square.reshape(m * L, m * L)).T).reshape(_DRAWS, m, L)
    return np.stack(derive(curves, errors), axis=-1), np.stack(derive(draws, errors), axis=-1)
