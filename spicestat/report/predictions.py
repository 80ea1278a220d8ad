"""What a report says about predictions: scores, left-out choices, and choices that the fit would make."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spicestat._colours import BLUE, ORANGE
from spicestat._drawing import panels
from spicestat.fit.history import HistoryFit
from spicestat.fit.ladder import LadderResult
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.result import GroupResult
from spicestat.report.levels import UNKNOWN, people_levels
from spicestat.report.page import Section, picture, sheet
from spicestat.studies.redrawn import redrawn
from spicestat.studies.redrawn_curves import redrawn_curves

__all__ = ["check_sections", "curve_figure", "prediction_sections"]

_SEED = 20261128
_MEANINGS = {
    "history": "this fit, on the choices that it was fitted to",
    "left_out": "this fit, each block predicted from the others of the same person",
    "model": "this fit, on the choices that it was fitted to",
    "rnn": "the network, on the choices that it was trained with",
    "equations": "equations read off the network",
    "refit": "these equations with coefficients estimated from the choices",
    "shares": "how often each person chose each action, whatever happened before",
    "guessing": "all actions alike",
    "oracle": "the true parameters of a simulation",
}


def prediction_sections(scores: pd.DataFrame, ladder: LadderResult | None) -> list[Section]:
    """Show the fit's own scores, and the ladder on choices that were left out."""
    table = scores.assign(**{"typical probability": np.exp(-scores["nll"].to_numpy())})
    table.insert(1, "what it is", [_MEANINGS.get(str(name), "") for name in table["model"]])
    tables = [sheet(table, "Mean negative log-likelihood (nll) per choice, in nats: smaller is better")]
    texts = [
        "The typical probability is exp(-nll): the geometric mean of the probabilities that a model gave to the "
        "choices that were made."
    ]
    figures = []
    if ladder is None:
        texts.append(
            "spice_ladder(fit) compares with more models, on choices that none of them has seen; it is shown here with "
            "spice_report(ladder=...)."
        )
    else:
        texts.append(ladder.verdict[:1].upper() + ladder.verdict[1:])
        tables.append(sheet(ladder.table, "Choices that were left out"))
        figures.append(picture(ladder.plot(), "Negative log-likelihood of left-out choices by each rung of the ladder"))
    return [Section("How well choices are predicted", [text for text in texts if text], figures=figures, tables=tables)]


def check_sections(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult | None) -> list[Section]:
    """Compare observed choices with those that the fit draws, of all people and by the first covariate.

    Nothing is said of tasks and of models of response times.
    """
    if isinstance(fit, TaskFit) or (isinstance(fit, SpiceFit) and fit.model.network.needs_times):
        return []
    known = people_levels(fit, group)
    levels = None if known is None else known[1]
    table = redrawn_curves(redrawn(fit), np.random.default_rng(_SEED), n_bins=8, levels=levels)
    if not len(table):
        return []
    names = list(dict.fromkeys(table["curve"]))
    n_off = int((table["p_value"] < 0.05).sum())
    text = (
        "Dots are observed shares, bands hold 95 % of what the fit draws anew after the same histories, over the "
        f"trials of a block. {n_off} of {len(table)} dots are further away than chance allows (p < .05, by Bonferroni)."
    )
    shown = f"Observed and drawn shares of choices: {', '.join(names)}"
    if known is None:
        figures = [picture(curve_figure(table), shown)]
    else:
        everybody, by_level = table[table["group"].isna()], table[~table["group"].isin([None, UNKNOWN])]
        figures = [picture(curve_figure(everybody), shown), picture(curve_figure(by_level), f"{shown}, by {known[0]}")]
        table = table.assign(group=table["group"].fillna("everybody")).rename(columns={"group": known[0]})
        text += f" Below, the same by {known[0]}."
    return [
        Section(
            "Does the fit choose as people do?",
            [text],
            figures=figures,
            tables=[sheet(table, "Observed and drawn choices", folded=True)],
        )
    ]


def curve_figure(table: pd.DataFrame) -> Figure:
    """Draw the curves of `redrawn_curves`, a panel each; the levels of one are a row."""
    parts = table.assign(group=table["group"].fillna("") if "group" in table else "").groupby(
        ["group", "curve"], sort=False
    )
    n_levels = table["group"].nunique() if "group" in table else 0
    figure, axes = panels(len(parts), 3.2, 2.8, columns=n_levels or len(parts), sharey=True)
    for axis, ((level, name), rows) in zip(axes, parts, strict=False):
        middle = (rows["trial_low"] + rows["trial_high"]) / 2.0
        axis.fill_between(middle, rows["conf_low"], rows["conf_high"], color=BLUE, alpha=0.25, linewidth=0)
        axis.plot(middle, rows["predicted"], color=BLUE, linewidth=1.2)
        axis.plot(middle, rows["observed"], "o", color=ORANGE, markersize=4)
        title = f"{level}: {name}" if level else str(name)
        axis.set_title(title.replace("$", r"\$"), fontsize=9)
        axis.set(xlabel="trial of the block")
        axis.tick_params(labelsize=8)
    axes[0].set(ylabel="share of choices")
    return figure
