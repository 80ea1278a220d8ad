"""Drifting reward probabilities, vectorised over sequences."""

from __future__ import annotations

import numpy as np

from spicestat.errors import ConfigError

__all__ = ["drifting_probabilities"]


def drifting_probabilities(
    rng: np.random.Generator, n_sequences: int, n_trials: int, n_actions: int, sigma: float = 0.2
) -> np.ndarray:
    """Reward probabilities that follow a Gaussian random walk, reflected at 0 and 1.

    ``p[0] ~ Uniform(0, 1)``, ``p[t+1] = reflect(p[t] + sigma * e)`` (Daw et al. 2006,
    doi:10.1038/nature04766, with reflection).

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    n_sequences, n_trials, n_actions : int
        Sizes S, T and A.
    sigma : float
        Standard deviation of a step, 0 or more.

    Returns
    -------
    ndarray of shape (S, T, A), values in [0, 1]

    Examples
    --------
    >>> drifting_probabilities(np.random.default_rng(1), 2, 50, 3).shape
    (2, 50, 3)
    """
    if sigma < 0:
        raise ConfigError("sigma must be 0 or more", got=sigma)
    steps = rng.normal(0.0, sigma, size=(n_sequences, n_trials, n_actions))
    steps[:, 0] = rng.uniform(0.0, 1.0, size=(n_sequences, n_actions))
    shifted = np.cumsum(steps, axis=1) + 1.0
    # a free walk folded into [0, 1] is the reflected walk; x - 2 floor(x / 2) is x % 2, bit for bit, but fast
    folded: np.ndarray = np.abs(shifted - 2.0 * np.floor(shifted / 2.0) - 1.0)
    return folded
