"""The results as a page: every method's effects of the diagnosis, coefficient by coefficient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_HEAD = """# Diagnosis and choices in Dezfouli et al. (2019), by every method

Written by `benchmarks/dezfouli/run.sh`. {people} choose between two options ({choices} predicted choices).
Fits are of the default model, `spice_fit(trials)`: {n_own} weights of each person, {n_shared} of the population, NLL
per choice in blocks left out {left_out:.3f}. Every analysis is `~ diagnosis`, healthy participants being the reference,
on every weight of each person. Halves of the session (blocks 1 to 6, 7 to 12) are a fit of their own, with some
other states, where `~ diagnosis + (1 | participant)` is asked.

p is the unadjusted p-value, q the one adjusted by Benjamini-Hochberg over the {n_coefficients} coefficients of a
covariate; posteriors have intervals only. Naive analyses take numbers for data that are estimates; they are here
because they are common, not because they can be trusted. Seconds are processor time.

{across} {searches}

## What rewards and choices do

Totals of the influence on all later choices, in log odds, by `kernels("diagnosis")` of the default. Weights of states
that resemble each other say little alone, and those of other states cannot be compared; this can.

{kernels}

## Analyses

| method | | what | rows | converged | withheld | q < .05 | seconds |
|---|---|---|---|---|---|---|---|
"""


def report(table: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """Return the page."""
    coefficients = table[["module", "sparse_term"]].drop_duplicates()
    people = ", ".join(f"{count} {level}" for level, count in facts["participants"].items())
    text = _HEAD.format(
        people=f"{sum(facts['participants'].values())} people ({people})",
        choices=facts["choices"],
        n_own=len(facts["states"]),
        n_shared=facts["n_shared"],
        left_out=facts["nll"]["left_out"],
        n_coefficients=len(facts["states"]),
        across=_across(facts),
        searches=_searches(facts),
        kernels=_kernels(facts),
    )
    for name, note in facts["analyses"].items():
        rows = table[table["method"] == name]
        span = " to ".join(dict.fromkeys(str(int(n)) for n in (rows["n"].min(), rows["n"].max())))
        converged = "yes" if rows["converged"].all() else "no"
        withheld = "yes" if rows["withheld"].any() else "no"
        found = int((rows.loc[rows["term"] != "(Intercept)", "p_adjusted"] < 0.05).sum())
        text += f"| {name} | {note['kind']} | {note['what']} | {span} | {converged} | {withheld} | {found} "
        text += f"| {note['seconds']:.1f} |\n"
    if facts["not_run"]:
        text += f"\nNot run, as sampling {len(facts['states'])} weights takes long: {', '.join(facts['not_run'])}.\n"
    for module, sparse_term in coefficients.itertuples(index=False):
        text += _coefficient(table, facts, module, sparse_term)
    return text


def _across(facts: Mapping[str, Any]) -> str:
    """Say what the test of all coefficients together says."""
    test = next(row for row in facts["across"] if row["term"] == "diagnosis")
    ratio = f"F({test['df_num']:.0f}, {test['df']:.0f}) = {test['statistic']:.2f}"
    return f"All coefficients together, by the default: {ratio}, p = {_p(test['p_value'])}."


def _searches(facts: Mapping[str, Any]) -> str:
    """Say whether searches from several starts ended at the same place."""
    said = [text for own in facts["messages"].values() for text in own]
    return (
        " ".join(said)
        or "Searches from several starts agree, in both fits: nothing is withheld, and there are no messages."
    )


def _kernels(facts: Mapping[str, Any]) -> str:
    text = "| fit | event | who | total [95 %] |\n|---|---|---|---|\n"
    for name, rows in facts["kernels"].items():
        for row in rows:
            who = row["level"] or row["contrast"]
            interval = f"{row['estimate']:.2f} [{row['conf_low']:.2f}, {row['conf_high']:.2f}]"
            text += f"| {name} | {row['event']} | {who} | {interval} |\n"
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
