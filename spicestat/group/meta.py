"""Random-effects meta-regression with known sampling variances (REML, Knapp-Hartung)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import fdtrc
from scipy.stats import chi2

from spicestat.errors import DataError, NumericalError, ShapeError
from spicestat.group.problem import Equation, EquationFit, GroupEstimates, GroupProblem, collect_equations

__all__ = ["MetaRegression", "estimate", "meta_regression", "reml_log_likelihood"]


@dataclass(frozen=True)
class MetaRegression:
    """Random-effects meta-regression of n estimates on p covariates.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Regression coefficients.
    covariance : ndarray of shape (p, p)
        Knapp-Hartung covariance of ``beta``.
    df : int
        Degrees of freedom n - p of the t tests.
    tau2, se_tau2 : float
        Variance between participants left after the covariates, and its standard error.
    i2 : float
        Share of the variance that is between participants, in percent as in metafor.
    h2 : float
        Total over sampling variance.
    qe, p_qe : float
        Cochran's test of residual heterogeneity, chi-squared with n - p df.
    qm, p_qm : float
        F test of all coefficients but the intercept (of the intercept, where it is alone).
    df_qm : int
        Numerator degrees of freedom of ``qm``.
    log_likelihood, aic, bic, aicc : float
        Restricted log likelihood and information criteria, as in metafor.
    n : int
        Number of estimates.
    converged : bool
        Whether all numbers are finite (the search itself always ends).
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: int
    tau2: float
    se_tau2: float
    i2: float
    h2: float
    qe: float
    p_qe: float
    qm: float
    p_qm: float
    df_qm: int
    log_likelihood: float
    aic: float
    bic: float
    aicc: float
    n: int
    converged: bool


@dataclass(frozen=True)
class _Weighted:
    """Weighted least squares at one tau2, and the terms of the REML score."""

    beta: np.ndarray
    unscaled: np.ndarray
    rss: float
    trace_p: float
    trace_pp: float
    score: float
    log_likelihood: float


def meta_regression(y: np.ndarray, v: np.ndarray, X: np.ndarray) -> MetaRegression:
    r"""Fit :math:`y_i = x_i'\beta + u_i + e_i`, :math:`u_i \sim N(0, \tau^2)`, :math:`e_i \sim N(0, v_i)`.

    :math:`\tau^2` maximises the restricted likelihood. Its score
    :math:`\frac12 (y'PPy - \mathrm{tr} P)`, with
    :math:`P = W - WX(X'WX)^{-1}X'W` and :math:`W = \mathrm{diag}(1/(v_i + \tau^2))`, is scanned from 0
    to a bound above which it is negative for certain, and solved by Brent's method around the best
    point. Unlike Fisher scoring (metafor's way to the same maximum) this always ends, and in the
    global maximum if there are several. Coefficients are tested with the Knapp-Hartung covariance
    :math:`\frac{y'Py}{n - p} (X'WX)^{-1}` and :math:`t(n - p)`; the factor may be below 1, as in metafor.

    Equal to ``metafor::rma(y, v, mods = ~ ..., method = "REML", test = "knha")``.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Estimates, one per participant.
    v : ndarray of shape (n,)
        Their sampling variances, positive.
    X : ndarray of shape (n, p)
        Design matrix of rank p < n.

    Raises
    ------
    ShapeError, DataError
        The arrays do not match, are not finite, or have n <= p; a variance is not positive.
    NumericalError
        The variances differ so much that the weighted design is singular.

    References
    ----------
    Viechtbauer (2010), https://doi.org/10.18637/jss.v036.i03;
    Knapp & Hartung (2003), https://doi.org/10.1002/sim.1482.

    Examples
    --------
    >>> y, v = np.array([0.2, 0.5, 0.4, 0.9]), np.array([0.01, 0.02, 0.01, 0.03])
    >>> fit = meta_regression(y, v, np.ones((4, 1)))
    >>> round(float(fit.beta[0]), 4), round(fit.tau2, 4)
    (0.4757, 0.06)
    """
    y, v, X = _checked(y, v, X)
    n, p = X.shape
    tau2 = _reml_tau2(y, v, X)
    random, fixed = _weighted(y, v, X, tau2), _weighted(y, v, X, 0.0)
    scale = random.rss / (n - p)
    covariance = scale * random.unscaled
    typical = (n - p) / fixed.trace_p
    qm, df_qm = _omnibus(random.beta, covariance, X)
    parameters = p + 1
    deviance = -2.0 * random.log_likelihood
    room = max(n - p, parameters + 2)
    return MetaRegression(
        beta=random.beta,
        covariance=covariance,
        df=n - p,
        tau2=tau2,
        se_tau2=float(np.sqrt(2.0 / random.trace_pp)),
        i2=100.0 * tau2 / (typical + tau2),
        h2=tau2 / typical + 1.0,
        qe=fixed.rss,
        p_qe=float(chi2.sf(fixed.rss, n - p)),
        qm=qm,
        p_qm=float(fdtrc(df_qm, n - p, qm)) if np.isfinite(qm) else np.nan,
        df_qm=df_qm,
        log_likelihood=random.log_likelihood,
        aic=deviance + 2.0 * parameters,
        bic=deviance + parameters * float(np.log(n - p)),
        aicc=deviance + 2.0 * parameters * room / (room - parameters - 1.0),
        n=n,
        converged=bool(np.isfinite(random.beta).all() and np.isfinite(random.log_likelihood)),
    )


