"""Gather all fits of the study, and reduce them to figures per number of trials and method."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.structure import score as scoring
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT

DEFAULT = "evidence"
THRESHOLDS = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Of the sparse regression's coefficients, from which the best is picked in hindsight."""

LABELS = {
    "evidence": "spicestat (evidence, the default)",
    "aic": "spicestat, `spice_criterion='aic'`",
    "bic": "spicestat, `spice_criterion='bic'`",
    "cv": "spicestat, `spice_criterion='cv'`",
    "inclusion": "inclusion probability above 1/2",
    "sparse": "thresholded sparse regression alone",
    "sparse_best": "... its threshold the best in hindsight",
    "known_four": "the four true equations compared by BIC",
}


def gather(folder: Path, seeds: list[int]) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Read {trials: {criterion: fits}}."""
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for path in sorted(folder.glob("*/*.json")):
        fit = json.loads(path.read_text())
        if fit["seed"] in seeds:
            found.setdefault(fit["trials"], {}).setdefault(fit["criterion"], []).append(fit)
    return dict(sorted(found.items(), reverse=True))


def methods(fits: dict[str, list[dict[str, Any]]], terms: scoring.Terms) -> dict[str, list[np.ndarray]]:
    """Structures (P, K) per method and seed."""
    by_method = {name: [np.array(fit["status"]) for fit in runs] for name, runs in fits.items()}
    default = fits[DEFAULT]
    by_method["inclusion"] = [_median_structure(fit) for fit in default]
    coefficients = [np.array(fit["sparse"]) for fit in default]
    used = default[0]["sparse_threshold"]
    by_method["sparse"] = [scoring.sparse_status(values, terms, used, used) for values in coefficients]
    tried = {limit: [scoring.sparse_status(v, terms, limit, limit) for v in coefficients] for limit in THRESHOLDS}
    everybody = np.concatenate([fit["mechanism"] for fit in default])
    best = max(tried, key=lambda limit: _balanced(everybody, np.concatenate(tried[limit]), terms))
    by_method["sparse_best"] = tried[best]
    by_method["known_four"] = [scoring.true_status(np.array(fit["known_four"]), terms) for fit in default]
    return {name: by_method[name] for name in LABELS if name in by_method}


def _balanced(mechanism: np.ndarray, status: np.ndarray, terms: scoring.Terms) -> float:
    value: float = scoring.score(mechanism, status, terms)["balanced"]
    return value


def _median_structure(fit: dict[str, Any]) -> np.ndarray:
    """Terms with an inclusion probability above 1/2; own states that are out stay as the selected structure has them.

    Where that one has them free, the value that is not chosen is kept.
    """
    status, inclusion = np.array(fit["status"]), np.array(fit["inclusion"])
    fallback = np.where(status == FREE, EXCLUDED, status)
    own = [tuple(term) for term in fit["terms"]].index((scoring.NOT_CHOSEN, scoring.NOT_CHOSEN))
    fallback[status[:, own] == FREE, own] = KEPT
    return np.where(inclusion > 0.5, FREE, fallback)


def summary(fits: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Figures of one number of trials, pooled over seeds."""
    terms = [(module, term) for module, term in fits[DEFAULT][0]["terms"]]
    figures: dict[str, Any] = {"settings": fits[DEFAULT][0]["settings"], "methods": {}}
    for name, structures in methods(fits, terms).items():
        runs = fits.get(name, fits[DEFAULT])
        kinds = [np.array(run["mechanism"]) for run in runs]
        pooled, status = np.concatenate(kinds), np.concatenate(structures)
        figures["methods"][name] = {
            **scoring.score(pooled, status, terms),
            "seeds": len(runs),
            "participants": len(pooled),
            "interval": scoring.interval(pooled, status, terms),
            "balanced_by_seed": [
                _balanced(kind, structure, terms) for kind, structure in zip(kinds, structures, strict=True)
            ],
            "wrong": scoring.wrong_structures(pooled, status, terms),
        }
        if name in fits:
            timing = {key: float(np.median([run[key] for run in runs])) for key in ("seconds", "cpu_seconds")}
            figures["methods"][name] |= timing
    inclusion = np.concatenate([fit["inclusion"] for fit in fits[DEFAULT]])
    pooled = np.concatenate([fit["mechanism"] for fit in fits[DEFAULT]])
    figures["calibration"] = scoring.calibration(pooled, inclusion, terms)
    figures["unidentified"] = int(sum(np.sum(~np.array(fit["identified"])) for fit in fits[DEFAULT]))
    return figures
