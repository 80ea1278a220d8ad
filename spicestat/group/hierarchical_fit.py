"""The one-stage hierarchical model in numbers: EM over adaptively placed nodes, and what is known about its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spicestat.group.em import climb
from spicestat.group.likelihood import ChoiceLikelihood
from spicestat.group.links import Link
from spicestat.group.marginal import Group, Information, Posterior, information, posterior
from spicestat.group.modes import Modes, posterior_modes
from spicestat.group.nodes import Nodes, Rule, make_nodes, quadratic_nodes, quadrature_rule

__all__ = ["HierarchicalFit", "Integration", "fit_hierarchical"]

Integration = Literal["quadrature", "laplace"]

_STEADY = 1e-2


@dataclass(frozen=True)
class HierarchicalFit:
    """A fitted group distribution of P participants' d unconstrained coefficients.

    Attributes
    ----------
    group : Group
        Fixed effects gamma (m,) and covariance Sigma (d, d).
    covariance : ndarray of shape (m, m)
        Of gamma.
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
        Nodes along each dimension; see `quadrature_rule`.
    tolerance : float, default .01
        See `HierarchicalFit.change`.
    max_rounds : int, default 40
    """
    d = Z.shape[1]
    rule = quadrature_rule(d, per_dimension)
    modes = posterior_modes(likelihood, links, np.tile(center, (len(Z), 1)), np.diag(scale**2))
    group = _starting_group(modes, Z, scale)
    place = _Placement(
        likelihood,
        links,
        Z,
        rule,
        integration,
        posterior_modes(likelihood, links, Z @ group.gamma, group.sigma, start=modes.mode),
    )
    change, steady = np.inf, 0
    for rounds in range(1, max_rounds + 1):
        nodes = place.nodes(group)
        found = climb(nodes, Z, group, reml=reml, avoid_boundary=avoid_boundary)
        at = information(nodes, Z, found.group, found.posterior)
        change = _change(group, found.group, at)
        group = found.group
        place.follow(found.posterior)
        steady = steady + 1 if change < tolerance and found.converged else 0
        if steady:
            break
    return HierarchicalFit(
        group, _gamma_covariance(at, Z.shape[2]), found.posterior, nodes, at, rounds, change, bool(steady)
    )


class _Placement:
    """Where the next nodes go."""

    def __init__(
        self,
        likelihood: ChoiceLikelihood,
        links: Sequence[Link],
        Z: np.ndarray,
        rule: Rule,
        integration: Integration,
        modes: Modes,
    ) -> None:
        self.likelihood, self.links, self.Z, self.rule = likelihood, links, Z, rule
        self.laplace = integration == "laplace"
        self.modes = modes
        self.mean, self.covariance = modes.mode, modes.covariance

    def nodes(self, group: Group) -> Nodes:
        """Evaluate new nodes for a group."""
        if not self.laplace:
            return make_nodes(self.likelihood, self.links, self.mean, self.covariance, self.rule)
        self.modes = posterior_modes(
            self.likelihood, self.links, self.Z @ group.gamma, group.sigma, start=self.modes.mode
        )
        return quadratic_nodes(self.modes, self.rule)

    def follow(self, at: Posterior) -> None:
        """Move to the posteriors' moments."""
        self.mean, self.covariance = at.mean, at.covariance


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


def _gamma_covariance(at: Information, m: int) -> np.ndarray:
    """Covariance of the fixed effects from the joint information, or given Sigma where Sigma is singular."""
    size = np.sqrt(np.abs(np.diag(at.joint)).clip(1e-300))
    scaled = at.joint / np.outer(size, size)
    if np.isfinite(scaled).all() and np.linalg.eigvalsh(scaled)[0] > 1e-6:
        return np.asarray((np.linalg.inv(scaled) / np.outer(size, size))[:m, :m])
    return np.asarray(np.linalg.inv(at.gamma))
