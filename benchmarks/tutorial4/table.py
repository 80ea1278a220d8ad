"""Gather all seeds, and write the results as JSON and as the Markdown table: python -m benchmarks.tutorial4.table."""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tutorial4.oracle import NAMES
from benchmarks.tutorial4.results import fingerprint, load_data, write_json
from benchmarks.tutorial4.score import score_model, score_oracle
from benchmarks.tutorial4.simulate import TRUTH

COLUMNS = (("spicestat", "precoded"), ("spicestat", "custom"), ("autospice", "custom"))
NEAR, NLL_MARGIN, STRUCTURE, COVERAGE = 0.25, 0.003, 0.9, 0.9
TRAINED = 0.02
"""NLL per choice that a network may lose to the truth on fresh data and still count as trained."""

PUBLISHED = {
    "precoded": (
        {"alpha": "1.162 - 0.218 own - 0.126 r - 0.366 V", "constant": 0.104, "slope": 0.786, "beta": 2.807},
        {"alpha": 0.206, "beta": 3.068},
    ),
    "custom": (
        {"alpha": "0.943 - 0.118 own", "constant": 0.107, "slope": 0.786, "beta": 2.728},
        {"alpha": 0.206, "beta": 3.060},
    ),
}
"""What the tutorial prints for one seed."""


def gather(folder: Path, seeds: list[int]) -> dict[str, Any]:
    """Score every seed that has results; the libraries must have seen the same data."""
    scored: dict[str, Any] = {"oracle": {}, **{library: {} for library, _ in COLUMNS}}
    for seed in seeds:
        xs, ys = load_data(folder / "data" / f"{seed}.npz")
        oracles, scored["oracle"][seed] = score_oracle(xs, ys, seed)
        for library in ("spicestat", "autospice"):
            path = folder / library / f"{seed}.json"
            if not path.exists():
                continue
            found = json.loads(path.read_text())
            if found["data"] != fingerprint(xs, ys):
                raise SystemExit(f"{path} was made from other data: remove it and run again")
            scored[library][seed] = {
                name: score_model(model, library, seed, xs, ys, oracles) for name, model in found["models"].items()
            }
    return scored


def criteria(by_seed: dict[int, dict[str, Any]], name: str) -> dict[str, Any]:
    """The issue's four criteria for one model over all its seeds."""
    models = [models[name] for models in by_seed.values()]
    people = [person for model in models for person in model["participants"]]
    quantities = [quantity for person in people for quantity in person["quantities"].values()]
    distances = np.abs([quantity["distance"] for quantity in quantities])
    excess = [person["nll_excess"] for person in people]
    covers = sum(quantity["covers"] for quantity in quantities)
    has_intervals = any(quantity["std_error"] is not None for quantity in quantities)
    both = [model["participants"] for model in models]
    return {
        "seeds": len(models),
        "structure": sum(model["structure"] for model in models),
        "structure_by_participant": [sum(pair[code]["structure"] for pair in both) for code in range(2)],
        "quantities": len(quantities),
        "near": int((distances <= NEAR).sum()),
        "largest_distance": float(distances.max()),
        "covers": covers,
        "coverage": f"{covers} of {len(quantities)}" if has_intervals else "no intervals",
        "largest_nll_excess": float(max(excess)),
        "median_nll_excess": float(np.median(excess)),
        "trained": sum(max(person["rnn_nll_excess"] for person in pair) < TRAINED for pair in both),
        "median_seconds": float(np.median([model["seconds"] for model in models])),
        "median_cpu_seconds": float(np.median([model["cpu_seconds"] for model in models])),
    }


def missed(figures: dict[str, Any]) -> list[str]:
    """Which of the criteria a model does not meet."""
    checks = {
        "structure": figures["structure"] >= STRUCTURE * figures["seeds"],
        f"within {NEAR} standard errors": figures["near"] == figures["quantities"],
        "coverage": figures["covers"] >= COVERAGE * figures["quantities"],
        "fresh NLL": figures["largest_nll_excess"] <= NLL_MARGIN,
    }
    return [name for name, met in checks.items() if not met]


