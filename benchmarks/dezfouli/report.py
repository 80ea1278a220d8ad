"""The results as a page: every method's effects of the diagnosis, coefficient by coefficient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_HEAD = """# Diagnosis and the learning equations in Dezfouli et al. (2019), by every method

Written by `benchmarks/dezfouli/run.sh`. {people} choose between two options ({choices} predicted choices). One fit with
one equation structure for everybody: `{equations}`. {share:.0f} % of the participants have no identified estimate of
their own. Every analysis is `~ diagnosis`, healthy participants being the reference, on every coefficient.

p is the unadjusted p-value, q the one adjusted by Benjamini-Hochberg over the {n_coefficients} coefficients of a
covariate; posteriors have intervals only. Naive analyses take numbers for data that are estimates; they are here
because they are common, not because they can be trusted. Seconds are processor time. No links are used: inverse
temperatures are negative for most of these participants, learning rates above 1 and coefficients of the value not
chosen on both sides of 0.

| method | | what | participants | converged | seconds |
|---|---|---|---|---|---|
"""


def report(table: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """Return the page."""
    coefficients = table[["module", "sparse_term"]].drop_duplicates()
    people = ", ".join(f"{count} {level}" for level, count in facts["participants"].items())
    text = _HEAD.format(
        people=f"{sum(facts['participants'].values())} people ({people})",
        choices=facts["choices"],
        equations=facts["equations"],
        share=100 * facts["share_unidentified"],
        n_coefficients=len(coefficients),
    )
    for name, note in facts["analyses"].items():
        rows = table[table["method"] == name]
        span = " to ".join(dict.fromkeys(str(int(n)) for n in (rows["n"].min(), rows["n"].max())))
        converged = "yes" if rows["converged"].all() else "no"
        text += f"| {name} | {note['kind']} | {note['what']} | {span} | {converged} | {note['seconds']:.1f} |\n"
    for module, sparse_term in coefficients.itertuples(index=False):
        text += _coefficient(table, facts, module, sparse_term)
    return text


def _coefficient(table: pd.DataFrame, facts: Mapping[str, Any], module: str, sparse_term: str) -> str:
    rows = table[(table["module"] == module) & (table["sparse_term"] == sparse_term)]
    terms = [term for term in rows["term"].drop_duplicates() if term != "(Intercept)"]
    text = f"\n## {module}: {sparse_term}\n\n{_joint_test(facts, module, sparse_term)}"
    text += "| method | scale | " + " | ".join(f"{term} [95 %] | p | q" for term in terms) + " |\n"
    text += "|---|---|" + "---|---|---|" * len(terms) + "\n"
    for method, own in rows.groupby("method", sort=False):
        scale = own["link"].iloc[0].replace("identity", "natural")
        cells = [_cells(own[own["term"] == term].iloc[0]) for term in terms]
        text += f"| {method} | {scale} | " + " | ".join(cells) + " |\n"
    return text


def _joint_test(facts: Mapping[str, Any], module: str, sparse_term: str) -> str:
    found = [
        test for test in facts.get("term_tests", []) if (test["module"], test["sparse_term"]) == (module, sparse_term)
    ]
    sentences = [
        f"All diagnoses together (hierarchical): F({test['df_num']:.0f}, {test['df']:.0f}) = {test['statistic']:.2f}, "
        f"p = {_p(test['p_value'])}.\n\n"
        for test in found
    ]
    return "".join(sentences)


def _cells(row: pd.Series[Any]) -> str:
    low, high = row["conf_low"], row["conf_high"]
    interval = "withheld" if pd.isna(low) else f"{low:.3f}, {high:.3f}"
    return f"{row['estimate']:.3f} [{interval}] | {_p(row['p_value'])} | {_p(row['p_adjusted'])}"


def _p(value: float | None) -> str:
    if value is None or pd.isna(value):
        return "-"
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
