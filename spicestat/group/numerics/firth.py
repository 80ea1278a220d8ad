"""Firth's logistic regression: finite estimates, tests and intervals even where covariates separate the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import chi2

from spicestat.errors import DataError, NumericalError, ShapeError
from spicestat.group.formula.design import design_rank
from spicestat.group.numerics.penalised import Point, likelihood_ratio, maximise, profile_limit

__all__ = [
    "FirthLogistic",
    "RatioTest",
    "firth_logistic",
    "penalised_log_likelihood",
    "penalised_ratio_test",
    "profile_intervals",
]


@dataclass(frozen=True)
class FirthLogistic:
    """Firth-penalised logistic regression of n outcomes on p covariates.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Log odds ratios.
    covariance : ndarray of shape (p, p)
        Inverse Fisher information at ``beta``.
    statistic, p_value : ndarray of shape (p,)
        Penalised likelihood-ratio test of each coefficient, chi-squared with 1 df.
    log_likelihood : float
        Maximum of the penalised log-likelihood.
    null_log_likelihood : float
        The same with all coefficients but a constant column's at 0.
    n : int
        Number of outcomes.
    converged : bool
        Whether the modified score is zero, in the full and in every restricted fit.
    """

    beta: np.ndarray
    covariance: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    log_likelihood: float
    null_log_likelihood: float
    n: int
    converged: bool


class RatioTest(NamedTuple):
    """A penalised likelihood-ratio test: chi-squared statistic, its df and p-value."""

    statistic: float
    df: int
    p_value: float


def firth_logistic(y: np.ndarray, X: np.ndarray) -> FirthLogistic:
    r"""Fit :math:`\mathrm{logit}\, P(y_i = 1) = x_i'\beta` by Firth's penalised likelihood.

    .. math:: \ell^*(\beta) = \sum_i \log P(y_i) + \tfrac12 \log |I(\beta)|, \qquad I = X' W X, \quad
        W = \mathrm{diag}(\pi_i (1 - \pi_i))

    The penalty, Jeffreys' prior, removes the first-order bias of the maximum likelihood estimate and
    keeps it finite when covariates separate the outcomes. Newton's method with the exact curvature of
    :math:`\ell^*` (the Fisher information where that is not definite) and halved steps runs until the
    modified score :math:`\sum_i (y_i - \pi_i + h_i (\frac12 - \pi_i)) x_i` is zero, :math:`h_i` being the
    leverages of :math:`W^{1/2} X`. Each coefficient is tested with
    :math:`2 (\ell^*_{\max} - \ell^*_{\max, \beta_j = 0})`, where the penalty of the restricted fit keeps
    the full information matrix, as R's ``logistf`` does it. Wald tests are far off under separation,
    which is why there are none.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Outcomes, 0 or 1.
    X : ndarray of shape (n, p)
        Design matrix of rank p < n.

    Raises
    ------
    ShapeError, DataError
        The arrays do not match, are not finite, or have n <= p; ``y`` is not 0/1, or the same for all;
        the columns of ``X`` are linearly dependent.

    References
    ----------
    Firth (1993), https://doi.org/10.1093/biomet/80.1.27;
    Heinze & Schemper (2002), https://doi.org/10.1002/sim.1047.

    Examples
    --------
    The covariate separates the outcomes perfectly, and the estimate is finite all the same:

    >>> y, x = np.array([0, 0, 0, 0, 1, 1, 1]), np.arange(7.0)
    >>> fit = firth_logistic(y, np.column_stack([np.ones(7), x]))
    >>> fit.beta.round(3).tolist(), fit.p_value.round(4).tolist()
    ([-3.712, 1.069], [0.0438, 0.0311])
    """
    y, X, scale = _checked(y, X)
    p = X.shape[1]
    at = partial(_evaluate, y, X)
    full = maximise(at, len(y), np.zeros(p), np.ones(p, dtype=bool))
    others = ~np.eye(p, dtype=bool)
    restricted = [maximise(at, len(y), np.where(free, full.beta, 0.0), free) for free in others]
    statistic = np.array([likelihood_ratio(full, other) for other in restricted])
    constant = np.ptp(X, axis=0) == 0
    null = maximise(at, len(y), np.zeros(p), constant)
    return FirthLogistic(
        beta=full.beta / scale,
        covariance=np.linalg.inv(full.point.information) / np.outer(scale, scale),
        statistic=statistic,
        p_value=chi2.sf(statistic, 1),
        # |I| is that of the columns as given
        log_likelihood=full.point.value + float(np.log(scale).sum()),
        null_log_likelihood=null.point.value + float(np.log(scale).sum()),
        n=len(y),
        converged=all(fit.converged for fit in (full, *restricted)),
    )


def penalised_ratio_test(y: np.ndarray, X: np.ndarray, columns: Sequence[int]) -> RatioTest:
    """Test that several coefficients are zero together, for example those of a factor.

    Parameters
    ----------
    y, X : ndarray of shape (n,) and (n, p)
        As in `firth_logistic`.
    columns : sequence of int
        Columns of ``X``, at least one.

    Raises
    ------
    ShapeError, DataError
        As in `firth_logistic`; or ``columns`` names none of ``X``.
    NumericalError
        A fit did not converge.

    Examples
    --------
    >>> X = np.column_stack([np.ones(8), np.arange(8.0), np.arange(8.0) ** 2])
    >>> test = penalised_ratio_test(np.array([0, 1, 0, 0, 1, 0, 1, 1]), X, [1, 2])
    >>> round(test.statistic, 3), test.df, round(test.p_value, 3)
    (1.334, 2, 0.513)
    """
    y, X, _ = _checked(y, X)
    p = X.shape[1]
    tested = np.zeros(p, dtype=bool)
    try:
        tested[np.asarray(columns, dtype="int64")] = True
    except IndexError as error:
        raise ShapeError(
            "`columns` names a column that X does not have", got=columns, allowed=f"0 to {p - 1}"
        ) from error
    if not tested.any():
        raise DataError("there is no column to test", got=columns, allowed=f"columns 0 to {p - 1}")
    at = partial(_evaluate, y, X)
    full = maximise(at, len(y), np.zeros(p), np.ones(p, dtype=bool))
    restricted = maximise(at, len(y), np.where(tested, 0.0, full.beta), ~tested)
    if not (full.converged and restricted.converged):
        raise NumericalError("the penalised likelihood has no maximum that can be found", do="rescale the covariates")
    statistic, df = likelihood_ratio(full, restricted), int(tested.sum())
    return RatioTest(statistic, df, float(chi2.sf(statistic, df)))


def profile_intervals(y: np.ndarray, X: np.ndarray, conf_level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the profile penalised-likelihood intervals of all coefficients.

    The limits are where :math:`2 (\ell^*_{\max} - \max_{\beta: \beta_j = b} \ell^*(\beta))` equals the
    quantile of chi-squared with 1 df, so an interval excludes zero exactly when the test of
    `firth_logistic` is significant.

    Parameters
    ----------
    y, X : ndarray of shape (n,) and (n, p)
        As in `firth_logistic`.
    conf_level : float, default 0.95
        In (0, 1).

    Returns
    -------
    low, high : ndarray of shape (p,)
        NaN where a limit cannot be found.

    References
    ----------
    Heinze & Schemper (2002), https://doi.org/10.1002/sim.1047.

    Examples
    --------
    >>> y, x = np.array([0, 0, 0, 0, 1, 1, 1]), np.arange(7.0)
    >>> low, high = profile_intervals(y, np.column_stack([np.ones(7), x]))
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([-20.98, 0.07], [-0.07, 5.9])
    """
    y, X, scale = _checked(y, X)
    p = X.shape[1]
    at = partial(_evaluate, y, X)
    full = maximise(at, len(y), np.zeros(p), np.ones(p, dtype=bool))
    target = full.point.value - 0.5 * float(chi2.ppf(conf_level, 1))
    limits = [[profile_limit(at, len(y), full, j, side, target) for j in range(p)] for side in (-1.0, 1.0)] / scale
    return limits[0], limits[1]


