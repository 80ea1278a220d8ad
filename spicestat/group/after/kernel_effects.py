"""Effects of covariates on kernels: what one reward, and one choice, does to the next choices of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spicestat._checks import check_level
from spicestat._colours import COLOURS
from spicestat._display import html_block, screen
from spicestat.errors import ConfigError, DataError, IdentifiabilityWarning, warn_user
from spicestat.group.after.fitted import FittedGroup, design_of
from spicestat.group.formula.functions import level_word
from spicestat.pooled.kernel_shape import derive, from_draws, history_spread
from spicestat.pooled.kernels import EVENTS, Event, FittedMoves, check_events
from spicestat.pooled.packed import Floats
from spicestat.pooled.prediction import covariance_root
from spicestat.trials.labels import label_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GroupKernels", "HasKernelMoves", "KernelLevels", "effects_at", "kernel_effects"]

_COLUMNS = ("event", "quantity", "variable", "level", "contrast", "lag", "estimate", "std_error", "df")
_DRAWS, _SEED = 400, 20261128
_NOTHING = 1e-9


@runtime_checkable
class HasKernelMoves(Protocol):
    """A fit whose kernels are linear in people's coefficients, such as `spicestat.HistoryFit`."""

    def kernel_moves(self, event: Event, *, lags: int = 20, events_per_person: int = 60) -> FittedMoves:
        """Return everybody's kernels as functions of their coefficients."""


@dataclass(frozen=True, eq=False)
class KernelLevels:
    """Kinds of people whose kernels are compared.

    Attributes
    ----------
    variable : str
        The covariate.
    labels : tuple of str, length m
        Its levels.
    rows : ndarray of shape (m, p)
        Row of the design of each, averaged over the other covariates.
    names : tuple of str, length p
        Columns of the design.
    contrasts : tuple of str, length q
    weights : ndarray of shape (q, m)
        Each contrast as a linear function of the levels.
    """

    variable: str
    labels: tuple[str, ...]
    rows: Floats
    names: tuple[str, ...]
    contrasts: tuple[str, ...]
    weights: Floats


