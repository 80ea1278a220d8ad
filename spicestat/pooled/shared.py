"""What a population shares, as an estimate that the means of people's own weights move with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.pooled.fit import PooledFit
from spicestat.pooled.packed import Floats

__all__ = ["SharedWeights"]


@dataclass(frozen=True, eq=False)
class SharedWeights:
    r"""S weights that everybody shares, and what they say of the means of people's own L.

    What is estimated with shared weights s held at their estimates has errors that take them as known. If its mean
    moves by D s, with :math:`D = C_{os} V_s^{-1}` from the covariance of all means, its covariance lacks
    :math:`D V_s D^\top`, and :math:`D V_s` is that between it and s.

    Attributes
    ----------
    estimate : ndarray of shape (S,)
    covariance : ndarray of shape (S, S)
        Of the estimates, :math:`V_s`.
    with_own : ndarray of shape (L, S)
        :math:`D V_s = C_{os}`, the covariance between means of own weights and shared weights.
    """

    estimate: Floats
    covariance: Floats
    with_own: Floats

    @classmethod
    def of(cls, pooled: PooledFit, factors: Floats) -> SharedWeights:
        """Take the shared weights from a fit.

        Parameters
        ----------
        pooled : PooledFit
        factors : ndarray of shape (L + S,)
            By what weights are multiplied to be those of the unit of the data.

        Examples
        --------
        >>> from spicestat import simulate_cohort, spice_fit
        >>> cohort = simulate_cohort(12, 60, seed=1)
        >>> fit = spice_fit(cohort.trials, block="block", trial="trial")
        >>> shared = SharedWeights.of(fit.pooled, np.ones(len(fit.states)))
        >>> shared.with_own.shape == (fit.pooled.n_own, len(fit.states) - fit.pooled.n_own)
        True
        """
        n_own, covariance = pooled.n_own, pooled.mean_covariance * np.outer(factors, factors)
        estimate = pooled.mean[n_own:] * factors[n_own:]
        return cls(estimate, covariance[n_own:, n_own:], covariance[:n_own, n_own:])

    @property
    def of_own(self) -> Floats:
        r""":math:`D V_s D^\top`, (L, L): what the means of own weights have by what is not known of shared ones."""
        return np.asarray(self.with_own @ np.linalg.pinv(self.covariance, hermitian=True) @ self.with_own.T)
