"""Random-effects meta-regression with known sampling variances (REML or ML, Knapp-Hartung or normal tests)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import fdtrc
from scipy.stats import chi2

from spicestat.errors import ConfigError, DataError, NumericalError, ShapeError
from spicestat.group.formula.random_columns import RandomColumns
from spicestat.group.inputs.contract import Equation, EquationFit, GroupEstimates, GroupInputs, collect_equations
from spicestat.group.methods.registry import Method
from spicestat.group.numerics.variance_components import RandomPart, variance_components

__all__ = ["ESTIMATORS", "MetaRegression", "Settings", "estimate", "meta_regression", "reml_log_likelihood", "METHOD"]

ESTIMATORS = ("REML", "ML")
"""How a variance between participants can be estimated."""


_SINGULAR = (
    "a variance of the random parts is zero, or a correlation 1, for some coefficients (a singular fit): their tests "
    "take it for known"
)
_NO_REST = (
    "the random parts explain all differences that there can be between estimates of the same group, so that no "
    "variance of {unit} is left to estimate"
)


@dataclass(frozen=True)
class Settings:
    """Options of ``method="meta"``.

    Attributes
    ----------
    estimator : {"REML", "ML"}, default "REML"
        Restricted or full maximum likelihood for the variance between participants. ML is biased
        downwards, by about the factor (n - p) / n; its likelihoods can be compared between formulas.
    knapp_hartung : bool, default True
        Knapp-Hartung standard errors and t(n - p) tests; where the formula has random parts, standard errors of the
        model and t tests with Satterthwaite's degrees of freedom. False gives metafor's ``test = "z"``, which
        takes the variances as known and is anticonservative with few participants.
    """

    estimator: str = "REML"
    knapp_hartung: bool = True

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ConfigError("unknown `estimator`", got=self.estimator, allowed=", ".join(ESTIMATORS))
        if not isinstance(self.knapp_hartung, bool):
            raise ConfigError("`knapp_hartung` is not a boolean", got=self.knapp_hartung, allowed="True or False")


@dataclass(frozen=True)
class MetaRegression:
    """Random-effects meta-regression of n estimates on p covariates.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Regression coefficients.
    covariance : ndarray of shape (p, p)
        Covariance of ``beta``, Knapp-Hartung's if asked for.
    df : float
        Degrees of freedom of the tests: n - p with Knapp-Hartung, otherwise infinite.
    tau2, se_tau2 : float
        Variance between participants left after the covariates, and its standard error.
    i2 : float
        Share of the variance that is between participants, in percent as in metafor.
    h2 : float
        Total over sampling variance.
    qe, p_qe : float
        Cochran's test of residual heterogeneity, chi-squared with n - p df.
    qm, p_qm : float
        Test of all coefficients but the intercept (of the intercept, where it is alone): F with
        Knapp-Hartung, otherwise chi-squared.
    df_qm : int
        Numerator degrees of freedom of ``qm``.
    log_likelihood, aic, bic, aicc : float
        Log likelihood, restricted for REML, and information criteria, as in metafor.
    n : int
        Number of estimates.
    converged : bool
        Whether all numbers are finite (the search itself always ends).
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: float
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
    """Weighted least squares at one tau2, and the terms of the score.

    ``trace`` and ``trace_square`` are tr P and tr PP with REML, tr W and tr WW with ML.
    """

    beta: np.ndarray
    unscaled: np.ndarray
    rss: float
    trace: float
    trace_square: float
    score: float
    log_likelihood: float


