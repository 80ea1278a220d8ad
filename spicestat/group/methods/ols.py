"""Ordinary least squares with HC3 standard errors: the naive baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from statsmodels.regression.linear_model import OLS

from spicestat.errors import DataError, ShapeError
from spicestat.group.inputs.contract import Equation, EquationFit, GroupEstimates, GroupInputs, collect_equations
from spicestat.group.methods.registry import Method

__all__ = ["LeastSquares", "estimate", "least_squares_hc3", "METHOD"]

_NAIVE = (
    "ols is the naive baseline: it treats each participant's estimate as if it were exact and equally precise. "
    'Report method="meta", or a hierarchical model, for inference.'
)


@dataclass(frozen=True)
class LeastSquares:
    """Least-squares fit with heteroscedasticity-consistent covariance.

    Attributes
    ----------
    beta : ndarray of shape (p,)
    covariance : ndarray of shape (p, p)
        HC3 covariance of ``beta``.
    df : int
        n - p.
    sigma : float
        Residual standard deviation.
    log_likelihood, aic, bic : float
        Of the normal model, as R's ``logLik``, ``AIC`` and ``BIC`` of an ``lm``.
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: int
    sigma: float
    log_likelihood: float
    aic: float
    bic: float


def least_squares_hc3(y: np.ndarray, X: np.ndarray) -> LeastSquares:
    r"""Fit :math:`y = X\beta + e` with the HC3 covariance.

    .. math:: (X'X)^{-1} X' \mathrm{diag}\left(\frac{e_i^2}{(1 - h_i)^2}\right) X (X'X)^{-1}

    Parameters
    ----------
    y : ndarray of shape (n,)
    X : ndarray of shape (n, p)
        Rank p < n.

    Raises
    ------
    DataError
        A participant alone determines a coefficient (leverage 1), so that HC3 does not exist.

    References
    ----------
    Long & Ervin (2000), https://doi.org/10.1080/00031305.2000.10474549.

    Examples
    --------
    >>> fit = least_squares_hc3(np.array([1.0, 2.0, 4.0]), np.ones((3, 1)))
    >>> round(float(fit.beta[0]), 4), fit.df
    (2.3333, 2)
    """
    y, X = np.asarray(y, dtype="float64"), np.asarray(X, dtype="float64")
    if X.ndim != 2 or y.shape != (len(X),) or len(X) <= X.shape[1]:
        raise ShapeError("y and X do not match", got=(y.shape, X.shape), allowed="(n,), (n, p) with n > p")
    n, p = X.shape
    leverage = np.sum(np.linalg.qr(X)[0] ** 2, axis=1)
    if (leverage > 1.0 - 1e-10).any():
        raise DataError(
            "a participant alone determines a coefficient, so HC3 standard errors do not exist",
            got=f"leverage 1 in rows {np.flatnonzero(leverage > 1.0 - 1e-10)[:5].tolist()}",
            do="merge small groups or leave the covariate out",
        )
    fitted = OLS(y, X).fit(cov_type="HC3", use_t=True)
    rss, log_likelihood = float(fitted.ssr), float(fitted.llf) if fitted.ssr > 0 else np.inf
    return LeastSquares(
        beta=np.asarray(fitted.params),
        covariance=np.asarray(fitted.cov_params()),
        df=n - p,
        sigma=float(np.sqrt(rss / (n - p))),
        log_likelihood=log_likelihood,
        aic=float(-2.0 * log_likelihood + 2.0 * (p + 1)),
        bic=float(-2.0 * log_likelihood + np.log(n) * (p + 1)),
    )


def estimate(inputs: GroupInputs, settings: None = None) -> GroupEstimates:
    """Fit least squares with HC3 to each equation of a group model."""
    return collect_equations(inputs, _estimate_equation, (_NAIVE,))


def _estimate_equation(equation: Equation, X: np.ndarray) -> EquationFit:
    fit = least_squares_hc3(equation.estimate, X)
    glance: dict[str, object] = {
        "log_lik": fit.log_likelihood,
        "aic": fit.aic,
        "bic": fit.bic,
        "converged": True,
    }
    return EquationFit(fit.beta, fit.covariance, (("Residual", "sd__Observation", fit.sigma),), glance)


METHOD = Method(
    estimate,
    "ols (naive)",
    "least squares with HC3 standard errors, the naive baseline",
    needs_std_error=False,
)