def reml_log_likelihood(y: np.ndarray, v: np.ndarray, X: np.ndarray, tau2: float) -> float:
    """Return the restricted log likelihood of a meta-regression at a given tau2 (shapes as in `meta_regression`).

    Examples
    --------
    >>> y, v = np.array([0.2, 0.5, 0.4, 0.9]), np.array([0.01, 0.02, 0.01, 0.03])
    >>> fit = meta_regression(y, v, np.ones((4, 1)))
    >>> fit.log_likelihood >= reml_log_likelihood(y, v, np.ones((4, 1)), 0.02)
    True
    """
    return _weighted(*_checked(y, v, X), tau2).log_likelihood


def estimate(problem: GroupProblem) -> GroupEstimates:
    """Fit a meta-regression to each equation of a group problem."""
    return collect_equations(problem, _estimate_equation)


def _estimate_equation(equation: Equation, X: np.ndarray) -> EquationFit:
    fit = meta_regression(equation.estimate, equation.variance, X)
    glance: dict[str, object] = {
        "tau_squared": fit.tau2,
        "tau_squared_se": fit.se_tau2,
        "i_squared": fit.i2,
        "h_squared": fit.h2,
        "cochran_qe": fit.qe,
        "p_value_cochran_qe": fit.p_qe,
        "cochran_qm": fit.qm,
        "p_value_cochran_qm": fit.p_qm,
        "log_lik": fit.log_likelihood,
        "aic": fit.aic,
        "bic": fit.bic,
        "converged": fit.converged,
    }
    return EquationFit(fit.beta, fit.covariance, ("participant", "sd__(Intercept)", float(np.sqrt(fit.tau2))), glance)


def _checked(y: np.ndarray, v: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, v, X = (np.asarray(array, dtype="float64") for array in (y, v, X))
    if X.ndim != 2 or y.shape != (len(X),) or v.shape != (len(X),):
        raise ShapeError("y, v and X do not match", got=(y.shape, v.shape, X.shape), allowed="(n,), (n,), (n, p)")
    if not (np.isfinite(y).all() and np.isfinite(v).all() and np.isfinite(X).all()):
        raise DataError("y, v and X must be finite", do="leave out participants without an estimate")
    if not (v > 0).all():
        raise DataError("sampling variances must be positive", got=v[v <= 0][:3].tolist())
    if len(X) <= X.shape[1]:
        raise DataError("a meta-regression needs more estimates than coefficients", got=X.shape)
    return y, v, X


def _weighted(y: np.ndarray, v: np.ndarray, X: np.ndarray, tau2: float) -> _Weighted:
    n, p = X.shape
    w = 1.0 / (v + tau2)
    root = np.sqrt(w)
    q, r = np.linalg.qr(X * root[:, None])
    diagonal = np.abs(np.diag(r))
    if not np.isfinite(diagonal).all() or (diagonal <= np.finfo(float).tiny).any():
        raise NumericalError(
            "the weighted design matrix is singular", do="leave out participants with extreme standard errors"
        )
    inverse = np.linalg.solve(r, np.eye(p))
    beta = inverse @ (q.T @ (root * y))
    py = w * (y - X @ beta)
    rss = float(np.sum(py * py / w))
    leverage = np.sum(q * q, axis=1)
    trace_p = float(np.sum(w * (1.0 - leverage)))
    weighted_gram = q.T @ (w[:, None] * q)
    trace_pp = float(np.sum(w * w * (1.0 - 2.0 * leverage)) + np.sum(weighted_gram * weighted_gram))
    log_likelihood = -0.5 * (
        (n - p) * np.log(2.0 * np.pi)
        - np.linalg.slogdet(X.T @ X)[1]
        - np.sum(np.log(w))
        + 2.0 * np.sum(np.log(diagonal))
        + rss
    )
    score = 0.5 * (float(np.sum(py * py)) - trace_p)
    return _Weighted(beta, inverse @ inverse.T, rss, trace_p, trace_pp, score, float(log_likelihood))


def _reml_tau2(y: np.ndarray, v: np.ndarray, X: np.ndarray) -> float:
    """Return the REML estimate of tau2, in the global maximum of the restricted likelihood."""
    n, p = X.shape
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    s2 = float(residual @ residual) / (n - p)
    # y'PPy <= (n-p) s2 / tau2^2 and tr P >= (n-p) / (tau2 + max v): above this the score is negative
    upper = 1.01 * (s2 + np.sqrt(s2 * s2 + 4.0 * s2 * float(v.max()))) / 2.0
    if upper <= 1e-14 * float(v.min()):
        return 0.0
    lower = 1e-8 * min(float(v.min()), upper)
    grid = np.append(0.0, np.geomspace(lower, upper, max(40, int(4.0 * np.log10(upper / lower)))))
    fits = [_weighted(y, v, X, float(tau2)) for tau2 in grid]
    left = int(np.argmax([fit.log_likelihood for fit in fits]))
    # to the left of a maximum the score is positive, to its right negative
    while left >= 0 and fits[left].score <= 0:
        left -= 1
    if left < 0:
        return 0.0
    while fits[left + 1].score > 0:
        left += 1
    root = brentq(
        lambda tau2: _weighted(y, v, X, tau2).score, grid[left], grid[left + 1], xtol=1e-15 * grid[left + 1], rtol=1e-14
    )
    return float(root)


def _omnibus(beta: np.ndarray, covariance: np.ndarray, X: np.ndarray) -> tuple[float, int]:
    """Return the F statistic of all coefficients but a constant column, and its numerator df."""
    constant = np.ptp(X, axis=0) == 0
    tested = np.flatnonzero(~constant) if not constant.all() else np.arange(len(beta))
    block = covariance[np.ix_(tested, tested)]
    spread = np.sqrt(np.diag(block))
    if not (spread > 0).all():
        return np.nan, len(tested)
    standard = beta[tested] / spread
    return float(standard @ np.linalg.solve(block / np.outer(spread, spread), standard)) / len(tested), len(tested)
