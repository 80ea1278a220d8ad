"""The default group method: coefficients and group effects estimated together from the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError, ContradictionWarning, DataError, warn_user
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link, choose_links
from spicestat.group.marginal.hierarchical_fit import HierarchicalFit, Integration, fit_hierarchical
from spicestat.group.marginal.marginal import stacked_design
from spicestat.group.marginal.modes import to_natural
from spicestat.group.methods.registry import Method

__all__ = ["Settings", "estimate", "starting_prior", "METHOD"]

_ESTIMATORS = ("REML", "ML")
_WIDEST = {"logit": 1.5, "log": 1.0}
_ABOVE, _FAR_ABOVE = 0.1, 2.0
"""Nats by which quadrature may put a marginal likelihood above a maximum, and those that are worth a warning alone."""


@dataclass(frozen=True)
class Settings:
    r"""Settings of the one-stage hierarchical model.

    .. math:: u_i \sim N(X_i\gamma, \Sigma), \qquad y_i \sim p(y \mid \theta_i = g^{-1}(u_i))

    for the vector :math:`u_i` of all coefficients of participant i, inverse temperatures included, on the scale of
    their links g. Inference is by t(N - p) with Louis' information of gamma and Sigma together.

    Attributes
    ----------
    links : mapping of str to str, optional
        "identity", "logit" or "log" by module ("beta") or by "module:term"; default: identity. Effects of a
        coefficient with a link are on the link's scale.
    covariates_on : sequence of str, optional
        Modules or "module:term" that the covariates may change; the others have an intercept only. Default: all,
        as a covariate that is left out of one coefficient leaks into others.
    estimator : {"REML", "ML"}, default "REML"
    integration : {"quadrature", "laplace"}, default "quadrature"
        See `fit_hierarchical`.
    nodes_per_dimension : int, optional
        See `fit_hierarchical`.
    avoid_boundary : bool, default True
        Whether Sigma has the weak prior :math:`|\Sigma|^{1/2}` that keeps it from becoming singular.
    max_rounds : int, default 40

    Raises
    ------
    ConfigError
        A setting is unknown or out of range.
    """

    links: Mapping[str, str] | None = None
    covariates_on: str | Sequence[str] | None = None
    estimator: str = "REML"
    integration: Integration = "quadrature"
    nodes_per_dimension: int | None = None
    avoid_boundary: bool = True
    max_rounds: int = 40

    def __post_init__(self) -> None:
        if self.estimator not in _ESTIMATORS:
            raise ConfigError("unknown estimator", got=self.estimator, allowed=", ".join(_ESTIMATORS))
        if self.integration not in get_args(Integration):
            raise ConfigError("unknown integration", got=self.integration, allowed=", ".join(get_args(Integration)))
        for name in ("nodes_per_dimension", "max_rounds"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"`{name}` is out of range", got=value, allowed="1, 2, 3, ...")


def estimate(inputs: GroupInputs, settings: Settings) -> GroupEstimates:
    """Fit the one-stage hierarchical model to the choices behind a group model."""
    likelihood = inputs.needed_likelihood()
    links = choose_links(likelihood.terms, settings.links)
    design = inputs.design.matrix
    covaried = _covaried(likelihood.terms, settings.covariates_on)
    designs = [design if with_covariates else _intercept(inputs) for with_covariates in covaried]
    center, scale = starting_prior(inputs, links)
    fit = fit_hierarchical(
        likelihood,
        links,
        stacked_design(designs),
        center,
        scale,
        reml=settings.estimator == "REML",
        avoid_boundary=settings.avoid_boundary,
        integration=settings.integration,
        per_dimension=settings.nodes_per_dimension,
        max_rounds=settings.max_rounds,
        report=inputs.report,
    )
    names = [inputs.design.names if with_covariates else ("(Intercept)",) for with_covariates in covaried]
    found = _Report(inputs, likelihood, links, names, designs, fit).estimates()
    contradiction = _above_maxima(inputs, likelihood, fit)
    if contradiction:
        warn_user(contradiction + ".", ContradictionWarning)
    return replace(found, glance=found.glance.assign(contradictions=contradiction))


def _above_maxima(inputs: GroupInputs, likelihood: ChoiceLikelihood, fit: HierarchicalFit) -> str:
    """Say whose marginal likelihood is above that of their own estimates, which it cannot be at a maximum."""
    wide = inputs.table.wide().reindex(columns=pd.MultiIndex.from_tuples(likelihood.terms))
    own = wide.loc[list(likelihood.participants)].to_numpy(dtype="float64")
    known = np.isfinite(own).all(axis=1)
    at_own = likelihood.log_likelihood(np.where(known[:, None], own, 0.0)[None])[0]
    gain = np.where(known, fit.posterior.log_likelihood - at_own, 0.0)
    higher = gain > _ABOVE
    if gain[known].sum() <= 0.0 and gain.max() < _FAR_ABOVE:
        return ""
    return (
        f"{int(higher.sum())} of {int(known.sum())} participants' own estimates are no maxima of their likelihood: "
        f"averaged over the group, it is higher by {gain[higher].sum():.1f} nats in all. This model does not use them, "
        "but two-stage methods and the fit's own predictions do: estimate them again with spice_update(), or trust "
        "this model"
    )


def starting_prior(inputs: GroupInputs, links: Sequence[Link]) -> tuple[np.ndarray, np.ndarray]:
    """Center and scale (d,) of a wide prior on the unconstrained scale, from the participants' own estimates.

    The median over participants, and 1.5 times their median absolute deviation (as a standard deviation), which a
    fifth of useless estimates does not move; with a logit or log link between .5 and 1.5, or .5 and 1.
    """
    likelihood = inputs.needed_likelihood()
    wide = inputs.table.wide()
    center, scale = np.empty(len(links)), np.empty(len(links))
    for k, (term, link) in enumerate(zip(likelihood.terms, links, strict=True)):
        values = wide[term].to_numpy() if term in wide.columns else np.zeros(1)
        values = values[np.isfinite(values)]
        if link.name == "logit":
            values = values.clip(0.02, 0.98)
        elif link.name == "log":
            values = values.clip(max(0.02 * float(np.abs(values).max(initial=0.0)), 1e-6))
        shown = link.to_unconstrained(values) if len(values) else np.zeros(1)
        center[k] = np.median(shown)
        spread = 1.5 * 1.4826 * float(np.median(np.abs(shown - center[k])))
        own_size = max(abs(float(center[k])), 1e-3)
        scale[k] = spread if spread > 1e-3 * own_size else 0.5 * own_size
        if link.name in _WIDEST:
            scale[k] = np.clip(scale[k], 0.5, _WIDEST[link.name])
    return center, scale


def _covaried(terms: Sequence[tuple[str, str]], chosen: str | Sequence[str] | None) -> list[bool]:
    if chosen is None:
        return [True] * len(terms)
    wanted = {chosen} if isinstance(chosen, str) else set(chosen)
    known = {module for module, _ in terms} | {f"{module}:{term}" for module, term in terms}
    if not wanted or wanted - known:
        raise ConfigError(
            "`covariates_on` names what is not estimated",
            got=", ".join(map(repr, sorted(wanted - known))) or "(nothing)",
            allowed=", ".join(repr(f"{module}:{term}") for module, term in terms) + ", or a module alone",
        )
    return [module in wanted or f"{module}:{term}" in wanted for module, term in terms]


def _intercept(inputs: GroupInputs) -> np.ndarray:
    return np.ones((len(inputs.design.matrix), 1))


class _Report:
    """Lays a fit out as tables."""

    def __init__(
        self,
        inputs: GroupInputs,
        likelihood: ChoiceLikelihood,
        links: Sequence[Link],
        names: list[tuple[str, ...]],
        designs: list[np.ndarray],
        fit: HierarchicalFit,
    ) -> None:
        self.designs = designs
        self.inputs, self.likelihood, self.links, self.names, self.fit = inputs, likelihood, links, names, fit
        self.ends = np.cumsum([0, *map(len, names)])
        asked = {equation.key for equation in inputs.equations}
        self.shown = [k for k, term in enumerate(likelihood.terms) if term in asked]
        if not self.shown:
            raise DataError("none of the coefficients asked for is estimated from the choices", got=sorted(asked))

    def estimates(self) -> GroupEstimates:
        """Return everything."""
        terms = self.likelihood.terms
        covariance = {
            terms[k]: self.fit.covariance[self.ends[k] : self.ends[k + 1], self.ends[k] : self.ends[k + 1]]
            for k in self.shown
        }
        return GroupEstimates(
            fixed=self._fixed(),
            ran_pars=self._ran_pars(),
            glance=self._glance(),
            covariance=covariance,
            ran_vals=self._ran_vals(),
            joint_covariance=self._joint(),
            links={terms[k]: self.links[k].name for k in range(len(terms)) if self.links[k].name != "identity"},
            shrunken=self._shrunken(),
        )

    def _fixed(self) -> pd.DataFrame:
        errors = np.sqrt(np.diag(self.fit.covariance))
        n = len(self.inputs.design.matrix)
        rows = [
            {
                "module": self.likelihood.terms[k][0],
                "sparse_term": self.likelihood.terms[k][1],
                "term": name,
                "estimate": self.fit.group.gamma[self.ends[k] + offset],
                "std_error": errors[self.ends[k] + offset],
                "df": float(n - len(self.names[k])),
            }
            for k in self.shown
            for offset, name in enumerate(self.names[k])
        ]
        return pd.DataFrame(rows)

    def _joint(self) -> pd.DataFrame:
        labels = [
            (*term, name) for term, names in zip(self.likelihood.terms, self.names, strict=True) for name in names
        ]
        index = pd.MultiIndex.from_tuples(labels, names=["module", "sparse_term", "term"])
        return pd.DataFrame(self.fit.covariance, index=index, columns=index)

    def _ran_pars(self) -> pd.DataFrame:
        spread = np.sqrt(np.diag(self.fit.group.sigma))
        correlation = self.fit.group.sigma / np.outer(spread, spread)
        rows = []
        for k in self.shown:
            module, sparse_term = self.likelihood.terms[k]
            error = self.fit.spread_error[k]
            where = {"module": module, "sparse_term": sparse_term, "group": "participant"}
            rows.append({**where, "term": "sd__(Intercept)", "estimate": spread[k], "std_error": error})
            rows += [
                {
                    **where,
                    "term": f"cor__(Intercept).{':'.join(self.likelihood.terms[j])}",
                    "estimate": correlation[k, j],
                }
                for j in self.shown
                if j > k
            ]
        return pd.DataFrame(rows)

    def _ran_vals(self) -> pd.DataFrame:
        at = self.fit.posterior
        predicted = self._predicted()
        errors = np.sqrt(np.diagonal(at.covariance, axis1=1, axis2=2))
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "module": self.likelihood.terms[k][0],
                        "sparse_term": self.likelihood.terms[k][1],
                        "group": "participant",
                        "level": pd.Series(self.likelihood.participants),
                        "term": "(Intercept)",
                        "estimate": at.mean[:, k] - predicted[:, k],
                        "std_error": errors[:, k],
                    }
                )
                for k in self.shown
            ],
            ignore_index=True,
        )

    def _predicted(self) -> np.ndarray:
        """Return what the covariates predict, (N, d)."""
        gamma = self.fit.group.gamma
        return np.column_stack(
            [design @ gamma[self.ends[k] : self.ends[k + 1]] for k, design in enumerate(self.designs)]
        )

    def _shrunken(self) -> pd.DataFrame:
        """Posterior medians on the natural scale: shrunken, for description only."""
        natural = to_natural(self.links, self.fit.posterior.mean)
        columns = pd.MultiIndex.from_tuples(self.likelihood.terms, names=["module", "sparse_term"])
        return pd.DataFrame(natural, index=pd.Index(self.likelihood.participants, name="participant"), columns=columns)

    def _glance(self) -> pd.DataFrame:
        n, d = len(self.inputs.design.matrix), len(self.links)
        log_lik = float(self.fit.posterior.log_likelihood.sum())
        n_parameters = len(self.fit.group.gamma) + d * (d + 1) // 2
        row: dict[str, Any] = {
            "module": None,
            "sparse_term": None,
            "nobs": n,
            "df_residual": float(n - self.inputs.design.matrix.shape[1]),
            "log_lik": log_lik,
            "aic": 2.0 * n_parameters - 2.0 * log_lik,
            "bic": n_parameters * float(np.log(n)) - 2.0 * log_lik,
            "n_excluded": len(self.inputs.table.participants) - n,
            "share_unidentified": max(equation.share_unidentified for equation in self.inputs.equations),
            "converged": self.fit.converged,
        }
        return pd.DataFrame([row])


METHOD = Method(
    estimate,
    "hierarchical",
    "coefficients and their relation to covariates estimated together, from the choices",
    Settings,
    needs_std_error=False,
    reads_choices=True,
    # measured with 35 % (benchmarks/results/calibration.md, "short"): everybody's choices count, so nobody is missing
    max_unidentified=0.4,
)
