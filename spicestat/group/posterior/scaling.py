"""Common scale of a Bayesian group model: data in units of their own spread, where the priors are stated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.errors import NumericalError

__all__ = ["Scaling", "make_scaling"]


@dataclass(frozen=True)
class Scaling:
    r"""How d equation terms and p covariates are standardised.

    On the standard scale :math:`y' = (y - m) / s` and :math:`X' = XA`, so that
    :math:`\gamma = A\,\gamma' \mathrm{diag}(s) + a_1 m'`, where :math:`a_1` is the constant's column of A.

    Attributes
    ----------
    centre : ndarray of shape (d,)
        m, zero where the formula has no intercept.
    spread : ndarray of shape (d,)
        s.
    location : ndarray of shape (d,)
        Scale of the fixed effects' prior in units of ``spread``: 1, or without an intercept the root mean square.
    design : ndarray of shape (p, p)
        A.
    constant : ndarray of shape (p,)
        Its column of the constant, zeros if there is none.
    """

    centre: np.ndarray
    spread: np.ndarray
    location: np.ndarray
    design: np.ndarray
    constant: np.ndarray

    def fixed_effects(self, standard: np.ndarray) -> np.ndarray:
        """Return fixed effects (..., p, d) in the data's units from those on the standard scale."""
        return np.asarray(self.design @ (standard * self.spread) + self.constant[:, None] * self.centre)


def make_scaling(X: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> Scaling:
    """Standardise a design matrix and equation terms.

    Parameters
    ----------
    X : ndarray of shape (N, p)
    centre, spread : ndarray of shape (d,)
        Of the terms over participants; ``spread`` positive.

    Raises
    ------
    NumericalError
        A spread is zero or not finite.

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), [10.0, 20.0, 30.0, 40.0]])
    >>> scaling = make_scaling(X, np.array([3.0]), np.array([0.5]))
    >>> (X @ scaling.design).round(2).tolist()
    [[1.0, -1.34], [1.0, -0.45], [1.0, 0.45], [1.0, 1.34]]
    >>> scaling.fixed_effects(np.zeros((2, 1))).tolist()
    [[3.0], [0.0]]
    """
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        raise NumericalError("an equation term has no spread over participants, so priors have no scale")
    p = X.shape[1]
    constants = np.flatnonzero(np.ptp(X, axis=0) == 0)
    if not len(constants):
        design = np.diag(1.0 / np.sqrt(np.mean(X**2, axis=0)))
        return Scaling(np.zeros_like(centre), spread, np.hypot(centre, spread) / spread, design, np.zeros(p))
    first = int(constants[0])
    level = X[0, first]
    width = X.std(axis=0)
    width[first] = 1.0
    design = np.diag(1.0 / width)
    design[first] = -X.mean(axis=0) / (level * width)
    design[first, first] = 1.0 / level
    return Scaling(centre, spread, np.ones_like(spread), design, design[:, first])