def meta_regression(
    y: np.ndarray, v: np.ndarray, X: np.ndarray, *, estimator: str = "REML", knapp_hartung: bool = True
) -> MetaRegression:
    r"""Fit :math:`y_i = x_i'\beta + u_i + e_i`, :math:`u_i \sim N(0, \tau^2)`, :math:`e_i \sim N(0, v_i)`.

    :math:`\tau^2` maximises the restricted likelihood. Its score
    :math:`\frac12 (y'PPy - \mathrm{tr} P)` (with ML :math:`\mathrm{tr} W` instead), with
    :math:`P = W - WX(X'WX)^{-1}X'W` and :math:`W = \mathrm{diag}(1/(v_i + \tau^2))`, is scanned from 0
    to a bound above which it is negative for certain, and solved by Brent's method around the best
    point. Unlike Fisher scoring (metafor's way to the same maximum) this always ends, and in the
    global maximum if there are several. Coefficients are tested with the Knapp-Hartung covariance
    :math:`\frac{y'Py}{n - p} (X'WX)^{-1}` and :math:`t(n - p)`; the factor may be below 1, as in metafor.

    Equal to ``metafor::rma(y, v, mods = ~ ..., method = "REML", test = "knha")``; ``estimator="ML"`` to
    ``method = "ML"``, ``knapp_hartung=False`` to ``test = "z"``.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Estimates, one per participant.
    v : ndarray of shape (n,)
        Their sampling variances, positive.
    X : ndarray of shape (n, p)
        Design matrix of rank p < n.
    estimator : {"REML", "ML"}, default "REML"
        Likelihood that :math:`\tau^2` maximises.
    knapp_hartung : bool, default True
        Whether to use the Knapp-Hartung covariance and t tests, or :math:`(X'WX)^{-1}` and normal tests.

    Raises
    ------
    ConfigError
        ``estimator`` is unknown.
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
    settings = Settings(estimator, knapp_hartung)
    y, v, X = _checked(y, v, X)
    n, p = X.shape
    restricted = settings.estimator == "REML"
    tau2 = _best_tau2(y, v, X, restricted)
    random, fixed = _weighted(y, v, X, tau2, restricted), _weighted(y, v, X, 0.0)
    covariance = (random.rss / (n - p) if knapp_hartung else 1.0) * random.unscaled
    typical = (n - p) / fixed.trace
    qm, df_qm = _omnibus(random.beta, covariance, X)
    if not knapp_hartung:
        qm = qm * df_qm
    parameters, observations = p + 1, n - p if restricted else n
    deviance = -2.0 * random.log_likelihood
    room = max(observations, parameters + 2)
    return MetaRegression(
        beta=random.beta,
        covariance=covariance,
        df=float(n - p) if knapp_hartung else np.inf,
        tau2=tau2,
        se_tau2=float(np.sqrt(2.0 / random.trace_square)),
        i2=100.0 * tau2 / (typical + tau2),
        h2=tau2 / typical + 1.0,
        qe=fixed.rss,
        p_qe=float(chi2.sf(fixed.rss, n - p)),
        qm=qm,
        p_qm=_omnibus_p(qm, df_qm, n - p, knapp_hartung),
        df_qm=df_qm,
        log_likelihood=random.log_likelihood,
        aic=deviance + 2.0 * parameters,
        bic=deviance + parameters * float(np.log(observations)),
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


def estimate(inputs: GroupInputs, settings: Settings | None = None) -> GroupEstimates:
    """Fit a meta-regression to each equation of a group model, with the formula's random parts if it has any."""
    chosen = Settings() if settings is None else settings
    if inputs.design.random:
        fit = partial(_estimate_with_parts, parts=inputs.design.random, unit=inputs.table.unit, settings=chosen)
    else:
        fit = partial(_estimate_equation, settings=chosen)
    estimates = collect_equations(inputs, fit)
    if chosen.knapp_hartung or estimates.fixed.empty:
        return estimates
    return replace(estimates, fixed=estimates.fixed.assign(df=np.inf))


def _estimate_equation(equation: Equation, X: np.ndarray, settings: Settings) -> EquationFit:
    fit = meta_regression(
        equation.estimate,
        equation.variance,
        X,
        estimator=settings.estimator,
        knapp_hartung=settings.knapp_hartung,
    )
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
    return EquationFit(
        fit.beta, fit.covariance, (("participant", "sd__(Intercept)", float(np.sqrt(fit.tau2))),), glance
    )


def _estimate_with_parts(
    equation: Equation, X: np.ndarray, parts: Sequence[RandomColumns], unit: str, settings: Settings
) -> EquationFit:
    """Fit a mixed model; ``unit`` is what the rows are, such as ``participant:drug``."""
    y, v, X = _checked(equation.estimate, equation.variance, X)
    columns = [part.of(equation.rows) for part in parts]
    restricted = settings.estimator == "REML"
    random = [RandomPart(part.matrix, part.codes, part.correlated) for part in columns]
    fit = variance_components(y, v, X, random, restricted=restricted)
    spread = [row for part, G in zip(columns, fit.random, strict=True) for row in _spread_rows(part, G)]
    messages: tuple[str, ...] = ()
    if fit.tau2 is not None:
        spread.append((unit, "sd__(Intercept)", float(np.sqrt(fit.tau2))))
    elif unit not in {part.group for part in columns}:
        messages = (_NO_REST.format(unit=unit),)
    fixed = _weighted(y, v, X, 0.0)
    n, p = X.shape
    parameters, observations = p + fit.n_parameters, n - p if restricted else n
    deviance = -2.0 * fit.log_likelihood
    glance: dict[str, object] = {
        "cochran_qe": fixed.rss,
        "p_value_cochran_qe": float(chi2.sf(fixed.rss, n - p)),
        "log_lik": fit.log_likelihood,
        "aic": deviance + 2.0 * parameters,
        "bic": deviance + parameters * float(np.log(observations)),
        "converged": fit.converged,
    }
    if fit.singular:
        messages = (*messages, _SINGULAR)
    return EquationFit(fit.beta, fit.covariance, tuple(spread), glance, fit.df, messages)


