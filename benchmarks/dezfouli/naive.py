"""What is often done with participants' coefficients instead of a group model; none of it is valid inference."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spicestat import HistoryFit, spice_group
from spicestat.errors import ExclusionWarning
from spicestat.group.formula.design import Design, build_design
from spicestat.group.inference.multiplicity import adjust_families

Values = Callable[[HistoryFit, pd.DataFrame], pd.DataFrame]


def point_estimates(fit: HistoryFit, people: pd.DataFrame) -> pd.DataFrame:
    """Return everybody's maximum-likelihood estimates, those at a bound too: participants x coefficients."""
    return fit.coefficients.wide("estimate")


def shrunken_estimates(fit: HistoryFit, people: pd.DataFrame) -> pd.DataFrame:
    """Return empirical-Bayes estimates: all participants in one hierarchical model without covariates."""
    found: pd.DataFrame = spice_group(fit, "~ 1", data=people).shrunken
    return found


def shrunken_by_diagnosis(fit: HistoryFit, people: pd.DataFrame) -> pd.DataFrame:
    """Return empirical-Bayes estimates with a hierarchical model for each diagnosis on its own."""
    with warnings.catch_warnings():
        # the others are left out on purpose
        warnings.simplefilter("ignore", ExclusionWarning)
        parts = [shrunken_estimates(fit, members) for _, members in people.groupby("diagnosis", observed=True)]
    return pd.concat(parts)


def regress(fit: HistoryFit, people: pd.DataFrame, formula: str, values: Values) -> pd.DataFrame:
    """Regress values on covariates by ordinary least squares, as ``lm`` does; of two groups this is the t-test."""
    design = build_design(formula, people)
    labels = people["participant"].iloc[design.rows]
    table = values(fit, people).reindex(labels)
    rows = [
        row
        for module, term in fit.choice_likelihood().terms
        for row in _equation(table[module, term], design, module, term)
    ]
    found = pd.DataFrame(rows)
    found["p_value"] = 2.0 * student.sf((found["estimate"] / found["std_error"]).abs(), found["df"])
    found["p_adjusted"] = adjust_families(found["p_value"].to_numpy(), found["term"].tolist(), "BH")
    half = student.ppf(0.975, found["df"]) * found["std_error"]
    found["conf_low"], found["conf_high"] = found["estimate"] - half, found["estimate"] + half
    return found.assign(converged=True, withheld=False)


def _equation(column: pd.Series[float], design: Design, module: str, term: str) -> list[dict[str, object]]:
    there = column.notna().to_numpy()
    y, X = column.to_numpy()[there], design.matrix[there]
    inverse = np.linalg.inv(X.T @ X)
    beta = inverse @ X.T @ y
    df = len(y) - X.shape[1]
    errors = np.sqrt(np.diag(inverse) * float(np.sum((y - X @ beta) ** 2)) / df)
    where = {"module": module, "sparse_term": term, "link": "identity", "n": len(y), "df": float(df)}
    return [
        {**where, "term": name, "estimate": value, "std_error": error}
        for name, value, error in zip(design.names, beta, errors, strict=True)
    ]
