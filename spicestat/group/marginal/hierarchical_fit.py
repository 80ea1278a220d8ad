"""The one-stage hierarchical model in numbers: EM over adaptively placed nodes, and what is known about its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link, in_unit
from spicestat.group.marginal.em import Climb, climb
from spicestat.group.marginal.marginal import (
    Group,
    Information,
    Posterior,
    boundary_information,
    information,
    posterior,
)
from spicestat.group.marginal.modes import Modes, posterior_modes
from spicestat.group.marginal.quadrature import (
    Nodes,
    Place,
    Rule,
    finer_rule,
    make_nodes,
    quadratic_nodes,
    quadrature_rule,
    sampling_rule,
)

__all__ = ["HierarchicalFit", "Integration", "fit_hierarchical"]

Integration = Literal["quadrature", "laplace"]

_STEADY = 0.02
_BOLD = 1
_TRACE = 1e-3
_SINGULAR = 1e-6
_ALIKE = 0.05
"""Two rules agree if no participant's log marginal likelihood differs by more. Where posteriors are near normal they
agree to .01; one participant with a bent posterior, for whom they do not, can double standard errors."""


@dataclass(frozen=True)
class HierarchicalFit:
    """A fitted group distribution of P participants' d unconstrained coefficients.

    Attributes
    ----------
    group : Group
        Fixed effects gamma (m,) and covariance Sigma (d, d).
    covariance : ndarray of shape (m, m)
        Of gamma.
    spread_error : ndarray of shape (d,)
        Standard errors of the standard deviations between participants; NaN where Sigma is close to singular.
    posterior : Posterior
        Participants' posteriors.
    nodes : Nodes
        The last nodes.
    information : Information
        Louis' observed information.
    rounds : int
        How often nodes were placed.
    change : float
        Largest change in the last round: gamma in standard errors, Sigma relative to its diagonal.
    converged : bool
        ``change`` below tolerance, and EM on the last nodes converged.
    """

    group: Group
    covariance: np.ndarray
    spread_error: np.ndarray
    posterior: Posterior
    nodes: Nodes
    information: Information
    rounds: int
    change: float
    converged: bool


def fit_hierarchical(
    likelihood: ChoiceLikelihood,
    links: Sequence[Link],
    Z: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    *,
    reml: bool = True,
    avoid_boundary: bool = True,
    integration: Integration = "quadrature",
    per_dimension: int | None = None,
    tolerance: float = _STEADY,
    max_rounds: int = 40,
    report: Callable[[int, int, str], object] | None = None,
) -> HierarchicalFit:
    r"""Fit :math:`u_i \sim N(Z_i\gamma, \Sigma)`, choices of i :math:`\sim p(y \mid u_i)`.

    Nodes are placed at every participant's posterior (first at its mode under a wide prior, then at its mean and
    covariance under the current group), the group is estimated on them by EM (`climb`), and both are repeated
    until nothing changes.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of P participants with d coefficients.
    links : sequence of Link, length d
    Z : ndarray of shape (P, d, m)
    center, scale : ndarray of shape (d,)
        Of the wide normal prior that places the first nodes; the result does not depend on it.
    reml, avoid_boundary : bool, default True
        See `climb`.
    integration : {"quadrature", "laplace"}, default "quadrature"
        "laplace" takes every participant's likelihood as normal around its posterior mode: fewer evaluations
        where there are many coefficients, and somewhat biased with few trials.
    per_dimension : int, optional
        Nodes along each dimension; see `quadrature_rule`. By default a few, and if the fit does not converge or two
        more give a participant another marginal likelihood, the fit is repeated by importance sampling.
    tolerance : float, default .02
        See `HierarchicalFit.change`.
    max_rounds : int, default 40
    report : callable, optional
        Called with (round, max_rounds, message) at the end of each round.
    """
    # in units of the wide prior, so that the unit of a coefficient changes nothing
    sizes, links = scale, [in_unit(link, size) for link, size in zip(links, scale, strict=True)]
    center, scale = center / sizes, np.ones_like(sizes)
    basis, back = _orthonormal(Z)
    widest = int((Z != 0).any(axis=0).sum(axis=1).max())
    # with one degree of freedom the prior would be all that holds Sigma, and it pulls to infinity
    avoid_boundary = avoid_boundary and len(Z) - widest > 1
    fit = partial(
        _fit,
        likelihood,
        links,
        basis,
        center,
        scale,
        climber=partial(climb, reml=reml, avoid_boundary=avoid_boundary),
        integration=integration,
        tolerance=tolerance,
        max_rounds=max_rounds,
        report=report,
    )
    found = fit(rule=quadrature_rule(Z.shape[1], per_dimension))
    finer = finer_rule(Z.shape[1]) if per_dimension is None and integration == "quadrature" else None
    if finer is not None and not (found.converged and _agrees(likelihood, links, basis, found, finer)):
        found = fit(rule=sampling_rule(Z.shape[1]))
    covariance, spread_error = _errors(found.information, found.group, avoid_boundary)
    # every column of the design belongs to one coefficient
    back = sizes[(Z != 0).any(axis=0).argmax(axis=0)][:, None] * back
    both, own = np.outer(sizes, sizes), found.posterior
    return replace(
        found,
        group=Group(back @ found.group.gamma, both * found.group.sigma),
        covariance=back @ covariance @ back.T,
        spread_error=sizes * spread_error,
        posterior=replace(own, mean=sizes * own.mean, covariance=both * own.covariance),
        nodes=Nodes(sizes * found.nodes.theta, found.nodes.log_weight + np.log(sizes).sum()),
        information=_turned(found.information, np.linalg.inv(back), 1.0 / both[np.tril_indices(len(sizes))]),
    )


def _orthonormal(Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an equivalent design whose columns are orthogonal and of size 1, and the matrix that maps gamma back.

    So neither the unit nor the zero of a covariate, such as a year of birth, changes how a fit is found.
    """
    m = Z.shape[2]
    back = np.zeros((m, m))
    for block in Z.transpose(1, 0, 2):
        columns = np.flatnonzero((block != 0).any(axis=0))
        triangle = np.linalg.qr(block[:, columns])[1] / np.sqrt(len(Z))
        back[np.ix_(columns, columns)] = np.linalg.inv(triangle)
    return Z @ back, back