def penalised_log_likelihood(y: np.ndarray, X: np.ndarray, beta: np.ndarray) -> float:
    r"""Return :math:`\ell^*(\beta)` of `firth_logistic`, ``beta`` of shape (p,).

    Examples
    --------
    >>> y, X = np.array([0, 1, 1]), np.ones((3, 1))
    >>> fit = firth_logistic(y, X)
    >>> fit.log_likelihood > penalised_log_likelihood(y, X, fit.beta + 0.1)
    True
    """
    y, X, scale = _checked(y, X)
    return _evaluate(y, X, np.asarray(beta, dtype="float64") * scale).value + float(np.log(scale).sum())


def _checked(y: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, X with columns of mean square 1, and the lengths the columns were divided by."""
    y, X = np.asarray(y, dtype="float64"), np.asarray(X, dtype="float64")
    if X.ndim != 2 or y.shape != (len(X),):
        raise ShapeError("y and X do not match", got=(y.shape, X.shape), allowed="(n,), (n, p)")
    if not (np.isfinite(y).all() and np.isfinite(X).all()):
        raise DataError("y and X must be finite", do="leave out participants with missing values")
    if not np.isin(y, (0.0, 1.0)).all():
        raise DataError("the outcomes of a logistic regression are 0 or 1", got=y[~np.isin(y, (0.0, 1.0))][:3].tolist())
    if len(X) <= X.shape[1]:
        raise DataError("a logistic regression needs more outcomes than coefficients", got=X.shape)
    if np.ptp(y) == 0:
        raise DataError("the outcome is the same for all, which leaves nothing to explain", got=f"{y[0]:g}")
    if design_rank(X) < X.shape[1]:
        raise DataError("the columns of X are linearly dependent", do="leave out redundant covariates")
    scale = np.sqrt(np.mean(X * X, axis=0))
    return y, X / scale, scale


def _evaluate(y: np.ndarray, X: np.ndarray, beta: np.ndarray) -> Point:
    n, p = X.shape
    eta = X @ beta
    pi, rest = expit(eta), expit(-eta)
    # of log(pi (1 - pi)), which does not underflow where pi (1 - pi) does
    log_weight = -np.abs(eta) - 2.0 * np.log1p(np.exp(-np.abs(eta)))
    q, r = np.linalg.qr(X * np.exp(0.5 * log_weight)[:, None])
    diagonal = np.abs(np.diag(r))
    if not (diagonal > np.finfo(float).tiny).all():
        return Point(-np.inf, np.zeros(p), np.zeros((p, p)), np.zeros((p, p)))
    weight, slope, leverage = pi * rest, rest - pi, np.sum(q * q, axis=1)
    value = float(np.sum(np.where(y > 0, -np.logaddexp(0.0, -eta), -np.logaddexp(0.0, eta))))
    gradient = X.T @ (np.where(y > 0, rest, -pi) + 0.5 * leverage * slope)
    information = r.T @ r
    # second derivative of log|I| / 2: the leverages' own derivatives need the squared hat matrix, which
    # factors into products of pairs of columns of q
    pairs = np.einsum("ni,nj,n,nk->ijk", q, q, slope, X, optimize=True).reshape(p * p, p)
    curvature = information - 0.5 * ((X * (leverage * (slope * slope - 2.0 * weight))[:, None]).T @ X - pairs.T @ pairs)
    return Point(value + float(np.sum(np.log(diagonal))), gradient, information, curvature)
