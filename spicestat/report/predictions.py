"""What a report says about predictions: scores, left-out choices, and choices that the fit would make."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spicestat._colours import BLUE, ORANGE
from spicestat._drawing import panels
from spicestat.fit.api import SpiceFit
from spicestat.fit.history import HistoryFit
from spicestat.fit.ladder import LadderResult
from spicestat.fit.task_fit import TaskFit
from spicestat.report.page import Section, picture, sheet
from spicestat.studies.redrawn import redrawn
from spicestat.studies.redrawn_curves import redrawn_curves

__all__ = ["check_sections", "curve_figure", "prediction_sections"]

_SEED = 20261128


def prediction_sections(scores: pd.DataFrame, ladder: LadderResult | None) -> list[Section]:
    """Show the fit's own scores, and the ladder on choices that were left out."""
    tables = [sheet(scores, "Mean negative log-likelihood per choice, in nats: smaller is better")]
    texts, figures = [], []
    if ladder is None:
        texts.append(
            "How well choices are predicted that the fit has not seen, beside simpler models: spice_ladder(fit)."
        )
    else:
        texts.append(ladder.verdict[:1].upper() + ladder.verdict[1:])
        tables.append(sheet(ladder.table, "Choices that were left out"))
        figures.append(picture(ladder.plot(), "Negative log-likelihood of left-out choices by each rung of the ladder"))
    return [Section("How well choices are predicted", [text for text in texts if text], figures=figures, tables=tables)]


def check_sections(fit: SpiceFit | HistoryFit | TaskFit) -> list[Section]:
    """Compare observed choices with those that the fit draws; nothing of tasks and of models of response times."""
    if isinstance(fit, TaskFit) or (isinstance(fit, SpiceFit) and fit.model.network.needs_times):
        return []
    table = redrawn_curves(redrawn(fit), np.random.default_rng(_SEED), n_bins=8)
    if not len(table):
        return []
    names = list(dict.fromkeys(table["curve"]))
    n_off = int((table["p_value"] < 0.05).sum())
    text = (
        "Dots are observed shares, bands hold 95 % of what the fit draws anew after the same histories, over the "
        f"trials of a block. {n_off} of {len(table)} dots are further away than chance allows (p < .05, by Bonferroni)."
    )
    figure = picture(curve_figure(table), f"Observed and drawn shares of choices: {', '.join(names)}")
    return [
        Section(
            "Does the fit choose as people do?",
            [text],
            figures=[figure],
            tables=[sheet(table, "Observed and drawn choices", folded=True)],
        )
    ]


def curve_figure(table: pd.DataFrame) -> Figure:
    """Draw the curves of `redrawn_curves`, a panel each."""
    names = list(dict.fromkeys(table["curve"]))
    figure, axes = panels(len(names), 3.2, 2.8, sharey=True)
    for axis, name in zip(axes, names, strict=True):
        rows = table[table["curve"] == name]
        middle = (rows["trial_low"] + rows["trial_high"]) / 2.0
        axis.fill_between(middle, rows["conf_low"], rows["conf_high"], color=BLUE, alpha=0.25, linewidth=0)
        axis.plot(middle, rows["predicted"], color=BLUE, linewidth=1.2)
        axis.plot(middle, rows["observed"], "o", color=ORANGE, markersize=4)
        axis.set_title(name, fontsize=9)
        axis.set(xlabel="trial of the block")
        axis.tick_params(labelsize=8)
    axes[0].set(ylabel="share of choices")
    return figure
