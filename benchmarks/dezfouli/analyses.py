"""The analyses that are compared: every group method of spicestat, and the naive ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from benchmarks.dezfouli.naive import (
    point_estimates,
    regress,
    shrunken_by_diagnosis,
    shrunken_estimates,
)
from spicestat import HistoryFit, spice_group

__all__ = ["ANALYSES", "COLUMNS", "Analysis", "with_spice_group"]

Run = Callable[[HistoryFit, pd.DataFrame], pd.DataFrame]

FORMULA, WITHIN = "~ diagnosis", "~ diagnosis + (1 | participant)"
COLUMNS = (
    "module",
    "sparse_term",
    "link",
    "term",
    "estimate",
    "std_error",
    "df",
    "conf_low",
    "conf_high",
    "p_value",
    "p_adjusted",
    "n",
    "converged",
    "withheld",
)


@dataclass(frozen=True)
class Analysis:
    """One way to relate the coefficients to the diagnosis.

    Attributes
    ----------
    name : str
        In the tables.
    kind : {"one stage", "two stages", "naive"}
        Choices and groups together; estimates with their errors; numbers taken for data.
    what : str
        In words.
    run : callable
        Takes the fit and the participants, gives the rows of the table.
    halves : bool
        Whether the fit is that of halves of the session, each an occasion of a person.
    needs : tuple of str
        Packages; without them the analysis is left out.
    """

    name: str
    kind: str
    what: str
    run: Run
    needs: tuple[str, ...] = ()
    halves: bool = False


def with_spice_group(
    fit: HistoryFit, people: pd.DataFrame, method: str, formula: str, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Run one of the package's methods and lay its fixed effects out."""
    group = spice_group(fit, formula, data=people, method=method, **settings)
    found = group.tidy()
    keys = list(zip(found["module"], found["sparse_term"], strict=True))
    found["link"] = [group.links.get(key, "identity") for key in keys]
    glance = group.glance().assign(n=lambda rows: len(fit.coefficients.participants) - rows["n_excluded"])
    joint = bool(glance["module"].isna().any())
    own = glance.set_index(["module", "sparse_term"])
    for name in ("n", "converged", "withheld"):
        found[name] = [glance[name].iloc[0] if joint else own.loc[key, name] for key in keys]
    return found[list(COLUMNS)]


def _method(method: str, formula: str = FORMULA, **settings: Any) -> Run:
    return partial(with_spice_group, method=method, formula=formula, settings=settings)


def _naive(values: Run) -> Run:
    return partial(regress, formula=FORMULA, values=values)


_JAX = ("numpyro", "jax", "arviz")

ANALYSES = (
    Analysis("hierarchical", "one stage", "hierarchical model of the choices, the default", _method("hierarchical")),
    Analysis(
        "hierarchical, halves",
        "one stage",
        "the same with halves of the session as occasions of a person",
        _method("hierarchical", WITHIN),
        halves=True,
    ),
    Analysis("bayes", "one stage", "posterior of the hierarchical model (NUTS)", _method("bayes"), _JAX),
    Analysis(
        "multivariate_meta",
        "two stages",
        "identified estimates with full covariances, REML",
        _method("multivariate_meta"),
    ),
    Analysis("bayes_meta", "two stages", "posterior of the same model (NUTS)", _method("bayes_meta"), _JAX),
    Analysis(
        "meta", "two stages", "identified estimates, each coefficient for itself, REML, Knapp-Hartung", _method("meta")
    ),
    Analysis(
        "meta, halves",
        "two stages",
        "the same with halves of the session as occasions of a person",
        _method("meta", WITHIN),
        halves=True,
    ),
    Analysis("permutation", "two stages", "Freedman-Lane permutation test of the same", _method("permutation")),
    Analysis(
        "mixed", "two stages", "mixed model of all identified estimates, standard errors not used", _method("mixed")
    ),
    Analysis("ols", "naive", "least squares with HC3 on identified estimates", _method("ols")),
    Analysis(
        "t-test, all estimates",
        "naive",
        "least squares on everybody's estimates, those at bounds too",
        _naive(point_estimates),
    ),
    Analysis(
        "t-test, shrunken",
        "naive",
        "least squares on shrunken estimates: one hierarchical model without diagnosis",
        _naive(shrunken_estimates),
    ),
    Analysis(
        "t-test, shrunken by group",
        "naive",
        "least squares on shrunken estimates: one hierarchical model per diagnosis",
        _naive(shrunken_by_diagnosis),
    ),
)
