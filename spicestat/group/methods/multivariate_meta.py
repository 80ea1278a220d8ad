"""Multivariate meta-regression: all coefficients of the equations jointly, with known sampling covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.group.inference.joint_tables import JointModel, joint_estimates
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.methods.meta import ESTIMATORS
from spicestat.group.methods.registry import Method
from spicestat.group.numerics.covariance_search import Weighted, fit_at_covariance, is_singular, maximise_covariance

__all__ = ["MultivariateMeta", "Settings", "estimate", "multivariate_meta_regression", "METHOD"]

_SINGULAR = (
    "the covariance between participants is singular: some coefficient, or a combination of them, does not vary beyond "
    "sampling error once the covariates are known."
)


@dataclass(frozen=True)
class Settings:
    """Options of ``method="multivariate_meta"``.

    Attributes
    ----------
    estimator : {"REML", "ML"}, default "REML"
        Restricted or full maximum likelihood for the covariance between participants. Likelihoods of ML can
        be compared between formulas.
    """

    estimator: str = "REML"

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ConfigError("unknown `estimator`", got=self.estimator, allowed=", ".join(ESTIMATORS))


@dataclass(frozen=True)
class MultivariateMeta:
    """Multivariate random-effects meta-regression of d coefficients of n participants on p covariates.

    Attributes
    ----------
    beta : ndarray of shape (d, p)
        Regression coefficients.
    covariance : ndarray of shape (d * p, d * p)
        Covariance of ``beta.ravel()``, by generalised least squares.
    df : ndarray of shape (d,)
        Degrees of freedom of t tests: participants with that coefficient, less p.
    sigma : ndarray of shape (d, d)
        Covariance between participants that the covariates leave.
    deviations, deviation_errors : ndarray of shape (n, d)
        Predicted deviations of the participants from their means, and their prediction standard errors.
    log_likelihood, aic, bic : float
        Log likelihood, restricted for REML, and criteria, as in metafor.
    n : int
        Number of coefficients that entered, over all participants.
    singular : bool
        ``sigma`` is singular: a variance of 0 or a correlation of 1 between linear combinations.
    converged : bool
        The maximum was found.
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    sigma: np.ndarray
    deviations: np.ndarray
    deviation_errors: np.ndarray
    log_likelihood: float
    aic: float
    bic: float
    n: int
    singular: bool
    converged: bool

    @property
    def std_errors(self) -> np.ndarray:
        """Standard errors of ``beta``, shape (d, p)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)).reshape(self.beta.shape))


class _Observed:
    """Estimates (n, d) with known covariances (n, d, d); ``there`` marks those that are not missing."""

    def __init__(self, y: np.ndarray, V: np.ndarray, there: np.ndarray) -> None:
        self.y = np.where(there, y, 0.0)
        self.pairs = (there[:, :, None] & there[:, None, :]) if not there.all() else None
        self.filled = V
        if self.pairs is not None:
            self.filled = np.where(self.pairs, V, np.eye(y.shape[1]))
        self.there = there

    def weigh(self, sigma: np.ndarray) -> Weighted | None:
        """Return the weights; a missing estimate gets weight 0."""
        total = self.filled + (sigma if self.pairs is None else np.where(self.pairs, sigma, 0.0))
        try:
            root = np.linalg.cholesky(total)
        except np.linalg.LinAlgError:
            return None
        half = np.linalg.inv(root)
        weight = half.transpose(0, 2, 1) @ half
        if self.pairs is not None:
            weight = np.where(self.pairs, weight, 0.0)
        log_det = 2.0 * float(np.sum(np.log(np.diagonal(root, axis1=1, axis2=2))))
        return Weighted(weight, np.einsum("nab,nb->na", weight, self.y), log_det)

    def quadratic(self, sigma: np.ndarray, mean: np.ndarray, score: np.ndarray) -> float:
        """Return the weighted sum of squares of the residuals."""
        return float(np.sum(score * (self.y - np.where(self.there, mean, 0.0))))


def multivariate_meta_regression(
    y: np.ndarray, V: np.ndarray, X: np.ndarray, *, estimator: str = "REML", sigma: np.ndarray | None = None
) -> MultivariateMeta:
    r"""Fit :math:`y_i = B x_i + u_i + e_i`, :math:`u_i \sim N(0, \Sigma)`, :math:`e_i \sim N(0, V_i)`.

    :math:`\Sigma` is unstructured and maximises the (restricted) likelihood, see
    `maximise_covariance`; B follows by generalised least squares.

    Equal to ``metafor::rma.mv(y, V, mods = ~ outcome:(...) - 1, random = ~ outcome | id, struct = "UN", test = "t")``,
    whose general-purpose optimiser however stops earlier, and at a singular :math:`\Sigma` sometimes far
    off. Degrees of freedom are those of the separate regressions, not metafor's n d - d p, as rows of
    one participant are no independent observations of the residual covariance.

    Parameters
    ----------
    y : ndarray of shape (n, d)
        Estimates; NaN where a participant lacks one.
    V : ndarray of shape (n, d, d)
        Their sampling covariances; entries of missing estimates are ignored.
    X : ndarray of shape (n, p)
        Design matrix, of rank p among the participants who have an estimate, for each of the d.
    estimator : {"REML", "ML"}, default "REML"
    sigma : ndarray of shape (d, d), optional
        A known :math:`\Sigma`, positive semi-definite, for profiles and simulations. Default: estimated.

    Raises
    ------
    ConfigError
        ``estimator`` is unknown.
    ShapeError, DataError
        The arrays do not match, are not finite, or leave too few participants; a covariance is not positive
        semi-definite with positive variances.
    NumericalError
        The likelihood cannot be computed.

    References
    ----------
    Jackson, Riley & White (2011), https://doi.org/10.1002/sim.4172;
    Viechtbauer (2010), https://doi.org/10.18637/jss.v036.i03.

    Examples
    --------
    >>> y = np.array([[0.2, 1.0], [0.5, 1.6], [0.4, np.nan], [0.9, 2.2], [0.6, 1.4]])
    >>> fit = multivariate_meta_regression(y, np.tile(0.01 * np.eye(2), (5, 1, 1)), np.ones((5, 1)))
    >>> fit.beta.ravel().round(3).tolist(), fit.df.tolist(), fit.converged
    ([0.52, 1.503], [4.0, 3.0], True)
    """
    restricted = Settings(estimator).estimator == "REML"
    y, V, X = _checked(y, V, X)
    d, p = y.shape[1], X.shape[1]
    there = np.isfinite(y)
    counts = there.sum(axis=0)
    correlation, scale = _residual_covariance(y, X, there)
    shift = np.stack([_least_squares(y[there[:, k], k], X[there[:, k]]) for k in range(d)])
    units = np.outer(scale, scale)
    columns, back = np.linalg.qr(X)
    evidence = _Observed((y - X @ shift.T) / scale, V / units, there)
    if sigma is None:
        starts = _starts(correlation, V / units, there)
        fit = maximise_covariance(evidence, columns, starts, restricted=restricted)
    else:
        fit = fit_at_covariance(evidence, columns, _checked_sigma(sigma, d) / units, restricted=restricted)
    turn = np.linalg.inv(back)
    whole = np.kron(np.diag(scale), turn)
    log_likelihood = fit.value + _constant(columns, there, scale, p, restricted)
    parameters = d * p + (d * (d + 1) // 2 if sigma is None else 0)
    rows = int(counts.sum()) - (d * p if restricted else 0)
    return MultivariateMeta(
        beta=shift + scale[:, None] * (fit.gamma @ turn.T),
        covariance=whole @ fit.covariance @ whole.T,
        df=(counts - p).astype("float64"),
        sigma=fit.sigma * units,
        deviations=fit.deviations * scale,
        deviation_errors=np.sqrt(np.diagonal(fit.deviation_covariance, axis1=1, axis2=2).clip(0.0)) * scale,
        log_likelihood=log_likelihood,
        aic=-2.0 * log_likelihood + 2.0 * parameters,
        bic=-2.0 * log_likelihood + parameters * float(np.log(rows)),
        n=int(counts.sum()),
        singular=is_singular(fit.sigma),
        converged=fit.converged,
    )


def estimate(inputs: GroupInputs, settings: Settings | None = None) -> GroupEstimates:
    """Fit all equations of a group model in one multivariate meta-regression.

    A participant who lacks some coefficient (at a bound, without a standard error) enters with the others.
    """
    chosen = Settings() if settings is None else settings
    rows = np.unique(np.concatenate([equation.rows for equation in inputs.equations]))
    y, V, messages = _estimates(inputs, rows)
    fit = multivariate_meta_regression(y, V, inputs.design.matrix[rows], estimator=chosen.estimator)
    participants = inputs.table.participants
    model = JointModel(
        terms=[equation.key for equation in inputs.equations],
        names=inputs.design.names,
        beta=fit.beta,
        covariance=fit.covariance,
        df=fit.df,
        sigma=fit.sigma,
        participants=[participants[position] for position in inputs.design.rows[rows]],
        deviations=fit.deviations,
        deviation_errors=fit.deviation_errors,
    )
    glance = {
        "nobs": fit.n,
        "n_excluded": len(participants) - len(rows),
        "share_unidentified": max(equation.share_unidentified for equation in inputs.equations),
        "df_residual": float(fit.n - fit.beta.size),
        "log_lik": fit.log_likelihood,
        "aic": fit.aic,
        "bic": fit.bic,
        "converged": fit.converged,
    }
    messages += (_SINGULAR,) if fit.singular else ()
    return joint_estimates(model, glance, messages=messages)


def _estimates(inputs: GroupInputs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return estimates (n, d), NaN where not usable, their covariances (n, d, d), and what is to be said of them."""
    equations, table = inputs.equations, inputs.table
    y = np.full((len(rows), len(equations)), np.nan)
    V = np.zeros((len(rows), len(equations), len(equations)))
    messages: tuple[str, ...] = ()
    if table.covariance is not None:
        columns = [table.terms.index(equation.key) for equation in equations]
        V = table.covariance[inputs.design.rows[rows]][:, columns][:, :, columns].astype("float64")
    elif len(equations) > 1:
        messages = ("the coefficient table has no covariances within participants: they are taken as 0.",)
    for k, equation in enumerate(equations):
        at = np.searchsorted(rows, equation.rows)
        y[at, k], V[at, k, k] = equation.estimate, equation.variance
    there = np.isfinite(y)
    unknown = there[:, :, None] & there[:, None, :] & ~np.isfinite(V)
    if unknown.any():
        count = int(unknown.any(axis=(1, 2)).sum())
        messages = (f"{count} participants lack covariances between their coefficients: they are taken as 0.",)
    return y, np.where(np.isfinite(V), V, 0.0), messages