@dataclass(frozen=True, eq=False, repr=False)
class GroupKernels:
    """Kernels at levels of a covariate, and how they differ; see `GroupResult.kernels`.

    Attributes
    ----------
    frame : DataFrame
        ``event`` (reward, choice), ``quantity`` (kernel, total, half_life, learning_rate), ``variable``, ``level`` or
        ``contrast`` (the other one is missing), ``lag`` (of a kernel), ``estimate, std_error, df, conf_low, conf_high,
        conf_level``.
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
        from spicestat._drawing import panels

        rows = self.frame[(self.frame["quantity"] == "kernel") & self.frame["level"].notna()]
        events, levels = (list(dict.fromkeys(rows[name])) for name in ("event", "level"))
        figure, axes = panels(len(events), 3.7, 3.2)
        for axis, event in zip(axes, events, strict=True):
            axis.axhline(0.0, color="#BDBDBD", linewidth=0.8)
            for place, level in enumerate(levels):
                curve = rows[(rows["event"] == event) & (rows["level"] == level)]
                colour = COLOURS[place % len(COLOURS)]
                axis.fill_between(
                    curve["lag"], curve["conf_low"], curve["conf_high"], color=colour, alpha=0.2, linewidth=0
                )
                label = f"{self.variable}: {level}".replace("$", r"\$")
                axis.plot(curve["lag"], curve["estimate"], color=colour, marker="o", markersize=3, label=label)
            axis.set(xlabel=f"choices after one {event}", ylabel="change in log odds of repeating")
        axis.legend(fontsize=8)
        return figure

    def __repr__(self) -> str:
        text = self._summary().to_string(index=False, na_rep="", float_format="{:.3f}".format)
        return screen(f"{self._title()}:\n{text}", "tidy()")

    def _repr_html_(self) -> str:
        return html_block("Kernels of a group model", [self._title()], self._summary())

    def _title(self) -> str:
        level = 100 * float(self.frame["conf_level"].iloc[0])
        return f"Kernels by {self.variable} over {int(self.frame['lag'].max())} choices, {level:g} % intervals"

    def _summary(self) -> pd.DataFrame:
        rows = self.frame[self.frame["quantity"] != "kernel"]
        who = rows["level"].where(rows["level"].notna(), rows["contrast"])
        shown = rows[["event", "quantity", "estimate", "std_error", "conf_low", "conf_high"]].copy()
        shown.insert(2, self.variable, who)
        return shown


def kernel_effects(
    model: FittedGroup,
    covariate: str | None = None,
    *,
    fit: HasKernelMoves | None = None,
    events: Sequence[Event] = EVENTS,
    lags: int = 20,
    events_per_person: int = 60,
    conf_level: float | None = None,
) -> GroupKernels:
    r"""Return what one reward, and one choice, does to the next choices at each level of a covariate.

    `Kernels` says what a kernel is. Person i's is :math:`M_i w_i`, with what an event changes in the states of their
    own history, :math:`M_i`, and their weights. At level c of the covariate it is the mean over everybody of

    .. math:: M_i (\bar x_c'\gamma + \hat u_i):

    the weights that the model predicts, other covariates as they are, and everybody's own deviation. So levels differ
    in weights, never in the histories that people happened to have. Levels are those of a factor, or the mean of a
    number minus and plus one standard deviation over the rows of the design.

    Kernels and totals are linear in :math:`\gamma`, and their errors are those of the joint covariance of all effects,
    of the shared weights (as the fit has them) and of the histories; half-lives and effective learning rates have
    quantiles of 400 draws. Degrees of freedom are combined from those of the effects as Welch and Satterthwaite do.

    The states of the fit are taken as known, unlike in `HistoryFit.kernels`: a state that the search missed, or whose
    weight it shared, cannot show a difference. Contrasts are missing, with a warning, where all that an event changes
    is shared. After a search, intervals of differences between totals hold the truth
    as often as they should; those of half-lives and learning rates, which depend on the states most, are too short
    (benchmarks/results/group_kernels.md).

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

    Returns
    -------
    GroupKernels
        Per event and level, and per contrast (level - reference, or ``slope`` per unit of a number): the kernel at each
        lag, and ``total``, ``half_life`` and ``learning_rate``, which are missing where a kernel has both signs.

    Raises
    ------
    ConfigError
        The model is not of a fit with kernels or not of all coefficients, its method estimates them separately, a
        weight has a link, or an argument is out of range.
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
    return effects_at(model, fit, _levels_of(model, covariate), events, lags, events_per_person, conf_level)


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
    tables = []
    for event in dict.fromkeys(events):
        fitted = source.kernel_moves(event, lags=lags, events_per_person=events_per_person)
        tables.append(_table(event, _curves(model, event, fitted, levels), levels, level))
    return GroupKernels(pd.concat(tables, ignore_index=True), levels.variable)


class _Curves(NamedTuple):
    """Kernels of m levels, (m, L), NaN where nobody reaches a lag, and their covariance (m L, m L).

    They are linear in the effects, by ``slope`` (m, L, E).
    """

    mean: Floats
    covariance: Floats
    slope: Floats
    effects: _Effects


def _curves(model: FittedGroup, event: Event, fitted: FittedMoves, levels: KernelLevels) -> _Curves:
    effects = _effects(model, fitted.terms, levels.names)
    places, deviation = _deviations(model, fitted)
    mean, reached = fitted.moves.mean[places], fitted.moves.n_events[places] > 0
    n, (m, L) = np.maximum(reached.sum(axis=0), 1), (len(levels.rows), reached.shape[1])
    own = deviation[:, None] + levels.rows @ effects.gamma
    weights = np.concatenate([own, np.tile(fitted.shared, (*own.shape[:2], 1))], axis=2)
    average = np.where(reached[..., None], mean, 0.0).sum(axis=0) / n[:, None]
    values = np.einsum("nlk,nck->ncl", mean, weights)
    reaches = np.tile(reached[:, None], (1, m, 1))
    curves = np.where(reaches, values, 0.0).sum(axis=0) / n
    n_own = len(fitted.terms)
    slope = np.einsum("lk,cp->clkp", average[:, :n_own], levels.rows).reshape(m * L, -1)
    shared = np.tile(average[:, n_own:], (m, 1))
    same = np.einsum("lk,nck->ncl", average, weights)
    flat = (len(mean), m * L)
    covariance = slope @ effects.covariance @ slope.T + shared @ fitted.shared_covariance @ shared.T
    covariance += history_spread(values.reshape(flat), same.reshape(flat), reaches.reshape(flat))
    curves[:, ~reached.any(axis=0)] = np.nan
    if np.abs(average[:, :n_own]).max(initial=0.0) <= _NOTHING * np.abs(average).max(initial=0.0):
        warn_user(
            f"the weights of all states that one {event} changes are the population's, so that nothing is known of "
            f"differences between people: contrasts of {event} kernels are missing.",
            IdentifiabilityWarning,
        )
        effects = effects._replace(silent=True)
    return _Curves(curves, covariance, slope.reshape(m, L, -1), effects)


class _Effects(NamedTuple):
    """Effects of p columns on K coefficients, (p, K), their covariance (K p, K p), degrees of freedom (K p,)."""

    gamma: Floats
    covariance: Floats
    df: Floats
    withheld: bool
    silent: bool = False

    def df_of(self, slope: Floats) -> Floats:
        """Degrees of freedom of linear functions (..., K p), by Welch and Satterthwaite, between those involved."""
        parts = slope * (slope @ self.covariance)
        total, spread = parts.sum(axis=-1), (parts**2 / self.df).sum(axis=-1)
        involved = np.abs(slope) > 1e-12 * np.abs(slope).max(axis=-1, keepdims=True, initial=1e-300)
        low = np.where(involved, self.df, np.inf).min(axis=-1)
        high = np.where(involved, self.df, 0.0).max(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(spread > 0, total**2 / spread, high)
        return np.asarray(np.clip(found, low, np.maximum(low, high)))


def _effects(model: FittedGroup, terms: Sequence[tuple[str, str]], names: Sequence[str]) -> _Effects:
    joint = model.joint_covariance
    if joint is None:
        raise ConfigError(
            "kernels join all coefficients, and the method estimates each of them alone",
            got=f"method={model.method!r}",
            do='use method="hierarchical", or "multivariate_meta"',
        )
    linked = [":".join(term) for term in terms if model.links.get(term, "identity") != "identity"]
    if linked:
        raise ConfigError("kernels are sums of weights, which have a link", got=", ".join(linked), do="leave it out")
    fixed = model.coefficients[model.coefficients["effect"] == "fixed"]
    by_effect = fixed.set_index(["module", "sparse_term", "term"])
    known = set(zip(fixed["module"], fixed["sparse_term"], strict=True))
    lacking = [":".join(term) for term in terms if term not in known]
    if lacking:
        raise ConfigError(
            "kernels need all coefficients, and the group model lacks some",
            got=", ".join(lacking),
            do='leave out `modules` and `terms`, or use method="hierarchical"',
        )
    wanted = pd.MultiIndex.from_tuples([(*term, name) for term in terms for name in names])
    # a covariate that is kept off a coefficient has the effect 0 for certain
    gamma = by_effect["estimate"].reindex(wanted).fillna(0.0).to_numpy().reshape(len(terms), -1).T
    covariance = joint.reindex(index=wanted, columns=wanted).fillna(0.0).to_numpy()
    withheld = bool(fixed["conf_low"].isna().all())
    df = by_effect["df"].reindex(wanted).fillna(np.inf).to_numpy(dtype="float64")
    return _Effects(gamma, covariance, df, withheld)


def _deviations(model: FittedGroup, fitted: FittedMoves) -> tuple[np.ndarray, Floats]:
    """Return the participants of the model, as positions in the fit, and their deviations (n, K)."""
    values = model.ran_vals
    if values is None:
        raise ConfigError("the method gives no deviations of participants", do='use method="hierarchical"')
    own = values[values["term"] == "(Intercept)"]
    wide = own.assign(level=own["level"].map(label_key)).pivot_table(
        "estimate", "level", ["module", "sparse_term"], observed=True
    )
    keys = [label_key(label) for label in fitted.participants]
    places = np.flatnonzero([key in wide.index for key in keys])
    if len(places) < len(wide):
        raise ConfigError("the fit is not the one that the group model is of", got="other participants")
    chosen = wide.reindex(index=[keys[place] for place in places], columns=pd.MultiIndex.from_tuples(fitted.terms))
    return places, chosen.to_numpy(dtype="float64")


def _table(event: Event, curves: _Curves, levels: KernelLevels, conf_level: float) -> pd.DataFrame:
    there = np.isfinite(curves.mean[0])
    L = len(there)
    kept = np.tile(there, len(curves.mean))
    square = curves.covariance[np.ix_(kept, kept)].reshape(len(curves.mean), there.sum(), len(curves.mean), there.sum())
    known = curves.mean[:, there]
    combine = np.vstack([np.eye(len(known)), levels.weights])
    slope = np.einsum("qm,mle->qle", combine, curves.slope)
    dfs = curves.effects.df_of(np.concatenate([slope, slope[:, there].sum(axis=1, keepdims=True)], axis=1))
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
            found = dict(zip(("estimate", "std_error", "conf_low", "conf_high"), numbers, strict=True))
            rows.append(where | {"quantity": name, "df": shape_df} | found)
    table = pd.DataFrame(rows).reindex(columns=[*_COLUMNS, "conf_low", "conf_high"]).assign(conf_level=conf_level)
    if curves.effects.silent:
        table.loc[table["contrast"].notna(), ["estimate", "std_error", "conf_low", "conf_high"]] = np.nan
    if curves.effects.withheld:
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

    def both(kernels: Floats) -> Floats:
        return np.array([derive(kernel, error) for kernel, error in zip(kernels, errors, strict=True)])

    return both(curves), np.array([both(draw) for draw in draws])
