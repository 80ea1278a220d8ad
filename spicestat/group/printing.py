"""A group result as text: what terminals and notebooks show, and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pandas as pd

from spicestat._display import html_block, screen
from spicestat.group.after.fitted import DescribedGroup
from spicestat.group.after.hypotheses import covariates_together
from spicestat.group.after.text import equation_paragraphs, wrapped

__all__ = ["WITHHELD", "printed", "printed_html", "summary_text"]

WITHHELD = "p-values and intervals are withheld: "
"""How a message begins that says why, and what would help."""

_SHOWN = [
    "module",
    "sparse_term",
    "term",
    "estimate",
    "std_error",
    "df",
    "p_value",
    "p_adjusted",
    "conf_low",
    "conf_high",
]


class PrintedGroup(DescribedGroup, Protocol):
    """A described group model that gives its tables."""

    def tidy(
        self, effects: str | Sequence[str] = ("fixed",), conf_int: bool = True, conf_level: float | None = None
    ) -> pd.DataFrame:
        """Return effects of covariates, or standard deviations between people."""


def summary_text(result: PrintedGroup) -> str:
    """Return the result as text: the model, the coefficients, and what to know about them."""
    glance = result.glance_frame
    lines = [
        f"Group model {result.formula}, method {result.glance_frame['method'].iloc[0]}",
        f"{len(_equations(result))} equation terms, {_span(glance['nobs'])} observations, "
        f"p-values adjusted by {result.adjust} within each covariate, {100 * result.conf_level:g} % intervals",
        "",
        result.tidy()[_SHOWN].to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"),
        "",
        _spread_text(result),
    ]
    lines += [f"Withheld p-values and intervals: {reason}." for reason in _withheld(result)]
    if not glance["converged"].all():
        lines.append("Not converged: see the column `converged` of glance().")
    lines += [f"Contradiction: {text}" for text in _contradictions(result)]
    lines += [f"Left out: {row.module} / {row.sparse_term}: {row.reason}" for row in result.skipped.itertuples()]
    lines += _notes(result)
    return "\n".join(lines)


def printed(result: PrintedGroup) -> str:
    """Return the result as terminals show it."""
    frame = result.tidy()
    # a posterior has no p-values
    p_values = ["p_value", "p_adjusted"] if frame["p_value"].notna().any() else []
    lines = [
        wrapped(f"Group model {result.formula}, method {result.method}"),
        wrapped(f"{_people(result)}, {100 * result.conf_level:g} % intervals" + _adjustment(result, p_values)),
        *map(wrapped, [*_warnings(result), *_notes(result)]),
        "",
        equation_paragraphs(frame, ["term"], ["estimate", "conf_low", "conf_high", *p_values]),
        *_together(result),
    ]
    return screen("\n".join(lines), "tidy(), or summary()")


def printed_html(result: PrintedGroup) -> str:
    """Return the result as notebooks show it."""
    frame = result.tidy()
    p_values = ["p_value", "p_adjusted"] if frame["p_value"].notna().any() else []
    columns = ["module", "sparse_term", "term", "estimate", "conf_low", "conf_high", *p_values]
    notes = [f"{_people(result)}, {100 * result.conf_level:g} % intervals" + _adjustment(result, p_values)]
    return html_block(
        f"Group model {result.formula}, method {result.method}",
        [*notes, *_warnings(result), *_notes(result)],
        frame[columns],
    )


def _together(result: PrintedGroup) -> list[str]:
    """Return the tests of covariates across equations, where there are some, as lines to print."""
    tests = covariates_together(result)
    if tests.empty:
        return []
    found = tests.assign(module="all coefficients", sparse_term="together")
    return ["", equation_paragraphs(found, ["term"], ["df_num", "df", "statistic", "p_value"])]


def _people(result: PrintedGroup) -> str:
    if result.table is None:
        return f"{_span(result.glance_frame['nobs'])} observations"
    n = _span(len(result.table.participants) - result.glance_frame["n_excluded"])
    if not result.table.occasions or result.table.people is None or result.design is None:
        return f"{n} participants"
    persons = result.table.people["person"].iloc[result.design.rows].nunique()
    return f"{persons} participants on {n} occasions of {', '.join(result.table.occasions)}"


def _adjustment(result: PrintedGroup, p_values: list[str]) -> str:
    return f", p-values adjusted by {result.adjust}" if p_values else ""


def _warnings(result: PrintedGroup) -> list[str]:
    """Return what stands above the table: what is withheld, not converged or left out."""
    glance, found = result.glance_frame, []
    found += [f"p-values and intervals are withheld (-): {reason}" for reason in _withheld(result)]
    if not glance["converged"].all():
        found.append("Not converged: see the column `converged` of glance()")
    found += _contradictions(result)
    if len(result.skipped):
        found.append(f"Left out: {len(result.skipped)} equation terms, see .skipped")
    return found


def _notes(result: PrintedGroup) -> list[str]:
    """Return what to know when reading the table."""
    return [f"Note: {message}" for message in result.messages if not message.startswith(WITHHELD)]


def _withheld(result: PrintedGroup) -> list[str]:
    """Return why inference is withheld, and what would help."""
    return [message.removeprefix(WITHHELD) for message in result.messages if message.startswith(WITHHELD)]


def _contradictions(result: PrintedGroup) -> list[str]:
    return [text for text in result.glance_frame["contradictions"].unique() if text]


def _equations(result: PrintedGroup) -> pd.DataFrame:
    return result.coefficients[["module", "sparse_term"]].drop_duplicates()


def _spread_text(result: PrintedGroup) -> str:
    spread = result.tidy("ran_pars", conf_int=False)
    if spread.empty:
        return ""
    shown = spread[["module", "sparse_term", "group", "term", "estimate"]]
    return str(shown.to_string(index=False, float_format=lambda value: f"{value:.4g}"))


def _span(values: pd.Series[int]) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
