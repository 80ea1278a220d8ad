"""The default group method: coefficients and group effects estimated together from the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError, ContradictionWarning, warn_user
from spicestat.group.formula.random_columns import RandomColumns
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.inputs.likelihood import ChoiceLikelihood, own_links
from spicestat.group.inputs.links import Link, choose_links, on_links
from spicestat.group.inputs.shared import covariance_from_shared
from spicestat.group.marginal.hierarchical_fit import HierarchicalFit, Integration, fit_hierarchical, stacked_design
from spicestat.group.marginal.linear_model import Part
from spicestat.group.marginal.tables import Layout, hierarchical_estimates
from spicestat.group.methods.registry import Method
from spicestat.group.numerics.variance_components import RandomPart, column_sizes, rest_is_told

__all__ = ["Settings", "estimate", "starting_prior", "METHOD"]

_ESTIMATORS = ("REML", "ML")
_MOST_JOINED, _LEVELS_EACH = 12, 3
_WIDEST = {"logit": 1.5, "log": 1.0}
_ABOVE, _FAR_ABOVE = 0.1, 2.0
"""Nats by which quadrature may put a marginal likelihood above a maximum, and those that are worth a warning alone."""


@dataclass(frozen=True)
class Settings:
    r"""Settings of the one-stage hierarchical model.

    .. math:: u_r = X_r\gamma + \sum_p Z_{pr} b_p + e_r, \quad b_p \sim N(0, G_p),\ e_r \sim N(0, \Sigma), \qquad
        y_r \sim (1 - \pi)\, p(y \mid g^{-1}(u_r)) + \pi\, \text{guesses}

    for the vector :math:`u_r` of all coefficients of participant r (on an occasion), inverse temperatures included, on
    the scale of their links g, with the random parts of the formula. :math:`\Sigma` joins all coefficients, and so
    does :math:`G_p` where it has no more than 12 rows, and 3 levels of the grouping for each; else it joins the terms
    of each coefficient. :math:`\Sigma` is left out where the random parts can take all that it could be.
    Standard errors count what is not known of the covariances, and those of intercepts what is not known of weights
    that the population shares. Tests are by t(N - p), with random parts with Satterthwaite's degrees of freedom.

    Attributes
    ----------
    links : mapping of str to str, optional
        "identity", "logit" or "log" by module ("beta") or by "module:term"; default: a parameter's own link where the
        fit is a `TaskFit`, else identity. Effects of a coefficient with a link are on the link's scale.
    covariates_on : sequence of str, optional
        Modules or "module:term" that the covariates may change; the others have an intercept only. Default: all,
        as a covariate that is left out of one coefficient leaks into others.
    estimator : {"REML", "ML"}, default "REML"
    integration : {"moments", "laplace"}, optional
        How coefficients are integrated over: by nodes, or by ``lme4::glmer``'s approximation, which is faster with many
        coefficients. Default: "laplace" for more than four weights of `HistoryFit` or parameters of `TaskFit`,
        else "moments".
    nodes_per_dimension : int, optional
        See `fit_hierarchical`.
    guessing : bool, default True
        Whether a share :math:`\pi` of the participants may guess; ``weight`` of `GroupResult.augment` says how probably
        a participant does not. Nobody may where response times are predicted, of which guesses say nothing.
    avoid_boundary : bool, default True
        Whether each covariance has the weak prior :math:`|\Sigma|^{1/2}` that keeps it from becoming singular.
    max_rounds : int, default 40

    Raises
    ------
    ConfigError
        A setting is unknown or out of range.
    """

    links: Mapping[str, str] | None = None
    covariates_on: str | Sequence[str] | None = None
    estimator: str = "REML"
    integration: Integration | None = None
    nodes_per_dimension: int | None = None
    guessing: bool = True
    avoid_boundary: bool = True
    max_rounds: int = 40

    def __post_init__(self) -> None:
        if self.estimator not in _ESTIMATORS:
            raise ConfigError("unknown estimator", got=self.estimator, allowed=", ".join(_ESTIMATORS))
        if self.integration is not None and self.integration not in get_args(Integration):
            raise ConfigError("unknown integration", got=self.integration, allowed=", ".join(get_args(Integration)))
        for name in ("guessing", "avoid_boundary"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"`{name}` is not a boolean", got=getattr(self, name), allowed="True or False")
        for name in ("nodes_per_dimension", "max_rounds"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"`{name}` is out of range", got=value, allowed="1, 2, 3, ...")


def estimate(inputs: GroupInputs, settings: Settings) -> GroupEstimates:
    """Fit the one-stage hierarchical model to the choices behind a group model."""
    likelihood = inputs.needed_likelihood()
    links = choose_links(likelihood.terms, settings.links, own_links(likelihood))
    design = inputs.design.matrix
    covaried = _covaried(likelihood.terms, settings.covariates_on)
    designs = [design if with_covariates else _intercept(inputs) for with_covariates in covaried]
    center, scale = starting_prior(inputs, links)
    random = inputs.design.random
    fit = fit_hierarchical(
        *on_links(likelihood, links),
        stacked_design(designs),
        center,
        scale,
        [Part(own.matrix, own.codes, _free(own, len(links))) for own in random],
        with_rest=_with_rest(design, random),
        reml=settings.estimator == "REML",
        avoid_boundary=settings.avoid_boundary,
        guessed=likelihood.by_chance if settings.guessing else None,
        integration=settings.integration,
        per_dimension=settings.nodes_per_dimension,
        max_rounds=settings.max_rounds,
        report=inputs.report,
    )
    of_shared = covariance_from_shared(likelihood, links, designs, fit.mean.mean(axis=0))
    fit = replace(fit, covariance=fit.covariance + of_shared)
    names = [inputs.design.names if with_covariates else ("(Intercept)",) for with_covariates in covaried]
    layout = Layout(likelihood.terms, likelihood.participants, links, tuple(names), tuple(designs))
    found = hierarchical_estimates(inputs, layout, fit)
    contradiction = _above_maxima(inputs, likelihood, fit)
    if contradiction:
        warn_user(contradiction + ".", ContradictionWarning)
    return replace(found, glance=found.glance.assign(contradictions=contradiction))


def _free(part: RandomColumns, n_coefficients: int) -> np.ndarray:
    """Return which entries of the root of a random part's covariance are estimated."""
    size = part.matrix.shape[1] * n_coefficients
    column, coefficient = np.divmod(np.arange(size), n_coefficients)
    free = np.tri(size, dtype=bool)
    if size > _MOST_JOINED or part.codes.max() + 1 < _LEVELS_EACH * size:
        free &= coefficient[:, None] == coefficient
    if not part.correlated:
        free &= column[:, None] == column
    return free


