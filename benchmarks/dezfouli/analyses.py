"""The analyses that are compared: every group method of spicestat, and the naive ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from benchmarks.dezfouli.naive import (
    network_coefficients,
    point_estimates,
    regress,
    shrunken_by_diagnosis,
    shrunken_estimates,
)
from spicestat import SpiceFit, spice_group

__all__ = ["ANALYSES", "COLUMNS", "FORMULA", "Analysis"]

FORMULA = "~ diagnosis"
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
    "nobs",
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
    needs : tuple of str
        Packages; without them the analysis is left out.
    """

    name: str
    kind: str
    what: str
    run: Callable[[SpiceFit, pd.DataFrame], pd.DataFrame]
    needs: tuple[str, ...] = field(default=())


def with_spice_group(fit: SpiceFit, people: pd.DataFrame, method: str, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Run one of the package's methods and lay its fixed effects out."""
    group = spice_group(fit, FORMULA, data=people, method=method, **settings)
    found = group.tidy()
    keys = list(zip(found["module"], found["sparse_term"], strict=True))
    found["link"] = [group.links.get(key, "identity") for key in keys]
    glance = group.glance()
    if glance["module"].isna().any():
        for name in ("nobs", "converged", "withheld"):
            found[name] = glance[name].iloc[0]
    else:
        own = glance.set_index(["module", "sparse_term"])
        for name in ("nobs", "converged", "withheld"):
            found[name] = [own.loc[key, name] for key in keys]
    if method == "mixed":
        found["nobs"] = found["nobs"] // found.drop_duplicates(["module", "sparse_term"]).shape[0]
    return found[list(COLUMNS)]


def _method(method: str, **settings: Any) -> Callable[[SpiceFit, pd.DataFrame], pd.DataFrame]:
    return partial(with_spice_group, method=method, settings=settings)


def _naive(values: Callable[[SpiceFit, pd.DataFrame], pd.DataFrame]) -> Callable[[SpiceFit, pd.DataFrame], pd.DataFrame]:
    return partial(regress, formula=FORMULA, values=values)


# Learning rates of these participants are negative at times and fixed points lie where they want, so only the
# inverse temperature has a scale that rules something out.
LINKS = {"beta": "log"}

_JAX = ("numpyro", "jax", "arviz")

ANALYSES = (
    Analysis("hierarchical", "one stage", "hierarchical model of the choices, identity links", _method("hierarchical")),
    Analysis("hierarchical, links", "one stage", "the same, inverse temperature on the log scale", _method("hierarchical", links=LINKS)),
    Analysis("hierarchical, Laplace", "one stage", "the same as the first, likelihoods taken as normal", _method("hierarchical", integration="laplace")),
    Analysis("bayes", "one stage", "posterior of the hierarchical model (NUTS)", _method("bayes"), _JAX),
    Analysis("deshrunk_meta", "two stages", "de-shrunk posterior modes, multivariate REML", _method("deshrunk_meta")),
    Analysis("multivariate_meta", "two stages", "identified estimates with full covariances, REML", _method("multivariate_meta")),
    Analysis("bayes_meta", "two stages", "posterior of the same model (NUTS)", _method("bayes_meta"), _JAX),
    Analysis("meta", "two stages", "identified estimates, each coefficient for itself, REML, Knapp-Hartung", _method("meta")),
    Analysis("permutation", "two stages", "Freedman-Lane permutation test of the same", _method("permutation")),
    Analysis("mixed", "two stages", "mixed model of all identified estimates, standard errors not used", _method("mixed")),
    Analysis("ols", "naive", "least squares with HC3 on identified estimates", _method("ols")),
    Analysis("t-test, all estimates", "naive", "least squares on everybody's estimates, those at bounds too", _naive(point_estimates)),
    Analysis("t-test, network", "naive", "least squares on coefficients read off the network", _naive(network_coefficients)),
    Analysis("t-test, shrunken", "naive", "least squares on empirical-Bayes estimates of one model without diagnosis", _naive(shrunken_estimates)),
    Analysis("t-test, shrunken by group", "naive", "least squares on empirical-Bayes estimates of one model per diagnosis", _naive(shrunken_by_diagnosis)),
)  # fmt: skip
