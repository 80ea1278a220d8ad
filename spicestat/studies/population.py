"""How the coefficients of a fit are distributed over people, from whom simulated studies draw theirs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from spicestat.coefficients import refuse_occasions
from spicestat.equations.structure.equation_set import FREE
from spicestat.errors import ConfigError, DataError
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.api import spice_group
from spicestat.group.inputs.links import find_link
from spicestat.group.methods.multivariate_meta import multivariate_meta_regression
from spicestat.group.result import GroupResult

__all__ = ["Population", "fitted_population", "group_population"]


@dataclass(frozen=True, eq=False)
class Population:
    """Normal distribution of K free coefficients over people, linked, in the unit of the data.

    Attributes
    ----------
    terms : tuple of (module, term), length K
    mean : ndarray of shape (K,)
    covariance : ndarray of shape (K, K)
        Of people on one occasion.
    links : tuple of str, length K
    within : ndarray of shape (K, K)
        The part of ``covariance`` that is of occasions of a person; 0 where the fit had none.
    """

    terms: tuple[tuple[str, str], ...]
    mean: np.ndarray
    covariance: np.ndarray
    links: tuple[str, ...]
    within: np.ndarray = field(default_factory=lambda: np.zeros(()))

    def draw(self, rng: np.random.Generator, shift: np.ndarray) -> np.ndarray:
        """Draw coefficients (N, K) on the natural scale, with means shifted by ``shift`` (N, K) on the link scale."""
        return self.natural(self.mean + shift + normal_rows(self.covariance, len(shift), rng))

    def natural(self, linked: np.ndarray) -> np.ndarray:
        """Map coefficients (N, K) from the scale of the links."""
        columns = [find_link(name).to_natural(linked[:, k]) for k, name in enumerate(self.links)]
        return np.stack(columns, axis=1)


def normal_rows(covariance: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n rows of a normal distribution with mean 0; negative variances, of rounding, count as none."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(rng.normal(size=(n, len(values))) * np.sqrt(values.clip(0.0)) @ vectors.T)


def fitted_population(fit: SpiceFit) -> Population:
    """Return how a fit's free coefficients are distributed, by a meta-analysis of its identified participants.

    Raises
    ------
    ConfigError
        Structures differ between participants.
    DataError
        Too few participants are identified.
    """
    refuse_occasions(fit.coefficients, "a meta-analysis of identified participants")
    equations, result = fit.model.equations, fit.model.refit
    _check_structure(fit)
    free = np.flatnonzero(equations.status[0] == FREE)
    known = result.converged & ~result.unidentified & ~result.at_bound.any(axis=1)
    if known.sum() < max(4, len(free) + 2):
        raise DataError(
            "too few participants are identified to know how coefficients are distributed",
            got=f"{int(known.sum())} of {len(known)}",
            do="fit more trials",
        )
    factors = fit.model.unit_factors[free]
    V = result.covariance[known][:, free[:, None], free] * np.outer(factors, factors)
    estimates = equations.coefficients[known][:, free] * factors
    found = multivariate_meta_regression(estimates, V, np.ones((int(known.sum()), 1)))
    terms = tuple(equations.terms[position] for position in free)
    return Population(terms, found.beta[:, 0], found.sigma, ("identity",) * len(terms))


def group_population(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult | None = None) -> Population:
    """Return how a fit's coefficients are distributed, by a group model of it.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
        A SpiceFit with one structure for everybody.
    group : GroupResult, optional
        Default: the default one without covariates.

    Raises
    ------
    ConfigError
        Structures differ between participants, or the group model lacks a coefficient.
    """
    if isinstance(fit, SpiceFit):
        _check_structure(fit)
    if group is None:
        group = spice_group(fit, "~ 1 + (1 | participant)" if fit.coefficients.occasions else "~ 1")
    return population_of_group(group, fit.choice_likelihood().terms)


def _check_structure(fit: SpiceFit) -> None:
    status = fit.model.equations.status
    if (status != status[0]).any():
        raise ConfigError(
            "participants have different equations, which have no common distribution",
            do="fit with structure='population'",
        )


def population_of_group(group: GroupResult, terms: tuple[tuple[str, str], ...]) -> Population:
    """Read means, standard deviations and, where there are some, correlations off a group model."""
    if group.design is None or group.table is None:
        raise ConfigError("the group model does not say who it is about", do="pass a result of spice_group")
    mean, whole = _means(group, terms), _covariance(group.coefficients, "participant", terms)
    within = np.zeros_like(whole)
    if group.table.occasions:
        within = np.nan_to_num(_covariance(group.coefficients, group.table.unit, terms))
        whole = whole + within
    missing = [terms[position] for position in np.flatnonzero(~np.isfinite(mean + np.diag(whole)))]
    if missing:
        raise ConfigError(
            "the group model has no mean or no standard deviation between participants of some coefficients",
            got=missing,
            do="pass group=spice_group(fit, '~ 1') of all coefficients, or leave group out",
        )
    return Population(terms, mean, whole, tuple(group.links.get(term, "identity") for term in terms), within)


def _means(group: GroupResult, terms: tuple[tuple[str, str], ...]) -> np.ndarray:
    """Means over the participants of a group model, whatever its covariates are, (K,); NaN where there is none."""
    assert group.design is not None
    names, average = list(group.design.names), group.design.matrix.mean(axis=0)
    table = group.coefficients[group.coefficients["effect"] == "fixed"]
    found = np.full(len(terms), np.nan)
    for position, (module, term) in enumerate(terms):
        gamma = table[(table["module"] == module) & (table["sparse_term"] == term)].set_index("term")["estimate"]
        if set(gamma.index) & set(names):
            # a covariate may have no effect on some coefficients
            found[position] = average @ gamma.reindex(names).fillna(0.0).to_numpy()
    return found


def _covariance(table: pd.DataFrame, grouping: str, terms: tuple[tuple[str, str], ...]) -> np.ndarray:
    """Covariance of the intercepts of a grouping, (K, K); NaN where there is no standard deviation."""
    rows = table[(table["effect"] == "ran_pars") & (table["group"] == grouping)]
    spread = rows.set_index(["module", "sparse_term", "term"])["estimate"]
    sd = np.array([spread.get((*key, "sd__(Intercept)"), np.nan) for key in terms])
    correlation = np.eye(len(terms))
    for position, key in enumerate(terms):
        for other, pair in enumerate(terms):
            known = spread.get((*key, f"cor__(Intercept).{':'.join(pair)}"), np.nan)
            if np.isfinite(known):
                correlation[position, other] = correlation[other, position] = known
    return np.asarray(correlation * np.outer(sd, sd))
