"""Run the analyses on the saved fit and write the tables: compare.py fit results [name ...].

With names, only these analyses are run; the others stay as they are in the results.
"""

from __future__ import annotations

import json
import platform
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.dezfouli.analyses import ANALYSES, COLUMNS, FORMULA, WITHIN, Analysis
from benchmarks.dezfouli.report import report
from spicestat import HistoryFit, load_fit, spice_group
from spicestat.group import GroupResult

LEVELS = ("healthy", "depression", "bipolar")
"""Diagnoses; the first is the reference."""


def main(folder: Path, results: Path, names: list[str]) -> None:
    """Run the analyses and write ``results``.csv, .json and .md."""
    fits = {name: load_fit(folder / name) for name in ("whole", "halves")}
    fit = fits["whole"]
    assert isinstance(fit, HistoryFit)
    people = fit.people[["participant", "diagnosis"]]
    people = people.assign(diagnosis=pd.Categorical(people["diagnosis"], LEVELS))
    old_rows, old = _old(results) if names else (pd.DataFrame(), {"analyses": {}})
    tables, notes = [], {}
    for analysis in ANALYSES:
        if names and analysis.name not in names:
            if analysis.name in old["analyses"]:
                tables.append(old_rows[old_rows["method"] == analysis.name])
                notes[analysis.name] = old["analyses"][analysis.name]
            continue
        missing = [package for package in analysis.needs if find_spec(package) is None]
        if missing:
            print(f"{analysis.name}: left out, without {', '.join(missing)}", flush=True)
            continue
        rows, note = _run(analysis, fits["halves" if analysis.halves else "whole"], people)
        notes[analysis.name] = note
        tables.append(rows)
        print(f"{analysis.name}: {note['seconds']} s {note['warnings']}", flush=True)
    table = pd.concat(tables, ignore_index=True)
    not_run = [analysis.name for analysis in ANALYSES if analysis.name not in notes]
    facts = old | _facts(fit, people) | {"analyses": notes, "not_run": not_run}
    if not names or "hierarchical" in names:
        facts |= _of_default(fits, people)
    table.to_csv(results.with_suffix(".csv"), index=False, float_format="%.10g")
    results.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    results.with_suffix(".md").write_text(report(table, facts), encoding="utf-8")


def _run(analysis: Analysis, fit: HistoryFit, people: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    started = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = analysis.run(fit, people)
    seconds = round(time.process_time() - started, 2)
    rows = found[list(COLUMNS)].assign(seconds=seconds)
    rows.insert(0, "method", analysis.name)
    rows.insert(1, "kind", analysis.kind)
    said = list(dict.fromkeys(str(warning.message) for warning in caught))
    return rows, {"kind": analysis.kind, "what": analysis.what, "seconds": seconds, "warnings": said}


def _facts(fit: HistoryFit, people: pd.DataFrame) -> dict[str, Any]:
    """Return what the results say about the data and the equations."""
    glance = fit.glance().iloc[0]
    return {
        "participants": {level: int((people["diagnosis"] == level).sum()) for level in LEVELS},
        "choices": int(glance["nobs"]),
        "states": list(fit.pooled.names[: fit.pooled.n_own]),
        "n_shared": int(glance["n_shared"]),
        "share_unidentified": float(glance["share_unidentified"]),
        "nll": {name: float(glance[f"nll_{name}"]) for name in ("history", "shares", "left_out")},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def _of_default(fits: dict[str, Any], people: pd.DataFrame) -> dict[str, Any]:
    """Return what the default says besides coefficients: joint tests, kernels, and what it has to say of its search."""
    whole = spice_group(fits["whole"], FORMULA, data=people)
    halves = spice_group(fits["halves"], WITHIN, data=people)
    tests = whole.term_tests()
    groups = {"whole": whole, "halves": halves}
    return {
        "term_tests": _records(tests[tests["term"] != "(Intercept)"]),
        "across": _records(whole.term_tests(across=True)),
        "kernels": {name: _totals(group) for name, group in groups.items()},
        "messages": {name: list(group.messages) for name, group in groups.items()},
    }


def _totals(group: GroupResult) -> list[dict[str, Any]]:
    """Return totals of kernels by diagnosis, and their differences from healthy people."""
    table = group.kernels("diagnosis").tidy()
    return _records(table[(table["quantity"] == "total") & (table["variable"] == "diagnosis")])


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows


def _old(results: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    if not results.with_suffix(".json").is_file():
        return pd.DataFrame(), {"analyses": {}}
    facts: dict[str, Any] = json.loads(results.with_suffix(".json").read_text(encoding="utf-8"))
    return pd.read_csv(results.with_suffix(".csv"), dtype={"sparse_term": str}), facts


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
