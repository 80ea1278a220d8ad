"""Covariances of random effects as coordinates about some origin, and the climb to the likeliest ones, given sites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from spicestat.group.marginal.linear_model import LinearModel, Point, Sites

__all__ = ["Coordinates", "climb"]

_LOST = 1e12
_NEAR, _FAR, _LITTLE = 0.3, 3.0, 1e-2
"""How far, relative to where they are, roots go in a climb, and the precision of a site, in units of the wide prior's,
below which they go less far."""


class Coordinates:
    r"""Roots :math:`L = L_0 (I + u X)` with X = 0 at an origin and of size 1 where errors are.

    Parameters
    ----------
    model : LinearModel
    origin : sequence of ndarray
        Lower triangular roots of the covariances of the parts, and of the rows' own rest.
    penalised : bool
        Whether covariances have the prior :math:`|G|^{1/2}`.
    """

    def __init__(self, model: LinearModel, origin: Sequence[np.ndarray], penalised: bool) -> None:
        self.model, self.origin, self.penalised = model, list(origin), penalised
        self.units = [1.0 / np.sqrt(levels) for levels in model.levels]
        self.size = sum(int(free.sum()) for free in model.free)

    @property
    def diagonal(self) -> np.ndarray:
        """Which coordinates are on the diagonal of a root."""
        return np.concatenate([np.eye(len(free), dtype=bool)[free] for free in self.model.free])

    def roots(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the roots at some coordinates."""
        found, start = [], 0
        for origin, free, unit in zip(self.origin, self.model.free, self.units, strict=True):
            factor = np.eye(len(free))
            count = int(free.sum())
            factor[free] += unit * x[start : start + count]
            found.append(origin @ factor)
            start += count
        return found

    def height(self, point: Point, roots: Sequence[np.ndarray]) -> float:
        """Log-likelihood and log prior."""
        return point.log_evidence + self.log_prior(roots)

    def log_prior(self, roots: Sequence[np.ndarray]) -> float:
        """Log prior density."""
        if not self.penalised:
            return 0.0
        diagonals = np.concatenate([np.abs(np.diag(root)) for root in roots])
        return float(np.sum(np.log(diagonals.clip(1e-100))))

    def slope(self, point: Point, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return the derivative of `height`."""
        found = []
        for origin, root, free, unit, slope in zip(
            self.origin, roots, self.model.free, self.units, point.slopes, strict=True
        ):
            if self.penalised:
                diagonal = np.diag(root)
                slope = slope + np.diag(np.where(np.abs(diagonal) < 1e-100, 1e100, 1.0 / (diagonal + (diagonal == 0))))
            found.append(unit * (origin.T @ slope)[free])
        return np.concatenate(found)


def climb(
    model: LinearModel, sites: Sites, origin: Sequence[np.ndarray], penalised: bool, tolerance: float, steps: int = 50
) -> list[np.ndarray]:
    """Maximise the (restricted) likelihood, given the sites.

    Parameters
    ----------
    model : LinearModel
    sites : Sites
    origin : sequence of ndarray
        Roots to start from.
    penalised : bool
        See `Coordinates`.
    tolerance : float
        Slope, per standard error, at which the climb ends.
    steps : int, default 50
    """
    at = Coordinates(model, origin, penalised)

    def fall(x: np.ndarray) -> tuple[float, np.ndarray]:
        roots = at.roots(x)
        try:
            point = model.at(roots, sites)
        except np.linalg.LinAlgError:
            return _LOST, np.zeros_like(x)
        return -at.height(point, roots), -at.slope(point, roots)

    if not at.size:
        return list(origin)
    # sites with little precision, or less than none, hold near the cavities for which they were found: elsewhere what
    # they pull at may have no end
    reach = _NEAR if np.linalg.eigvalsh(sites.precision).min() < _LITTLE else _FAR
    widths = np.repeat(reach / np.array(at.units), [int(free.sum()) for free in model.free])
    bounds = list(zip(-widths, widths, strict=True))
    options = {"maxiter": steps, "ftol": 1e-14, "gtol": tolerance, "maxcor": 20}
    start = np.zeros(at.size)
    return at.roots(minimize(fall, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)
