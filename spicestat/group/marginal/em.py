"""EM for a normal group distribution: fixed effects and covariance between participants, by REML or ML."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.group.marginal.marginal import Group, Posterior, gamma_information, posterior
from spicestat.group.marginal.quadrature import Nodes

__all__ = ["Climb", "climb"]

_FLOOR = 1e-3
_SHRINK, _GROW = 0.5, 2.5
# an extrapolation that goes farther, in log standard deviations, or loses more log-likelihood is not taken
_FAR, _LOSS = 3.0, 1.0


@dataclass(frozen=True)
class Climb:
    """Where EM ended on given nodes.

    Attributes
    ----------
    group : Group
    posterior : Posterior
        At ``group``.
    change : float
        Size of the last step: fixed effects in standard errors, Sigma's Cholesky factor in units of its diagonal.
    converged : bool
    """

    group: Group
    posterior: Posterior
    change: float
    converged: bool


def climb(
    nodes: Nodes,
    Z: np.ndarray,
    start: Group,
    *,
    reml: bool = True,
    avoid_boundary: bool = True,
    tolerance: float = 1e-4,
    max_iter: int = 300,
) -> Climb:
    r"""Maximise the (restricted) marginal likelihood on given nodes by accelerated EM.

    E-step: posterior means :math:`m_i` and covariances :math:`V_i` from the nodes. M-step for the fixed effects: a
    Newton step with Louis' information :math:`I_\gamma`. M-step for Sigma:

    .. math:: \Sigma = \frac1P \sum_i \left(r_i r_i' + V_i + B_i I_\gamma^{-1} B_i'\right),\quad
        r_i = m_i - Z_i\gamma,\quad B_i = (V_i\Sigma^{-1} - I) Z_i

    whose last term makes it REML: it is what the posterior of :math:`u_i - Z_i\gamma` gains when gamma has a flat
    prior; for ML it is left out. With ``avoid_boundary`` the prior density :math:`|\Sigma|^{1/2}` is added, which
    turns the first factor into :math:`1 / (P - 1)`: it is weaker than a single participant, and keeps Sigma from
    becoming singular, where standard errors would be too small. Steps are extrapolated (SQUAREM).

    Parameters
    ----------
    nodes : Nodes
    Z : ndarray of shape (P, d, m)
    start : Group
    reml : bool, default True
    avoid_boundary : bool, default True
    tolerance : float, default 1e-4
        Largest change of a parameter in an EM step, in the units of `Climb.change`.
    max_iter : int, default 300
        EM steps.

    References
    ----------
    Dempster, Laird & Rubin (1977), https://doi.org/10.1111/j.2517-6161.1977.tb01600.x;
    Varadhan & Roland (2008), https://doi.org/10.1111/j.1467-9469.2007.00585.x;
    Chung et al. (2015), https://doi.org/10.3102/1076998615570945.
    """
    em = _Em(nodes, Z, start, reml, avoid_boundary)
    point, at = em.pack(start), posterior(nodes, Z, start)
    change = np.inf
    for _ in range(0, max_iter, 2):
        if not em.resolves(em.unpack(point)):
            break
        first, at1 = em.step(point, at)
        change = em.change(point, first)
        if change < tolerance:
            return Climb(em.unpack(first), at1, change, True)
        second, at2 = em.step(first, at1)
        point, at = em.extrapolated(point, first, second, at2)
    return Climb(em.unpack(point), at, change, False)


class _Em:
    """EM steps on given nodes; a point is gamma and Sigma as one vector."""

    def __init__(self, nodes: Nodes, Z: np.ndarray, start: Group, reml: bool, avoid_boundary: bool) -> None:
        self.nodes, self.Z, self.reml = nodes, Z, reml
        self.d, self.m = Z.shape[1:]
        self.divisor = len(Z) - avoid_boundary
        self.whiten = np.linalg.inv(np.linalg.cholesky(start.sigma))

    def step(self, point: np.ndarray, at: Posterior) -> tuple[np.ndarray, Posterior]:
        """Return the point after one EM step, and the posterior there."""
        group, Z = self.unpack(point), self.Z
        precision = np.linalg.inv(group.sigma)
        score = np.einsum("pkm,kl,pl->m", Z, precision, at.mean - Z @ group.gamma, optimize=True)
        inverse = _safe_inverse(gamma_information(Z, precision, at.covariance), self._complete(precision))
        gamma = group.gamma + inverse @ score
        # posterior means move with gamma
        followed = at.covariance @ precision @ (Z @ (gamma - group.gamma))[:, :, None]
        residual = at.mean + followed[:, :, 0] - Z @ gamma
        sigma = np.einsum("pk,pl->kl", residual, residual) + at.covariance.sum(axis=0)
        if self.reml:
            shrunk = at.covariance @ precision @ Z - Z
            sigma = sigma + np.einsum("pkm,mn,pln->kl", shrunk, inverse, shrunk, optimize=True)
        new = self.pack(Group(gamma, _floored(sigma / self.divisor)))
        return new, posterior(self.nodes, Z, self.unpack(new))

    def resolves(self, group: Group) -> bool:
        """Whether nodes that were placed for one Sigma still resolve another."""
        ratios = np.linalg.eigvalsh(self.whiten @ group.sigma @ self.whiten.T)
        return bool(ratios[0] > _SHRINK and ratios[-1] < _GROW)

    def extrapolated(
        self, point: np.ndarray, first: np.ndarray, second: np.ndarray, at2: Posterior
    ) -> tuple[np.ndarray, Posterior]:
        """Take the SQUAREM step, or the second EM step where that leaves the nodes or loses likelihood."""
        r, v = first - point, second - 2.0 * first + point
        length = -np.linalg.norm(r) / np.linalg.norm(v) if np.any(v) else 0.0
        if length > -1.0:
            return second, at2
        candidate = point - 2.0 * length * r + length**2 * v
        if np.abs(candidate[self.m :] - second[self.m :]).max() > _FAR or not self.resolves(self.unpack(candidate)):
            return second, at2
        at = posterior(self.nodes, self.Z, self.unpack(candidate))
        kept = at.log_likelihood.sum() >= at2.log_likelihood.sum() - _LOSS
        return (candidate, at) if kept else (second, at2)

    def change(self, old: np.ndarray, new: np.ndarray) -> float:
        """Size of a step, in the units of `Climb.change`."""
        complete = self._complete(np.linalg.inv(self.unpack(old).sigma))
        errors = np.sqrt(np.diag(np.linalg.inv(complete)))
        moved = np.abs(new - old)
        return float(max(np.max(moved[: self.m] / errors), np.max(moved[self.m :])))

    def _complete(self, precision: np.ndarray) -> np.ndarray:
        """Information of gamma if the coefficients were known."""
        return np.asarray(np.einsum("pkm,kl,pln->mn", self.Z, precision, self.Z, optimize=True))

    def pack(self, group: Group) -> np.ndarray:
        """Write gamma and Sigma as one vector: log diagonal of the Cholesky factor, and its rows in units of it."""
        root = np.linalg.cholesky(group.sigma)
        diagonal = np.diag(root)
        below = np.tril_indices(self.d, -1)
        return np.concatenate([group.gamma, np.log(diagonal), (root / diagonal[:, None])[below]])

    def unpack(self, point: np.ndarray) -> Group:
        """Undo `pack`."""
        root = np.eye(self.d)
        root[np.tril_indices(self.d, -1)] = point[self.m + self.d :]
        root *= np.exp(point[self.m : self.m + self.d])[:, None]
        return Group(point[: self.m], root @ root.T)


def _safe_inverse(observed: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """Invert Louis' information, or the complete-data one where quadrature error makes it indefinite."""
    half = np.linalg.inv(np.linalg.cholesky(complete))
    # the share of information that the choices give, which no unit changes
    usable = np.linalg.eigvalsh(half @ observed @ half.T)[0] > 1e-8
    return np.asarray(np.linalg.inv(observed if usable else complete))


def _floored(sigma: np.ndarray) -> np.ndarray:
    """Keep the correlation matrix's eigenvalues off 0, where quadrature errors would be blown up."""
    scale = np.sqrt(np.diag(sigma).clip(1e-16))
    values, vectors = np.linalg.eigh(sigma / np.outer(scale, scale))
    return np.asarray((vectors * values.clip(_FLOOR)) @ vectors.T * np.outer(scale, scale))
