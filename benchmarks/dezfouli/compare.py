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

from benchmarks.dezfouli.analyses import ANALYSES, COLUMNS, FORMULA, Analysis
from benchmarks.dezfouli.report import report
from spicestat import SpiceFit, load_fit, spice_group
from spicestat.errors import ExclusionWarning
from spicestat.group.after.derived import with_derived

LEVELS = ("healthy", "depression", "bipolar")
"""Diagnoses; the first is the reference."""
LOG_ODDS = {
    "choice": '-beta["x_value_reward"] * x_value_reward_not_chosen["1"]',
    "reward": 'beta["x_value_reward"] * x_learning_rate_reward["1"]',
}
"""From values of 0: log odds of repeating a choice that earned nothing, and what a reward adds to them."""


def main(folder: Path, results: Path, names: list[str]) -> None:
    """Run the analyses and write ``results``.csv, .json and .md."""
    fit = load_fit(folder)
    people = fit.people.assign(diagnosis=pd.Categorical(fit.people["diagnosis"], LEVELS))
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
        rows, note = _run(analysis, fit, people)
        notes[analysis.name] = note
        tables.append(rows)
        print(f"{analysis.name}: {note['seconds']} s {note['warnings']}", flush=True)
    table = pd.concat(tables, ignore_index=True)
    facts = old | _facts(fit, people) | {"log_odds": _log_odds(fit, people), "analyses": notes}
    if not names or "hierarchical" in names:
        facts["term_tests"] = _term_tests(fit, people)
    table.to_csv(results.with_suffix(".csv"), index=False, float_format="%.10g")
    results.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    results.with_suffix(".md").write_text(report(table, facts), encoding="utf-8")


def _run(analysis: Analysis, fit: SpiceFit, people: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
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


def _facts(fit: SpiceFit, people: pd.DataFrame) -> dict[str, Any]:
    """Return what the results say about the data and the equations."""
    glance = fit.glance().iloc[0]
    return {
        "participants": {level: int((people["diagnosis"] == level).sum()) for level in LEVELS},
        "choices": int(glance["nobs"]),
        "equations": repr(fit).splitlines()[1].removeprefix("equations: "),
        "share_unidentified": float(glance["share_unidentified"]),
        "nll": {name: float(glance[f"nll_{name}"]) for name in ("rnn", "equations", "refit")},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def _term_tests(fit: SpiceFit, people: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the hierarchical model's tests of all diagnoses together."""
    tests = spice_group(fit, FORMULA, data=people).term_tests()
    rows: list[dict[str, Any]] = json.loads(tests[tests["term"] != "(Intercept)"].to_json(orient="records"))
    return rows


def _log_odds(fit: SpiceFit, people: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what one trial does to the log odds of repeating a choice, by diagnosis."""
    table = with_derived(fit.coefficients, LOG_ODDS, keep=False)
    with warnings.catch_warnings():
        # who cannot enter is the same as in the analyses
        warnings.simplefilter("ignore", ExclusionWarning)
        found = spice_group(table, FORMULA, data=people, method="meta").tidy()
    columns = ["sparse_term", "term", "estimate", "std_error", "conf_low", "conf_high", "p_value"]
    rows: list[dict[str, Any]] = json.loads(found[columns].to_json(orient="records"))
    return rows


def _old(results: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    if not results.with_suffix(".json").is_file():
        return pd.DataFrame(), {"analyses": {}}
    facts: dict[str, Any] = json.loads(results.with_suffix(".json").read_text(encoding="utf-8"))
    return pd.read_csv(results.with_suffix(".csv"), dtype={"sparse_term": str}), facts


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
