"""Figures of fits: how people differ, and how the network was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from matplotlib.figure import Figure

from spicestat._colours import BLUE, COLOURS, ORANGE
from spicestat._drawing import panels
from spicestat.errors import ConfigError
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.models.pieces import EnsembleEmbedding
from spicestat.pooled.kernels import Event

__all__ = [
    "FitPlot",
    "embedding_figure",
    "embeddings_of",
    "events_of",
    "fit_figure",
    "own_coefficients",
    "people_figure",
    "training_figure",
]

FitPlot = Literal["people", "training", "kernels"]


def fit_figure(fit: SpiceFit | HistoryFit | TaskFit, kind: FitPlot | str = "people") -> Figure:
    """Draw people's coefficients, the training of the network, or the kernels of a fit without one.

    Raises
    ------
    ConfigError
        An unknown kind, or one that this fit has not.
    """
    if kind == "people":
        return people_figure(fit)
    if kind == "training" and isinstance(fit, SpiceFit):
        return training_figure(fit)
    if kind == "kernels" and isinstance(fit, HistoryFit):
        return fit.kernels(events=events_of(fit)).plot()
    absent = {TaskFit: {"kernels", "training"}, SpiceFit: {"kernels"}}.get(type(fit), {"training"})
    kinds = [name for name in get_args(FitPlot) if name not in absent]
    raise ConfigError("this plot is not one of the fit", got=kind, allowed=", ".join(kinds))


def events_of(fit: HistoryFit) -> list[Event]:
    """Return the kernels that there are: without different rewards, only that of choices."""
    low, high = fit.trials.record["reward_range"] or (0.0, 0.0)
    return ["reward", "choice"] if high > low else ["choice"]


def own_coefficients(fit: SpiceFit | HistoryFit | TaskFit) -> list[tuple[str, np.ndarray]]:
    """Return the name and everybody's values of each coefficient that people have of their own; pooled, if it can be.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> fit = spice_fit(simulate_cohort(6, 60, seed=1).trials, block="block", trial="trial")
    >>> all(len(values) == 6 for _, values in own_coefficients(fit))
    True
    """
    table = fit.tidy()
    own = table[table["selected"] & ~table["shared"]] if "shared" in table else table[table["selected"]]
    value = "pooled" if "pooled" in table else "estimate"
    parts = [
        (str(term) if isinstance(fit, HistoryFit) else f"{module}: {term}", part[value])
        for (module, term), part in own.groupby(["module", "term"], sort=False)
    ]
    values = [(name, part.dropna().to_numpy(dtype="float64")) for name, part in parts]
    return [(name, part) for name, part in values if len(part)]


def people_figure(fit: SpiceFit | HistoryFit | TaskFit) -> Figure:
    """Draw points of all people, one panel per coefficient, four in a row; outermost hundredths are cut off.

    Raises
    ------
    ConfigError
        Nothing is people's own.
    """
    coefficients = own_coefficients(fit)
    if not coefficients:
        raise ConfigError("nothing is people's own, so that there is nothing to draw", got="people")
    figure, axes = panels(len(coefficients), 2.75, 1.95)
    rng = np.random.default_rng(0)
    for axis, (name, values) in zip(axes, coefficients, strict=False):
        axis.plot(values, rng.uniform(-0.3, 0.3, len(values)), ".", color=BLUE, alpha=0.5, markersize=4)
        axis.axvline(float(np.median(values)), color=ORANGE, linewidth=1.2)
        low, high = np.quantile(values, [0.01, 0.99]) if len(values) > 20 else (values.min(), values.max())
        pad = 0.06 * (high - low) or 1.0
        axis.set(yticks=[], ylim=(-0.6, 0.6), xlim=(low - pad, high + pad))
        axis.set_title(name if len(name) < 44 else name[:41] + "...", fontsize=8)
        axis.tick_params(labelsize=8)
    return figure


def training_figure(fit: SpiceFit) -> Figure:
    """Draw the loss of the network by epoch, in training and, where some choices were kept apart, in validation."""
    training = fit.model.training
    figure, (axis,) = panels(1, 5.5, 3.0)
    axis.plot(np.arange(1, len(training.train_nll) + 1), training.train_nll, color=BLUE, label="training")
    if training.validation_nll:
        epochs, nll = zip(*training.validation_nll, strict=True)
        axis.plot(epochs, nll, color=ORANGE, marker=".", label="validation")
        axis.legend(frameon=False, fontsize=8)
    axis.axvline(training.best_epoch, color="#9aa5ad", linewidth=0.8, zorder=0)
    axis.set(xlabel="epoch", ylabel="NLL per choice, nats")
    return figure


def embeddings_of(fit: SpiceFit) -> np.ndarray | None:
    """Return everybody's embedding by the network's first member, (P, E); None without one of two numbers or more."""
    n_people = fit.trials.n_participants
    for piece in fit.model.network.modules():
        if isinstance(piece, EnsembleEmbedding) and piece.weight.shape[1] == n_people > 2 <= piece.weight.shape[2]:
            return np.asarray(piece.weight[0].detach().numpy(), dtype="float64")
    return None


def embedding_figure(fit: SpiceFit, levels: tuple[str, Sequence[str]] | None = None) -> Figure:
    """Draw everybody's embedding on its two main directions, coloured by the levels of a covariate.

    Raises
    ------
    ConfigError
        The network has no embedding of participants.
    """
    embeddings = embeddings_of(fit)
    if embeddings is None:
        raise ConfigError("the network has no embedding of participants with two numbers or more", got="embedding")
    centred = embeddings - embeddings.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    places, shares = left[:, :2] * size[:2], size**2 / (size**2).sum()
    name, own = ("", [""] * len(places)) if levels is None else levels
    figure, (axis,) = panels(1, 5.0, 4.0)
    for number, level in enumerate(dict.fromkeys(own)):
        here = places[np.array([other == level for other in own])]
        label = f"{name}: {level}".replace("$", r"\$")
        axis.plot(here[:, 0], here[:, 1], "o", color=COLOURS[number % len(COLOURS)], alpha=0.7, label=label)
    if levels is not None:
        axis.legend(fontsize=8)
    first, second = (f"direction {k + 1} ({100 * shares[k]:.0f} % of the variance)" for k in range(2))
    axis.set(xlabel=first, ylabel=second)
    return figure
