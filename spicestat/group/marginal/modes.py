"""Posterior modes of participants' unconstrained coefficients under a normal prior, by batched Newton steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spicestat.group.inputs.likelihood import ChoiceLikelihood, HasSlopes
from spicestat.group.inputs.links import Link

__all__ = ["LocalLikelihood", "Modes", "posterior_modes", "to_natural", "unconstrained_derivatives"]

_SMALL = 1e-8
_SLOW = 0.1
"""Steps that promise more than this share of what the last did are slow."""


@dataclass(frozen=True)
class LocalLikelihood:
    """Log-likelihood (P,), gradient (P, d) and information (P, d, d) in unconstrained coefficients."""

    value: np.ndarray
    gradient: np.ndarray
    information: np.ndarray


@dataclass(frozen=True)
class Modes:
    """Posterior modes of P participants.

    Attributes
    ----------
    mode : ndarray of shape (P, d)
        On the unconstrained scale.
    covariance : ndarray of shape (P, d, d)
        Inverse of the posterior's information, of which negative directions are clipped.
    likelihood : LocalLikelihood
        The likelihood alone at the modes.
    converged : bool ndarray of shape (P,)
    """

    mode: np.ndarray
    covariance: np.ndarray
    likelihood: LocalLikelihood
    converged: np.ndarray


def to_natural(links: Sequence[Link], unconstrained: np.ndarray) -> np.ndarray:
    """Map unconstrained coefficients (..., d) to their natural scale."""
    return np.stack([link.to_natural(unconstrained[..., k]) for k, link in enumerate(links)], axis=-1)


def unconstrained_derivatives(
    likelihood: ChoiceLikelihood, links: Sequence[Link], unconstrained: np.ndarray
) -> LocalLikelihood:
    """Return derivatives with respect to unconstrained coefficients (P, d), by the chain rule."""
    value, gradient, information = likelihood.derivatives(to_natural(links, unconstrained))
    first = np.stack([link.derivative(unconstrained[:, k]) for k, link in enumerate(links)], axis=-1)
    second = np.stack([link.second_derivative(unconstrained[:, k]) for k, link in enumerate(links)], axis=-1)
    curved = first[:, :, None] * information * first[:, None, :]
    index = np.arange(unconstrained.shape[1])
    curved[:, index, index] -= gradient * second
    return LocalLikelihood(value, gradient * first, curved)


def _with_slopes(
    likelihood: HasSlopes, links: Sequence[Link], unconstrained: np.ndarray, information: np.ndarray
) -> LocalLikelihood:
    """Return first derivatives as `unconstrained_derivatives` does, with the information of some other place."""
    value, gradient = likelihood.slopes(to_natural(links, unconstrained))
    first = np.stack([link.derivative(unconstrained[:, k]) for k, link in enumerate(links)], axis=-1)
    return LocalLikelihood(value, gradient * first, information)


def posterior_modes(
    likelihood: ChoiceLikelihood,
    links: Sequence[Link],
    mean: np.ndarray,
    covariance: np.ndarray,
    start: np.ndarray | None = None,
    *,
    tolerance: float = 1e-6,
    max_iter: int = 50,
) -> Modes:
    r"""Maximise :math:`\ell_i(u) + \log N(u; \mu_i, \Sigma)` for every participant.

    Newton's method with Levenberg damping per participant; eigenvalues of the information are taken by size,
    so that every step goes uphill. Where slopes cost less than curvature, the curvature of an earlier point serves
    for as long as steps shrink fast, and is made anew at the end.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
    links : sequence of Link, length d
    mean : ndarray of shape (P, d)
        Prior means.
    covariance : ndarray of shape (d, d) or (P, d, d)
        Prior covariance.
    start : ndarray of shape (P, d), optional
        Default: the prior means.
    tolerance : float
        Gain of log posterior that the last step may still promise.
    max_iter : int
    """
    precision = np.linalg.inv(covariance)
    point = np.array(mean if start is None else start, dtype="float64")
    cheap = likelihood if isinstance(likelihood, HasSlopes) else None

    def posterior(where: np.ndarray, known: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, LocalLikelihood]:
        """Log posterior, its gradient, and the likelihood, whose information is known or made anew."""
        if cheap is None or known is None:
            local = unconstrained_derivatives(likelihood, links, where)
        else:
            local = _with_slopes(cheap, links, where, known)
        away = where - mean
        pull = np.matmul(away[:, None, :], precision)[:, 0]
        return local.value - 0.5 * np.sum(away * pull, axis=1), local.gradient - pull, local

    with np.errstate(all="ignore"):
        value, gradient, local = posterior(point, None)
        damping = np.full(len(point), 1e-3)
        done, stale = np.zeros((2, len(point)), dtype=bool)
        promised = np.full(len(point), np.inf)
        for _ in range(max_iter):
            step = _uphill(gradient, local.information + precision, damping)
            before, promised = promised, np.sum(gradient * step, axis=1)
            done |= promised < tolerance
            if done.all() and not stale.any():
                break
            if done.all():
                value, gradient, local = posterior(point, None)
                done, stale = np.zeros((2, len(point)), dtype=bool)
                continue
            anew = cheap is None or bool((promised > _SLOW * before)[~done].any())
            trial = np.where(done[:, None], point, point + step)
            trial_value, trial_gradient, trial_local = posterior(trial, None if anew else local.information)
            better = ~done & (trial_value >= value)
            point = np.where(better[:, None], trial, point)
            value = np.where(better, trial_value, value)
            gradient = np.where(better[:, None], trial_gradient, gradient)
            local = LocalLikelihood(
                np.where(better, trial_local.value, local.value),
                np.where(better[:, None], trial_local.gradient, local.gradient),
                np.where(better[:, None, None], trial_local.information, local.information),
            )
            stale = np.where(better, not anew, stale)
            damping = np.where(better, damping / 10.0, damping * 10.0).clip(1e-9, 1e9)
        if stale.any():
            local = posterior(point, None)[2]
    return Modes(point, _inverse_clipped(local.information, precision), local, done)


def _uphill(gradient: np.ndarray, information: np.ndarray, damping: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.nan_to_num(information))
    curvature = np.abs(values).clip(_SMALL) * (1.0 + damping[:, None])
    along = np.einsum("pki,pk->pi", vectors, np.nan_to_num(gradient))
    return np.asarray(np.einsum("pki,pi->pk", vectors, along / curvature))


def _inverse_clipped(information: np.ndarray, prior_precision: np.ndarray) -> np.ndarray:
    """Posterior covariance with the likelihood's information clipped to positive semi-definite."""
    values, vectors = np.linalg.eigh(np.nan_to_num(information))
    clipped = np.einsum("pki,pi,pli->pkl", vectors, values.clip(0.0), vectors)
    return np.asarray(np.linalg.inv(clipped + prior_precision))