def _turned(at: Information, forth: np.ndarray, sigma: np.ndarray) -> Information:
    """Express an information in the fixed effects of the original design, and in Sigma's entries times ``sigma``."""
    both = np.diag(np.concatenate([np.ones(len(forth)), sigma]))
    both[: len(forth), : len(forth)] = forth
    return Information(forth.T @ at.gamma @ forth, both.T @ at.joint @ both)


def _fit(
    likelihood: ChoiceLikelihood,
    links: Sequence[Link],
    Z: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    *,
    climber: Callable[[Nodes, np.ndarray, Group], Climb],
    integration: Integration,
    rule: Rule,
    tolerance: float,
    max_rounds: int,
    report: Callable[[int, int, str], object] | None,
) -> HierarchicalFit:
    """Place nodes and climb on them until nothing changes; errors are left to the caller."""
    modes = posterior_modes(likelihood, links, np.tile(center, (len(Z), 1)), np.diag(scale**2))
    group = _starting_group(modes, Z, scale)
    modes = posterior_modes(likelihood, links, Z @ group.gamma, group.sigma, start=modes.mode)
    mean, spread, around = modes.mode, modes.covariance, group
    settled = 0
    for rounds in range(1, max_rounds + 1):
        place = Place(mean, spread, Z @ around.gamma, around.sigma)
        if integration == "laplace":
            modes = posterior_modes(likelihood, links, Z @ group.gamma, group.sigma, start=modes.mode)
            nodes = quadratic_nodes(modes, replace(place, mean=modes.mode, covariance=modes.covariance), rule)
        else:
            nodes = make_nodes(likelihood, links, place, rule)
        found = climber(nodes, Z, group)
        at = information(nodes, Z, found.group, found.posterior)
        change = _change(group, found.group, at)
        group = found.group
        converged = change < tolerance and found.converged
        if report is not None:
            report(rounds, max_rounds, f"change {change:.2g}, {tolerance:g} is enough")
        if converged or rounds == max_rounds:
            break
        # full moves while Sigma is on its way; later they can go back and forth between two placements
        settled += found.converged
        weight = 1.0 / max(settled - _BOLD, 1)
        mean = (1.0 - weight) * mean + weight * found.posterior.mean
        spread = (1.0 - weight) * spread + weight * _widened(found.posterior.covariance, group.sigma)
        around = Group(
            (1.0 - weight) * around.gamma + weight * group.gamma, (1.0 - weight) * around.sigma + weight * group.sigma
        )
    unknown = np.full((len(group.gamma), len(group.gamma)), np.nan)
    return HierarchicalFit(group, unknown, np.diag(unknown), found.posterior, nodes, at, rounds, change, converged)


