"""The first lines of a report: how well choices are predicted, what rewards and choices do, and who differs."""

from __future__ import annotations

import math

import pandas as pd

from spicestat.fit.kernels import Kernels
from spicestat.group.after.kernel_effects import GroupKernels
from spicestat.group.result import GroupResult
from spicestat.report.page import Section

__all__ = ["in_short"]

_ALPHA, _MOST = 0.05, 6
_OWN_SCORES = ("left_out", "model", "refit")


def in_short(
    scores: pd.DataFrame, kernels: Kernels | None, group: GroupResult | None, by_level: list[GroupKernels]
) -> Section:
    """Say the results in sentences.

    Parameters
    ----------
    scores : DataFrame
        Of the fit.
    kernels : Kernels, optional
        Of a fit that has them.
    group : GroupResult, optional
    by_level : list of GroupKernels
        Of the group model's covariates.
    """
    texts = [_predicted(scores)]
    texts += [] if kernels is None else [_event(*row) for row in _totals(kernels)]
    if group is not None:
        texts.append(_effects(group))
    texts += [text for found in by_level for text in _differences(found)]
    return Section("In short", texts)


def _predicted(scores: pd.DataFrame) -> str:
    nll = scores.set_index("model")["nll"]
    own = next((name for name in _OWN_SCORES if name in nll), str(nll.index[0]))
    where = "each block predicted from the others" if own == "left_out" else "those that it was fitted to"
    guessing = f"; guessing gives {_percent(nll['guessing'])}" if "guessing" in nll else ""
    return f"The fit gives people's choices ({where}) a typical probability of {_percent(nll[own])}{guessing}."


def _percent(nll: float) -> str:
    return f"{100.0 * math.exp(-nll):.0f} %"


def _totals(kernels: Kernels) -> list[tuple[str, float, float, float, int]]:
    rows = kernels.influence.query("scope == 'population' and quantity == 'total'")
    lags = int(kernels.lags["lag"].max())
    numbers = rows[["estimate", "conf_low", "conf_high"]].to_numpy(dtype="float64").tolist()
    return [(str(event), *row, lags) for event, row in zip(rows["event"], numbers, strict=True)]


def _event(event: str, total: float, low: float, high: float, lags: int) -> str:
    """Say in which direction one event moves the choices after it, all together."""
    what = "One reward" if event == "reward" else "One choice"
    sure = "raises" if total > 0.0 else "lowers"
    effect = "does not clearly change" if low <= 0.0 <= high else sure
    return (
        f"{what} {effect} the chance that its action is chosen in the {lags} choices after it: {total:.3g} log odds "
        f"[{low:.3g}, {high:.3g}], all of these choices together."
    )


def _effects(group: GroupResult) -> str:
    table = group.tidy().query("term != '(Intercept)'")
    if not len(table):
        return "The group model has no covariate."
    if table["p_adjusted"].isna().all():
        return "No effect of a covariate has a p-value; the messages say why."
    found = table[table["p_adjusted"] < _ALPHA].sort_values("p_adjusted")
    if not len(found):
        return f"None of {len(table)} effects of covariates on single coefficients is significant after adjustment."
    rows = found.head(_MOST)
    told = [
        f"{row.term} on {row.sparse_term} ({row.estimate:.3g} [{row.conf_low:.3g}, {row.conf_high:.3g}])"
        for row in rows.itertuples()
    ]
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return (
        f"{len(found)} of {len(table)} effects of covariates on single coefficients have an adjusted p-value below "
        f".05: {', '.join(told)}{more}."
    )


def _differences(found: GroupKernels) -> list[str]:
    """Say which levels differ in what one event does, all choices after it together."""
    rows = found.frame[(found.frame["quantity"] == "total") & found.frame["contrast"].notna()]
    sure = rows[(rows["conf_low"] > 0.0) | (rows["conf_high"] < 0.0)]
    return [
        f"What one {row.event} does, all choices after it together, differs by {found.variable} "
        f"({_contrast(str(row.contrast))}): {row.estimate:.3g} log odds [{row.conf_low:.3g}, {row.conf_high:.3g}], "
        "not adjusted."
        for row in sure.itertuples()
    ]


def _contrast(contrast: str) -> str:
    return "per unit" if contrast == "slope" else contrast
