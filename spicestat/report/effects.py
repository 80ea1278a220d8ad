"""What a report says about covariates: effects, differences between people, and the same by other methods."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pandas as pd

from spicestat.errors import SpicestatError, SpicestatWarning
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.after.fitted import design_of
from spicestat.group.after.hypotheses import covariates_together
from spicestat.group.after.kernel_effects import GroupKernels
from spicestat.group.api import group_of_design
from spicestat.group.result import GroupResult
from spicestat.report.figures import events_of
from spicestat.report.levels import comparisons
from spicestat.report.page import Section, Sheet, picture, sheet

__all__ = ["effect_sections", "kernels_by_level"]

_METHODS = ("hierarchical", "meta", "ols")
"""From the choices; from estimates and their errors; from estimates alone."""

_FOLDED = ("effect", "group", "level", "conf_level", "std_error", "statistic", "df")


def kernels_by_level(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult | None) -> list[GroupKernels]:
    """Return the kernels at levels of each covariate; none where the fit, the method or the formula has none."""
    frame = None if group is None else design_of(group).frame
    if group is None or frame is None or not isinstance(fit, HistoryFit) or group.joint_covariance is None:
        return []
    found = []
    for name in map(str, frame.columns):
        try:
            with warnings.catch_warnings():
                # that everybody shares the weights is said by empty contrasts
                warnings.simplefilter("ignore", SpicestatWarning)
                found.append(group.kernels(name, fit=fit, events=events_of(fit)))
        except SpicestatError:
            # links, or coefficients that were left out of the model
            return []
    return found


def effect_sections(
    fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult, by_level: list[GroupKernels]
) -> list[Section]:
    """Show a group model, its effects of covariates by other methods, and kernels at levels of the covariates."""
    table = group.tidy()
    # where all coefficients are of one module, rows begin with their terms
    folded = [*_FOLDED, *(["module"] if len(set(table["module"])) == 1 else [])]
    shown = table.drop(columns=[name for name in folded if name in table])
    covariates = [term for term in dict.fromkeys(shown["term"]) if term != "(Intercept)"]
    figures, others = [], []
    together = covariates_together(group)
    if len(together):
        columns = ["term", "statistic", "df_num", "df", "p_value"]
        others.append(sheet(together[columns], "Each covariate, for all coefficients together (F tests)"))
    if covariates:
        words = f"Standardised effects of {', '.join(covariates)} on each coefficient, with intervals, not adjusted"
        figures.append(picture(group.plot("forest"), words))
        others.append(_side_by_side(fit, group))
    return [
        Section(
            "Effects of covariates" if covariates else "The group",
            [
                f"The model {group.formula}, estimated by the method {group.method}; p-values are adjusted by "
                f"{group.adjust} within each covariate. (Intercept) is the mean of people at the first levels of "
                "factors and at 0 of numbers.",
                *comparisons(group),
            ],
            figures=figures,
            tables=[
                sheet(shown, "Effects on each coefficient"),
                *others,
                sheet(table.dropna(axis=1, how="all"), "The same with errors and test statistics", folded=True),
                sheet(group.tidy("ran_pars").dropna(axis=1, how="all"), "Differences between people", folded=True),
                sheet(group.glance().dropna(axis=1, how="all"), "How the group model was fitted", folded=True),
            ],
        ),
        *map(_kernel_section, by_level),
    ]


def _kernel_section(found: GroupKernels) -> Section:
    rows = found.frame[found.frame["quantity"] == "total"]
    who = rows["level"].where(rows["level"].notna(), rows["contrast"])
    table = rows[["event", "estimate", "conf_low", "conf_high"]].copy()
    table.insert(0, found.variable, who)
    words = f"What one event does to the next choices at levels of {found.variable}, with intervals"
    return Section(
        f"What one event does, by {found.variable}",
        [
            f"The curves of the population above, for people with each level of {found.variable}. Levels differ in "
            "weights, not in the histories that people happened to have."
        ],
        figures=[picture(found.plot(), words)],
        tables=[sheet(table, "Total influence in log odds, with intervals; differences are between levels")],
    )


def _side_by_side(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult) -> Sheet:
    """Lay out estimates with intervals, a column per method; a method that cannot answer says why."""
    columns, left_out = {group.method: _in_words(group)}, []
    # groups that were read from a folder no longer know how they were fitted
    again = group.refit or partial(group_of_design, design=design_of(group), conf_level=group.conf_level)
    for method in _METHODS:
        if method == group.method:
            continue
        try:
            with warnings.catch_warnings():
                # what they say is about other methods than the one that was chosen
                warnings.simplefilter("ignore", SpicestatWarning)
                other = again(fit, method=method)
        except SpicestatError as error:
            columns[method] = columns[group.method].map(lambda _, error=error: f"not fitted: {error}")
        else:
            columns[method] = _in_words(other)
            n_excluded = int(other.glance()["n_excluded"].max())
            left_out += [f"{method} leaves out up to {n_excluded} participants per coefficient"] if n_excluded else []
    rows = pd.DataFrame(columns).loc[columns[group.method].index].fillna("")
    level = f"{100 * group.conf_level:g} %"
    caption = f"The same effects by other methods, with {level} intervals"
    return sheet(rows.reset_index(), "; ".join([caption, *left_out]))


def _in_words(group: GroupResult) -> pd.Series[str]:
    table = group.tidy().query("term != '(Intercept)'")
    numbers = table[["estimate", "conf_low", "conf_high"]].to_numpy(dtype="float64")
    texts = [f"{at:.3g} [{low:.3g}, {high:.3g}]" if np.isfinite(low) else "" for at, low, high in numbers]
    index = pd.MultiIndex.from_frame(table[["module", "sparse_term", "term"]])
    return pd.Series(texts, index=index, dtype="object")