def criteria_table(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown lines: one row per criterion, one column per model."""

    def row(label: str, target: str, cell: str) -> str:
        return f"| {label} | {target} | " + " | ".join(cell.format(**figure) for figure in figures.values()) + " |"

    return [
        "| | target | " + " | ".join(figures) + " |",
        "|---|---|" + "---|" * len(figures),
        row("seeds with the right terms, both participants", ">= 9 of 10", "{structure} of {seeds}"),
        row("... participant 0 / 1", "", "{structure_by_participant[0]} / {structure_by_participant[1]}"),
        row(f"estimates within {NEAR} SE of the oracle's", "all", "{near} of {quantities}"),
        row("... largest distance, in SE", f"<= {NEAR}", "{largest_distance:.3f}"),
        row("95 % intervals covering the truth", ">= 90 %", "{coverage}"),
        row("fresh NLL minus the truth's, largest", f"<= {NLL_MARGIN}", "{largest_nll_excess:.4f}"),
        row("... median", "", "{median_nll_excess:.4f}"),
        row(f"seeds whose network comes within {TRAINED} of the truth's", "", "{trained} of {seeds}"),
        row("seconds per fit, median", "", "{median_seconds:.0f}"),
        row("... of processor time", "", "{median_cpu_seconds:.0f}"),
    ]


def quantity_table(scored: dict[str, Any]) -> list[str]:
    """Markdown lines: one row per participant and parameter, median [range] over seeds."""
    heads = ["truth", "tutorial, precoded", "tutorial, custom", "oracle"]
    heads += [f"{library}, {name}" for library, name in COLUMNS if scored[library]]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for code, names in enumerate(NAMES):
        for name in names:
            cells = [f"{getattr(TRUTH[code], name):g}"]
            cells += [str(PUBLISHED[model][code][name]) for model in ("precoded", "custom")]
            cells.append(_spread([people[code]["estimate"][name] for people in scored["oracle"].values()]))
            for library, model in COLUMNS:
                if scored[library]:
                    found = [models[model]["participants"][code] for models in scored[library].values()]
                    cells.append(_spread([person["quantities"][name]["estimate"] for person in found]))
            lines.append(f"| participant {code}, {name} | " + " | ".join(cells) + " |")
    return lines


def wrong_lines(scored: dict[str, Any]) -> list[str]:
    """Markdown lines that say where a structure was wrong, and how."""
    lines = []
    for library, name in COLUMNS:
        for seed, models in scored[library].items():
            for code, person in enumerate(models[name]["participants"]):
                if person["wrong"]:
                    lines.append(f"- {library}, {name}, seed {seed}, participant {code}: {'; '.join(person['wrong'])}")
    return lines or ["None."]


def verbatim_lines(path: Path) -> list[str]:
    """Markdown lines: what happens to the tutorial as printed on autospice 0.2.0."""
    if not path.exists():
        return ["Not run."]
    outcome = json.loads(path.read_text())
    return [
        f"- block {failure['block'] + 1} of {outcome['blocks']}: `{failure['error']}` ({failure['raised_in']})"
        for failure in outcome["failures"]
    ]


def _spread(values: list[float]) -> str:
    spread = f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else ""
    return f"{np.median(values):.3f}{spread}"


def markdown(scored: dict[str, Any], figures: dict[str, dict[str, Any]], folder: Path) -> str:
    """Return the whole page."""
    coverage = [
        covers for people in scored["oracle"].values() for person in people for covers in person["covers"].values()
    ]
    parts = [
        "# Tutorial 4 of SPICE: spicestat beside the oracle, the published run and autospice 0.2.0",
        "Written by `benchmarks/tutorial4/run.sh`. spicestat runs the tutorial's code as printed after "
        "`import spicestat.compat`; only its two `seed(42)` change. autospice 0.2.0 cannot (last section), so it fits "
        "the tutorial's custom model, class and settings as printed, to the same data. Oracle: maximum-likelihood fit "
        f"of the true equations to the same data; its own 95 % intervals cover {sum(coverage)} of {len(coverage)}. "
        "Fresh data: 4000 sessions per participant and seed. A learning rate that varies is scored by its mean.",
        "\n".join(criteria_table(figures)),
        "Estimates, median [smallest, largest] over seeds; the tutorial's are one run, and its term for the learning "
        "rate of participant 0 is shown whole.",
        "\n".join(quantity_table(scored)),
        "## Wrong structures",
        "\n".join(wrong_lines(scored)),
        "## The tutorial as printed on autospice 0.2.0",
        "\n".join(verbatim_lines(folder / "autospice" / "verbatim.json")),
    ]
    return "\n\n".join(parts) + "\n"


def main(folder: Path, results: Path, seeds: list[int]) -> None:
    """Score, write both files, and fail where a criterion is missed."""
    scored = gather(folder, seeds)
    figures = {f"{library}, {name}": criteria(scored[library], name) for library, name in COLUMNS if scored[library]}
    page = markdown(scored, figures, folder)
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    write_json(results / "tutorial4.json", {"machine": machine, "criteria": figures, "seeds": scored})
    (results / "tutorial4.md").write_text(page)
    print(page)
    failures = {name: missed(figure) for name, figure in figures.items() if name.startswith("spicestat")}
    if not failures:
        raise SystemExit("spicestat has not been run yet")
    if any(failures.values()):
        raise SystemExit(f"criteria missed: {failures}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(seed) for seed in sys.argv[3:]])
