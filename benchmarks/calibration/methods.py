"""Run the group methods on one study, and keep what the summary needs: one record per method."""

import time
from typing import Any

import numpy as np

from benchmarks.calibration.cells import LINKS
from benchmarks.calibration.model import BETA, KEPT, RATE, EquationFit
from benchmarks.calibration.simulate import Study
from spicestat.errors import SpicestatError
from spicestat.group import GroupResult, spice_group
from spicestat.group.methods.ols import least_squares_hc3

METHODS: dict[str, dict[str, Any]] = {
    "hierarchical": {"method": "hierarchical", "links": LINKS},
    "hierarchical, Laplace": {"method": "hierarchical", "links": LINKS, "integration": "laplace"},
    "multivariate meta": {"method": "multivariate_meta"},
    "meta": {"method": "meta"},
    "mixed": {"method": "mixed"},
    "ols (naive)": {"method": "ols"},
}
"""Those without links are on the natural scale."""


def run_oracle(study: Study) -> dict[str, Any]:
    """Least squares on the true coefficients: what no method can beat."""
    design = np.column_stack([np.ones(len(study.covariate)), study.covariate])
    found = least_squares_hc3(study.truth[:, 0], design)
    residual = study.truth[:, 0] - design @ found.beta
    variance = float(residual @ residual) / found.df * np.linalg.inv(design.T @ design)[1, 1]
    return {"estimate": float(found.beta[1]), "std_error": float(np.sqrt(variance)), "df": float(found.df)}


def run_method(fit: EquationFit, options: dict[str, Any]) -> dict[str, Any]:
    """Fit one method; a failure is a record too."""
    begun = time.process_time()
    if "links" in options:
        known = {":".join(term) for term in fit.likelihood.terms}
        options = {**options, "links": {name: link for name, link in options["links"].items() if name in known}}
    try:
        # the gate is applied by the summary, which shows what it withholds
        group = spice_group(fit, "~ z", max_unidentified=1.0, **options)
    except SpicestatError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    record = _effect(group, RATE, "1")
    record["beta"] = _effect(group, BETA, "x_value_reward")
    record["kept"] = _effect(group, KEPT, KEPT)
    record["seconds"] = time.process_time() - begun
    record["converged"] = bool(group.glance()["converged"].all())
    if group.method == "hierarchical":
        record["sd"] = float(group.tidy("ran_pars")["estimate"].iloc[0])
    return record


def _effect(group: GroupResult, module: str, term: str) -> dict[str, Any]:
    rows = group.tidy().query("module == @module and sparse_term == @term and term != '(Intercept)'")
    if rows.empty:
        return {"estimate": None, "std_error": None, "df": None}
    row = rows.iloc[0]
    return {name: float(row[name]) for name in ("estimate", "std_error", "df")}