def _with_rest(design: np.ndarray, random: Sequence[RandomColumns]) -> bool:
    """Return whether rows have a rest of their own beside the random parts."""
    if not random:
        return True
    parts = [RandomPart(own.matrix / column_sizes(own.matrix, own.text), own.codes, own.correlated) for own in random]
    return rest_is_told(np.linalg.qr(design)[0], parts)


def _above_maxima(inputs: GroupInputs, likelihood: ChoiceLikelihood, fit: HierarchicalFit) -> str:
    """Say whose marginal likelihood is above that of their own estimates, which it cannot be at a maximum."""
    wide = inputs.table.wide().reindex(columns=pd.MultiIndex.from_tuples(likelihood.terms))
    own = wide.loc[list(likelihood.participants)].to_numpy(dtype="float64")
    known = np.isfinite(own).all(axis=1)
    at_own = likelihood.log_likelihood(np.where(known[:, None], own, 0.0)[None])[0]
    gain = np.where(known, fit.row_log_likelihood - at_own, 0.0)
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
    """Center and scale (d,) of a wide prior on the unconstrained scale, from the participants' estimates.

    The median over participants of their pooled estimates, where there are some, else of their own; and 1.5 times the
    median absolute deviation of their own (as a standard deviation), which a fifth of useless estimates does not move;
    with a logit or log link between .5 and 1.5, or .5 and 1. The middle of own estimates may be far from the
    population where many of them are at an end of their likelihood that is nearly flat.
    """
    likelihood = inputs.needed_likelihood()
    own = inputs.table.wide()
    pooled = inputs.table.wide("pooled") if "pooled" in inputs.table.frame else own
    if pooled.isna().all(axis=None):
        pooled = own
    if own.isna().all(axis=None):
        own = pooled
    center, scale = np.empty(len(links)), np.empty(len(links))
    for k, (term, link) in enumerate(zip(likelihood.terms, links, strict=True)):
        shown, middle = _unconstrained(own, term, link), _unconstrained(pooled, term, link)
        center[k] = np.median(middle)
        spread = 1.5 * 1.4826 * float(np.median(np.abs(shown - np.median(shown))))
        own_size = max(abs(float(center[k])), 1e-3)
        scale[k] = spread if spread > 1e-3 * own_size else 0.5 * own_size
        if link.name in _WIDEST:
            scale[k] = np.clip(scale[k], 0.5, _WIDEST[link.name])
    return center, scale


def _unconstrained(wide: pd.DataFrame, term: tuple[str, str], link: Link) -> np.ndarray:
    """Return the known estimates of a term on the scale of its link, those at ends pulled in; 0 where there is none."""
    values = wide[term].to_numpy() if term in wide.columns else np.zeros(1)
    values = values[np.isfinite(values)]
    if link.name == "logit":
        values = values.clip(0.02, 0.98)
    elif link.name == "log":
        values = values.clip(max(0.02 * float(np.abs(values).max(initial=0.0)), 1e-6))
    return link.to_unconstrained(values) if len(values) else np.zeros(1)


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


METHOD = Method(
    estimate,
    "hierarchical",
    "coefficients and their relation to covariates estimated together, from the choices; takes random parts",
    Settings,
    needs_std_error=False,
    reads_choices=True,
    # measured with 35 % (docs/decisions.md, 32): everybody's choices count, so nobody is missing
    max_unidentified=0.4,
    takes_random_parts=True,
)