def _spread_rows(part: RandomColumns, covariance: np.ndarray) -> list[tuple[str, str, float]]:
    """Return standard deviations and correlations of a random part, named as in broom.mixed."""
    sd = np.sqrt(np.diag(covariance))
    rows = [(part.group, f"sd__{name}", float(value)) for name, value in zip(part.names, sd, strict=True)]
    if part.correlated:
        for column, later in zip(*np.triu_indices(len(sd), 1), strict=True):
            both = sd[column] * sd[later]
            correlation = covariance[column, later] / both if both > 0 else np.nan
            rows.append((part.group, f"cor__{part.names[column]}.{part.names[later]}", float(correlation)))
    return rows


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


def _weighted(y: np.ndarray, v: np.ndarray, X: np.ndarray, tau2: float, restricted: bool = True) -> _Weighted:
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
    log_likelihood = -0.5 * (n * np.log(2.0 * np.pi) - np.sum(np.log(w)) + rss)
    trace, trace_square = float(np.sum(w)), float(np.sum(w * w))
    if restricted:
        leverage = np.sum(q * q, axis=1)
        trace = float(np.sum(w * (1.0 - leverage)))
        weighted_gram = q.T @ (w[:, None] * q)
        trace_square = float(np.sum(w * w * (1.0 - 2.0 * leverage)) + np.sum(weighted_gram * weighted_gram))
        log_likelihood += 0.5 * (
            p * np.log(2.0 * np.pi) + np.linalg.slogdet(X.T @ X)[1] - 2.0 * np.sum(np.log(diagonal))
        )
    score = 0.5 * (float(np.sum(py * py)) - trace)
    return _Weighted(beta, inverse @ inverse.T, rss, trace, trace_square, score, float(log_likelihood))


def _best_tau2(y: np.ndarray, v: np.ndarray, X: np.ndarray, restricted: bool) -> float:
    """Return the estimate of tau2, in the global maximum of the likelihood."""
    n, p = X.shape
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    s2 = float(residual @ residual) / (n - p)
    # y'PPy <= (n-p) s2 / tau2^2 and tr W >= tr P >= (n-p) / (tau2 + max v): above this the score is negative
    upper = 1.01 * (s2 + np.sqrt(s2 * s2 + 4.0 * s2 * float(v.max()))) / 2.0
    if upper <= 1e-14 * float(v.min()):
        return 0.0
    lower = 1e-8 * min(float(v.min()), upper)
    grid = np.append(0.0, np.geomspace(lower, upper, max(40, int(4.0 * np.log10(upper / lower)))))
    fits = [_weighted(y, v, X, float(tau2), restricted) for tau2 in grid]
    left = int(np.argmax([fit.log_likelihood for fit in fits]))
    # to the left of a maximum the score is positive, to its right negative
    while left >= 0 and fits[left].score <= 0:
        left -= 1
    if left < 0:
        return 0.0
    while fits[left + 1].score > 0:
        left += 1
    root = brentq(
        lambda tau2: _weighted(y, v, X, tau2, restricted).score,
        grid[left],
        grid[left + 1],
        xtol=1e-15 * grid[left + 1],
        rtol=1e-14,
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


def _omnibus_p(qm: float, df_qm: int, df: int, knapp_hartung: bool) -> float:
    if not np.isfinite(qm):
        return np.nan
    return float(fdtrc(df_qm, df, qm) if knapp_hartung else chi2.sf(qm, df_qm))


METHOD = Method(
    estimate,
    "meta",
    "meta-regression of each coefficient with known sampling variances, by REML with Knapp-Hartung tests; takes random "
    "parts",
    Settings,
    takes_random_parts=True,
)
