"""Posterior modes of participants' unconstrained coefficients under a normal prior, by batched Newton steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link

__all__ = ["LocalLikelihood", "Modes", "posterior_modes", "to_natural", "unconstrained_derivatives"]

_SMALL = 1e-8


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
    so that every step goes uphill.

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

    def posterior(where: np.ndarray) -> tuple[np.ndarray, LocalLikelihood, np.ndarray, np.ndarray]:
        local = unconstrained_derivatives(likelihood, links, where)
        away = where - mean
        pull = np.matmul(away[:, None, :], precision)[:, 0]
        value = local.value - 0.5 * np.sum(away * pull, axis=1)
        return value, local, local.gradient - pull, local.information + precision

    with np.errstate(all="ignore"):
        value, local, gradient, information = posterior(point)
        damping = np.full(len(point), 1e-3)
        done = np.zeros(len(point), dtype=bool)
        for _ in range(max_iter):
            step = _uphill(gradient, information, damping)
            done |= np.sum(gradient * step, axis=1) < tolerance
            if done.all():
                break
            trial_value, trial_local, trial_gradient, trial_information = posterior(
                np.where(done[:, None], point, point + step)
            )
            better = ~done & (trial_value >= value)
            point = np.where(better[:, None], point + step, point)
            value = np.where(better, trial_value, value)
            gradient = np.where(better[:, None], trial_gradient, gradient)
            information = np.where(better[:, None, None], trial_information, information)
            local = LocalLikelihood(
                np.where(better, trial_local.value, local.value),
                np.where(better[:, None], trial_local.gradient, local.gradient),
                np.where(better[:, None, None], trial_local.information, local.information),
            )
            damping = np.where(better, damping / 10.0, damping * 10.0).clip(1e-9, 1e9)
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
