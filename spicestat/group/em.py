"""EM for a normal group distribution: fixed effects and covariance between participants, by REML or ML."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.group.marginal import Group, Posterior, gamma_information, posterior
from spicestat.group.nodes import Nodes

__all__ = ["Climb", "climb"]

_FLOOR = 1e-3
_SHRINK, _GROW = 0.5, 2.5


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


@dataclass(frozen=True)
class _Rule:
    """How Sigma follows from moments."""

    reml: bool
    avoid_boundary: bool


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
    d, m = Z.shape[1:]
    rule = _Rule(reml, avoid_boundary)
    point = _pack(start)
    at = posterior(nodes, Z, start)
    change, steps = np.inf, 0
    whiten = np.linalg.inv(np.linalg.cholesky(start.sigma))
    while steps < max_iter:
        if not _trusted(whiten, _unpack(point, d, m).sigma):
            return Climb(_unpack(point, d, m), at, change, False)
        first, at1 = _step(nodes, Z, point, at, rule)
        change = _change(point, first, at, Z, d, m)
        steps += 1
        if change < tolerance:
            return Climb(_unpack(first, d, m), at1, change, True)
        second, at2 = _step(nodes, Z, first, at1, rule)
        steps += 1
        point, at = _extrapolated(nodes, Z, point, first, second, at2, d, m, whiten)
    return Climb(_unpack(point, d, m), at, change, False)


def _step(nodes: Nodes, Z: np.ndarray, point: np.ndarray, at: Posterior, rule: _Rule) -> tuple[np.ndarray, Posterior]:
    """One EM step, and the posterior at its end."""
    d, m = Z.shape[1:]
    group = _unpack(point, d, m)
    precision = np.linalg.inv(group.sigma)
    residual = at.mean - Z @ group.gamma
    score = np.einsum("pkm,kl,pl->m", Z, precision, residual, optimize=True)
    observed = gamma_information(Z, precision, at.covariance)
    complete = np.einsum("pkm,kl,pln->mn", Z, precision, Z, optimize=True)
    inverse = _safe_inverse(observed, complete)
    gamma = group.gamma + inverse @ score
    residual = at.mean + (at.covariance @ precision @ (Z @ (gamma - group.gamma))[:, :, None])[:, :, 0] - Z @ gamma
    sigma = np.einsum("pk,pl->kl", residual, residual) + at.covariance.sum(axis=0)
    if rule.reml:
        shrunk = at.covariance @ precision @ Z - Z
        sigma = sigma + np.einsum("pkm,mn,pln->kl", shrunk, inverse, shrunk, optimize=True)
    new = _pack(Group(gamma, _floored(sigma / (len(Z) - rule.avoid_boundary))))
    return new, posterior(nodes, Z, _unpack(new, d, m))


def _trusted(whiten: np.ndarray, sigma: np.ndarray) -> bool:
    """Whether nodes that were placed for one Sigma still resolve another."""
    ratios = np.linalg.eigvalsh(whiten @ sigma @ whiten.T)
    return bool(ratios[0] > _SHRINK and ratios[-1] < _GROW)


def _safe_inverse(observed: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """Inverse of Louis' information, or of the complete-data one where quadrature error makes it indefinite."""
    values = np.linalg.eigvalsh(observed)
    usable = values[0] > 1e-8 * values[-1]
    return np.asarray(np.linalg.inv(observed if usable else complete))


def _floored(sigma: np.ndarray) -> np.ndarray:
    """Keep the correlation matrix's eigenvalues off 0, where quadrature errors would be blown up."""
    scale = np.sqrt(np.diag(sigma).clip(1e-16))
    values, vectors = np.linalg.eigh(sigma / np.outer(scale, scale))
    return np.asarray((vectors * values.clip(_FLOOR)) @ vectors.T * np.outer(scale, scale))


def _extrapolated(
    nodes: Nodes,
    Z: np.ndarray,
    point: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    at2: Posterior,
    d: int,
    m: int,
    whiten: np.ndarray,
) -> tuple[np.ndarray, Posterior]:
    """Take the SQUAREM step if the likelihood does not fall by it, else the second EM step."""
    r, v = first - point, second - 2.0 * first + point
    if not np.any(v):
        return second, at2
    length = -np.linalg.norm(r) / np.linalg.norm(v)
    if length > -1.0:
        return second, at2
    candidate = point - 2.0 * length * r + length**2 * v
    try:
        at = posterior(nodes, Z, _unpack(candidate, d, m))
    except np.linalg.LinAlgError:
        return second, at2
    if not _trusted(whiten, _unpack(candidate, d, m).sigma):
        return second, at2
    if np.isfinite(at.log_likelihood).all() and at.log_likelihood.sum() >= at2.log_likelihood.sum() - 1.0:
        return candidate, at
    return second, at2


def _change(old: np.ndarray, new: np.ndarray, at: Posterior, Z: np.ndarray, d: int, m: int) -> float:
    precision = np.linalg.inv(_unpack(old, d, m).sigma)
    errors = np.sqrt(np.diag(np.linalg.inv(np.einsum("pkm,kl,pln->mn", Z, precision, Z, optimize=True))))
    return float(max(np.max(np.abs(new[:m] - old[:m]) / errors), np.max(np.abs(new[m:] - old[m:]))))


def _pack(group: Group) -> np.ndarray:
    """Write gamma and Sigma as one vector: Cholesky factor with log diagonal, its rows in units of the diagonal."""
    root = np.linalg.cholesky(group.sigma)
    diagonal = np.diag(root)
    scale = np.sqrt(np.diag(group.sigma))
    unit = root / scale[:, None]
    rows, columns = np.tril_indices(len(root), -1)
    return np.concatenate([group.gamma, np.log(diagonal), (unit / np.diag(unit)[:, None])[rows, columns]])


def _unpack(point: np.ndarray, d: int, m: int) -> Group:
    root = np.eye(d)
    rows, columns = np.tril_indices(d, -1)
    root[rows, columns] = point[m + d :]
    root *= np.exp(point[m : m + d])[:, None]
    return Group(point[:m], root @ root.T)