def _starts(correlation: np.ndarray, V: np.ndarray, there: np.ndarray) -> list[np.ndarray]:
    """Return the residual covariance with and without the sampling error, and one near zero."""
    pairs = there[:, :, None] & there[:, None, :]
    average = np.where(pairs, V, 0.0).sum(axis=0) / np.maximum(pairs.sum(axis=0), 1)
    return [_clipped(correlation - average, 0.05), _clipped(correlation, 0.05), 0.01 * np.eye(len(correlation))]


def _checked_sigma(sigma: np.ndarray, d: int) -> np.ndarray:
    sigma = np.asarray(sigma, dtype="float64")
    if sigma.shape != (d, d):
        raise ShapeError("`sigma` does not match y", got=sigma.shape, allowed=(d, d))
    if not np.allclose(sigma, sigma.T) or np.linalg.eigvalsh(sigma)[0] < -1e-8 * np.abs(sigma).max():
        raise DataError("`sigma` must be symmetric and positive semi-definite")
    return sigma


def _checked(y: np.ndarray, V: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, V, X = (np.asarray(array, dtype="float64") for array in (y, V, X))
    if y.ndim != 2 or X.ndim != 2 or len(y) != len(X) or V.shape != (*y.shape, y.shape[1]):
        raise ShapeError(
            "y, V and X do not match", got=(y.shape, V.shape, X.shape), allowed="(n, d), (n, d, d), (n, p)"
        )
    there = np.isfinite(y)
    pairs = there[:, :, None] & there[:, None, :]
    if np.isinf(y).any() or not np.isfinite(X).all() or not np.isfinite(V[pairs]).all():
        raise DataError("y, V and X must be finite", allowed="NaN for a missing estimate and its covariances")
    p = X.shape[1]
    few = np.flatnonzero(there.sum(axis=0) <= p)
    if len(few):
        raise DataError(
            "a multivariate meta-regression needs more participants than covariates for each coefficient",
            got=f"{int(there[:, few[0]].sum())} participants with coefficient {few[0]}, {p} covariates",
        )
    V = np.where(pairs, V, np.eye(y.shape[1]))
    V = 0.5 * (V + V.transpose(0, 2, 1))
    variances = np.diagonal(V, axis1=1, axis2=2)
    if not (variances > 0).all():
        raise DataError("sampling variances must be positive", got=variances[variances <= 0][:3].tolist())
    spread = np.sqrt(variances)
    smallest = np.linalg.eigvalsh(V / (spread[:, :, None] * spread[:, None, :]))[:, 0]
    if smallest.min() < -1e-8:
        raise DataError(
            "sampling covariances must be positive semi-definite", got=f"row {int(np.argmin(smallest))} is not"
        )
    ranks = [np.linalg.matrix_rank(X[there[:, k]] / np.linalg.norm(X, axis=0), tol=1e-9) for k in range(y.shape[1])]
    if min(ranks) < p:
        raise DataError(
            "the participants with an estimate do not cover all covariates",
            got=f"rank {min(ranks)} of {p} for coefficient {int(np.argmin(ranks))}",
            do="use a simpler formula or leave out that coefficient",
        )
    return y, V, X


def _least_squares(y: np.ndarray, X: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.lstsq(X, y, rcond=None)[0])


def _residual_covariance(y: np.ndarray, X: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual correlation of separate least-squares fits, and the residual standard deviations."""
    residual = np.zeros(y.shape)
    for k in range(y.shape[1]):
        rows = there[:, k]
        residual[rows, k] = y[rows, k] - X[rows] @ _least_squares(y[rows, k], X[rows])
    freedom = np.maximum(there.T.astype("float64") @ there - X.shape[1], 1.0)
    covariance = residual.T @ residual / freedom
    scale = np.sqrt(np.diag(covariance))
    if not (scale > 1e-12 * np.abs(np.where(there, y, 0.0)).max(axis=0)).all():
        raise DataError("the covariates reproduce the estimates exactly, which leaves nothing to test with")
    return covariance / np.outer(scale, scale), scale


def _clipped(matrix: np.ndarray, smallest: float) -> np.ndarray:
    """Return the nearest symmetric matrix with eigenvalues of at least ``smallest``."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return np.asarray((vectors * values.clip(smallest)) @ vectors.T)


def _constant(columns: np.ndarray, there: np.ndarray, scale: np.ndarray, p: int, restricted: bool) -> float:
    """Return the log likelihood's terms in 2 pi and X'X, and the Jacobian of the scaling."""
    counts = there.sum(axis=0)
    free = counts - p if restricted else counts
    constant = -0.5 * float(free.sum()) * np.log(2.0 * np.pi) - float(free @ np.log(scale))
    if restricted:
        constant += 0.5 * sum(np.linalg.slogdet(columns[row].T @ columns[row])[1] for row in there.T)
    return float(constant)


METHOD = Method(
    estimate,
    "multivariate meta",
    "meta-regression of all coefficients together, with their full sampling covariances",
    Settings,
)