def _agrees(
    likelihood: ChoiceLikelihood, links: Sequence[Link], Z: np.ndarray, found: HierarchicalFit, rule: Rule
) -> bool:
    """Whether another rule gives every participant the same marginal likelihood."""
    group, own = found.group, found.posterior
    place = Place(own.mean, _widened(own.covariance, group.sigma), Z @ group.gamma, group.sigma)
    other = posterior(make_nodes(likelihood, links, place, rule), Z, group)
    return bool(np.abs(other.log_likelihood - own.log_likelihood).max() < _ALIKE)


def _widened(covariance: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Add a trace of the group's covariance, so that a posterior that fell on one node can recover."""
    return covariance + _TRACE * sigma


def _starting_group(modes: Modes, Z: np.ndarray, scale: np.ndarray) -> Group:
    """Least squares on the modes; their spread is too small or too large, so half the prior's is the start."""
    flat, targets = Z.reshape(-1, Z.shape[2]), modes.mode.reshape(-1)
    gamma = np.linalg.lstsq(flat, targets, rcond=None)[0]
    spread = (modes.mode - Z @ gamma).std(axis=0)
    return Group(gamma, np.diag(np.clip(spread, 0.3 * scale, scale) ** 2))


def _change(old: Group, new: Group, at: Information) -> float:
    errors = np.sqrt(np.diag(np.linalg.pinv(at.gamma)).clip(1e-300))
    sizes = np.sqrt(np.diag(new.sigma))
    moved = np.abs(new.sigma - old.sigma) / np.outer(sizes, sizes)
    return float(max(np.max(np.abs(new.gamma - old.gamma) / errors), np.max(moved)))


def _errors(at: Information, group: Group, avoid_boundary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the fixed effects and standard errors of the standard deviations.

    From the joint information, the prior's included; where that is close to singular, errors of the fixed
    effects given Sigma, and none of the standard deviations.
    """
    m, d = len(group.gamma), len(group.sigma)
    joint = at.joint.copy()
    if avoid_boundary:
        joint[m:, m:] += boundary_information(group.sigma)
    size = np.sqrt(np.abs(np.diag(joint)).clip(1e-300))
    scaled = joint / np.outer(size, size)
    if np.isfinite(scaled).all() and np.linalg.eigvalsh(scaled)[0] > _SINGULAR:
        inverse = np.linalg.inv(scaled) / np.outer(size, size)
        # the k-th variance stands at the end of the k-th row of the lower triangle
        variances = m + np.cumsum(np.arange(1, d + 1)) - 1
        return inverse[:m, :m], np.sqrt(np.diag(inverse)[variances] / (4.0 * np.diag(group.sigma)))
    unknown = np.full(d, np.nan)
    if np.linalg.eigvalsh(at.gamma)[0] > 0:
        return np.linalg.inv(at.gamma), unknown
    return np.full((m, m), np.nan), unknown
