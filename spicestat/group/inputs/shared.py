"""Errors of effects on coefficients beside which other weights are held at what the population shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import block_diag

from spicestat.group.inputs.likelihood import ChoiceLikelihood, HasShared
from spicestat.group.inputs.links import Link

__all__ = ["covariance_from_shared", "draws_from_shared", "step_of_all"]


def step_of_all(X: np.ndarray) -> np.ndarray:
    """Return the effects (p,) of columns X (n, p) that change everybody by 1, or as nearly so as columns can.

    Examples
    --------
    >>> step_of_all(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])).round(9).tolist()
    [1.0, 0.0]
    >>> step_of_all(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).round(9).tolist()
    [1.0, 1.0]
    """
    return np.asarray(np.linalg.lstsq(X, np.ones(len(X)), rcond=None)[0])


def covariance_from_shared(
    likelihood: ChoiceLikelihood, links: Sequence[Link], designs: Sequence[np.ndarray], mean: np.ndarray
) -> np.ndarray:
    r"""Return what effects (m,) have in their covariance by what is not known of shared weights, (m, m).

    If these were others by s, everybody's coefficients would be by D s, which changes intercepts, and no contrast:
    :math:`W D V_s D^\top W^\top`, see `SharedWeights`. Zero where nothing is shared.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of n people's K coefficients.
    links : sequence of K Link
    designs : sequence of K ndarray of shape (n, p_k)
    mean : ndarray of shape (K,)
        Means of the coefficients on the scale of their links, where these are differentiated.
    """
    steps = block_diag(*(step_of_all(X)[:, None] for X in designs))
    return np.asarray(steps @ _of_coefficients(likelihood, links, mean) @ steps.T)


def draws_from_shared(
    likelihood: ChoiceLikelihood, links: Sequence[Link], mean: np.ndarray, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw by how much shared weights, as far as they are not known, move everybody's coefficients, (n_draws, K)."""
    covariance = _of_coefficients(likelihood, links, mean)
    return rng.multivariate_normal(np.zeros(len(mean)), covariance, n_draws, method="eigh")


def _of_coefficients(likelihood: ChoiceLikelihood, links: Sequence[Link], mean: np.ndarray) -> np.ndarray:
    if not isinstance(likelihood, HasShared):
        return np.zeros((len(mean), len(mean)))
    slope = np.array([float(link.derivative(np.asarray(at))) for link, at in zip(links, mean, strict=True)])
    return likelihood.shared.of_own / np.outer(slope, slope)
