"""What a report says about covariates: effects, differences between people, and the same by other methods."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from spicestat.errors import SpicestatError, SpicestatWarning
from spicestat.fit.api import SpiceFit
from spicestat.fit.history import HistoryFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.api import spice_group
from spicestat.group.result import GroupResult
from spicestat.report.page import Section, Sheet, picture, sheet

__all__ = ["effect_sections"]

_METHODS = ("hierarchical", "meta", "ols")
"""From the choices; from estimates and their errors; from estimates alone."""


def effect_sections(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult) -> list[Section]:
    """Show a group model, and its effects of covariates by other methods."""
    table = group.tidy()
    shown = table.drop(columns=[name for name in ("effect", "group", "level", "conf_level") if name in table])
    covariates = [term for term in dict.fromkeys(shown["term"]) if term != "(Intercept)"]
    figures, others = [], []
    if covariates:
        words = f"Standardised effects of {', '.join(covariates)} on each coefficient, with intervals"
        figures.append(picture(group.plot("forest"), words))
        others.append(_side_by_side(fit, group))
    return [
        Section(
            "Effects of covariates" if covariates else "The group",
            [f"{group.formula}, method {group.method}; p-values adjusted by {group.adjust} within each covariate."],
            figures=figures,
            tables=[
                sheet(shown, "Coefficients of the group model"),
                *others,
                sheet(group.tidy("ran_pars").dropna(axis=1, how="all"), "Differences between people", folded=True),
                sheet(group.glance().dropna(axis=1, how="all"), "How the group model was fitted", folded=True),
            ],
        )
    ]


def _side_by_side(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult) -> Sheet:
    """Lay out estimates with intervals, a column per method; a method that cannot answer says why."""
    columns = {group.method: _in_words(group)}
    for method in _METHODS:
        if method == group.method:
            continue
        try:
            with warnings.catch_warnings():
                # what they say is about other methods than the one that was chosen
                warnings.simplefilter("ignore", SpicestatWarning)
                people = None if group.table is None else group.table.people
                other = spice_group(fit, group.formula, data=people, method=method, conf_level=group.conf_level)
        except SpicestatError as error:
            columns[method] = columns[group.method].map(lambda _, error=error: f"not fitted: {error}")
        else:
            columns[method] = _in_words(other)
    rows = pd.DataFrame(columns).loc[columns[group.method].index].fillna("")
    level = f"{100 * group.conf_level:g} %"
    return sheet(rows.reset_index(), f"The same effects by other methods, with {level} intervals")


def _in_words(group: GroupResult) -> pd.Series[str]:
    table = group.tidy().query("term != '(Intercept)'")
    numbers = table[["estimate", "conf_low", "conf_high"]].to_numpy(dtype="float64")
    texts = [f"{at:.3g} [{low:.3g}, {high:.3g}]" if np.isfinite(low) else "" for at, low, high in numbers]
    index = pd.MultiIndex.from_frame(table[["module", "sparse_term", "term"]])
    return pd.Series(texts, index=index, dtype="object")
