"""The first lines of a report: how well choices are predicted, what rewards and choices do, and who differs."""

from __future__ import annotations

import math

import pandas as pd

from spicestat.fit.kernels import Kernels
from spicestat.group.after.hypotheses import covariates_together
from spicestat.group.after.kernel_effects import GroupKernels
from spicestat.group.after.text import p_value_text
from spicestat.group.result import GroupResult
from spicestat.report.levels import effect_words
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
    texts += [] if kernels is None else [_event(kernels, event) for event in dict.fromkeys(kernels.lags["event"])]
    if group is not None:
        texts += [*_together(group), _effects(group)]
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


def _event(kernels: Kernels, event: str) -> str:
    """Say in which direction one event moves the choices after it, and if it is another one for the very next."""
    n_lags = int(kernels.lags["lag"].max())
    total, low, high = _numbers(kernels.influence, event, "quantity == 'total'")
    start = f"Summed over the next {n_lags} choices, one {event}"
    if low <= 0.0 <= high:
        return (
            f"{start} does not clearly change the log odds that its action is chosen again "
            f"({total:.3g} [{low:.3g}, {high:.3g}])."
        )
    does = "raises" if total > 0.0 else "lowers"
    text = f"{start} {does} the log odds that its action is chosen again by {total:.3g} [{low:.3g}, {high:.3g}]."
    first, low, high = _numbers(kernels.lags, event, "lag == 1")
    if first * total < 0.0 and low * high > 0.0:
        text += f" At the very next choice it is the other way round: {first:.3g} [{low:.3g}, {high:.3g}]."
    return text


def _numbers(table: pd.DataFrame, event: str, which: str) -> list[float]:
    """Return the estimate of the population and its interval."""
    rows = table.query(f"scope == 'population' and {which}").set_index("event")
    return [float(number) for number in rows.loc[event, ["estimate", "conf_low", "conf_high"]].to_numpy()]


def _together(group: GroupResult) -> list[str]:
    """Say of each covariate whether it has to do with the coefficients at all."""
    tests = covariates_together(group)
    numbers = tests[["statistic", "df_num", "df", "p_value"]].to_numpy(dtype="float64")
    return [
        f"All coefficients together {'differ' if p_value < _ALPHA else 'do not clearly differ'} with {term}: "
        f"F({df_num:.0f}, {df:.0f}) = {statistic:.3g}, p {_equals(p_value)}."
        for term, (statistic, df_num, df, p_value) in zip(tests["term"], numbers, strict=True)
    ]


def _equals(p_value: float) -> str:
    text = p_value_text(p_value)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


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
    words = effect_words(group)
    told = [
        f"{words.get(str(row.term), row.term)} on {row.sparse_term} "
        f"({row.estimate:.3g} [{row.conf_low:.3g}, {row.conf_high:.3g}])"
        for row in rows.itertuples()
    ]
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    have = "has" if len(found) == 1 else "have"
    return (
        f"{len(found)} of {len(table)} effects of covariates on single coefficients {have} an adjusted p-value below "
        f".05: {', '.join(told)}{more}."
    )


def _differences(found: GroupKernels) -> list[str]:
    """Say which levels differ in what one event does, all choices after it together."""
    rows = found.frame[(found.frame["quantity"] == "total") & found.frame["contrast"].notna()]
    sure = rows[(rows["conf_low"] > 0.0) | (rows["conf_high"] < 0.0)]
    return [
        f"What one {row.event} does, summed over the choices after it, differs by {found.variable} "
        f"({_contrast(str(row.contrast))}): {row.estimate:.3g} log odds [{row.conf_low:.3g}, {row.conf_high:.3g}], "
        "not adjusted."
        for row in sure.itertuples()
    ]


def _contrast(contrast: str) -> str:
    return "per unit" if contrast == "slope" else contrast
