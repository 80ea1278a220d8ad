"""Linear mixed model of all equation terms jointly: random intercept per participant, REML."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from spicestat.errors import DataError
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.methods.registry import Method
from spicestat.group.numerics.random_intercept import RandomIntercept, random_intercept

__all__ = ["estimate", "METHOD"]

_WEIGHTS = (
    "mixed ignores the estimates' standard errors (all participants count the same); "
    'method="meta" uses them, term by term.'
)
_SINGULAR = (
    "the random-intercept variance is zero (a singular fit): the terms do not share a common participant effect, "
    "so the joint model gives what separate regressions give."
)


def estimate(inputs: GroupInputs, settings: None = None) -> GroupEstimates:
    """Fit all equations of a group model in one mixed model.

    Each (module, sparse_term) has its own intercept and covariate effects, and all share a random
    intercept per participant: ``estimate ~ 0 + equation : (covariates) + (1 | participant)``.

    The terms have different units (a learning rate of 0.3, an inverse temperature of 3), so each
    term's estimates are divided by the residual standard deviation of their own regression
    before, and coefficients multiplied back after. This makes the residual and the
    random-intercept standard deviation proportional to that scale; both are reported in
    the term's units.

    Degrees of freedom are Satterthwaite's, but not more than a term's own n - p: the scale is estimated
    from these residuals, so pooling the variance over scaled terms adds no information about it.

    Limits. A random intercept can only say that terms are
    positively correlated, and all equally so; otherwise the fit is singular, which is said. Standard
    errors of the estimates are not used: a weighted mixed model is what ``method="meta"`` and
    the hierarchical model are for. When every participant has every term, the coefficients equal those of
    separate regressions and only tests and missing terms profit from the joint model.

    Raises
    ------
    DataError
        Fewer than two equations, or no participant with two.
    """
    equations = inputs.equations
    if len(equations) < 2:
        only = ", ".join(f"{equation.module} / {equation.sparse_term}" for equation in equations)
        raise DataError(
            "with a single term a mixed model is not identified: one row per participant cannot tell the "
            "random intercept from the residual",
            got=only,
            do='analyse several (module, term) pairs together, or use method="meta"',
        )
    designs = [inputs.design.matrix[equation.rows] for equation in equations]
    scales = np.array([_scale(e.estimate, X) for e, X in zip(equations, designs, strict=True)])
    z = np.concatenate([equation.estimate / scale for equation, scale in zip(equations, scales, strict=True)])
    group = np.concatenate([equation.rows for equation in equations])
    fit = random_intercept(z, block_diag(*designs), group)
    return _collect(inputs, fit, scales, len(z))


def _scale(y: np.ndarray, X: np.ndarray) -> float:
    """Return the residual standard deviation of a term's own regression."""
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return float(np.sqrt(residual @ residual / (X.shape[0] - X.shape[1])))


def _collect(inputs: GroupInputs, fit: RandomIntercept, scales: np.ndarray, n: int) -> GroupEstimates:
    p, equations = len(inputs.design.names), inputs.equations
    fixed, spread, covariances = [], [], {}
    for index, (equation, scale) in enumerate(zip(equations, scales, strict=True)):
        where = {"module": equation.module, "sparse_term": equation.sparse_term}
        block = slice(index * p, (index + 1) * p)
        covariances[equation.key] = scale**2 * fit.covariance[block, block]
        errors = np.sqrt(np.diag(covariances[equation.key]))
        df = np.minimum(fit.df[block], len(equation.rows) - p)
        rows = zip(inputs.design.names, scale * fit.beta[block], errors, df, strict=True)
        fixed += [{**where, "term": t, "estimate": b, "std_error": s, "df": d} for t, b, s, d in rows]
        for group, term, value in (
            ("participant", "sd__(Intercept)", fit.sd_group),
            ("Residual", "sd__Observation", fit.sd_residual),
        ):
            spread.append({**where, "group": group, "term": term, "estimate": scale * value})
    # back to the units of the estimates: Jacobian of the rows less that of the fixed effects' columns
    logs = np.log(scales)
    jacobian = float(sum((len(e.rows) - p) * log for e, log in zip(equations, logs, strict=True)))
    log_likelihood = fit.log_likelihood - jacobian
    parameters = len(fit.beta) + 1 + len(equations)
    participants = len(np.unique(np.concatenate([equation.rows for equation in equations])))
    glance = {
        "module": None,
        "sparse_term": None,
        "nobs": n,
        "n_excluded": len(inputs.table.participants) - participants,
        "share_unidentified": max(equation.share_unidentified for equation in equations),
        "df_residual": float(n - len(fit.beta)),
        "log_lik": log_likelihood,
        "aic": -2.0 * log_likelihood + 2.0 * parameters,
        "bic": -2.0 * log_likelihood + np.log(n) * parameters,
        "converged": fit.converged and bool(np.isfinite(fit.df).all()),
    }
    messages = (_WEIGHTS, _SINGULAR) if fit.singular else (_WEIGHTS,)
    return GroupEstimates(pd.DataFrame(fixed), pd.DataFrame(spread), pd.DataFrame([glance]), covariances, messages)


METHOD = Method(
    estimate,
    "mixed",
    "one mixed model of all coefficients with a random intercept per participant; ignores standard errors",
    needs_std_error=False,
)
