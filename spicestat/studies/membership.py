"""Who uses which model: people's memberships, which only their choices tell, regressed on covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from scipy.stats import chi2

from spicestat.errors import DataError
from spicestat.group.formula.design import Design, too_few
from spicestat.group.numerics.penalised import Maximum, Point, likelihood_ratio, maximise, profile_limit

__all__ = ["Membership", "regress_membership"]


@dataclass(frozen=True, eq=False)
class Membership:
    """Memberships of n people in K models, by covariates.

    Attributes
    ----------
    effects : DataFrame
        One row per model but the first and column of the design: ``model, reference`` (the first model), ``term,
        estimate`` (the log odds of the model against the reference, per unit), ``std_error`` (missing where evidences
        say next to nothing), ``conf_low, conf_high, conf_level, p_value``.
    tests : DataFrame
        One row per term of the formula, such as all levels of a factor, on all models together: ``term, statistic, df,
        p_value``.
    probability : ndarray of shape (n, K)
        That each person uses each model, given evidence and covariates.
    converged : bool
    """

    effects: pd.DataFrame
    tests: pd.DataFrame
    probability: np.ndarray
    converged: bool


def regress_membership(evidence: pd.DataFrame, design: Design, conf_level: float = 0.95) -> Membership:
    r"""Regress on covariates which of K models people use, where only log evidences tell.

    Person i uses model k with probability :math:`\pi_{ik} \propto \exp(x_i'\beta_k)`, with :math:`\beta_1 = 0`, and
    the choices have the evidence :math:`e^{L_{ik}}`. Memberships are summed over, so that a person whom evidences do
    not tell counts as little as they say:

    .. math:: \ell^*(\beta) = \sum_i \log \sum_k \pi_{ik} e^{L_{ik}} + \tfrac12 \log |I(\beta)|

    with Firth's penalty, where I is the information if memberships were known. It keeps estimates finite, and where
    evidences leave no doubt about two models this is `firth_logistic` of the memberships. Standard errors come from
    the observed information without the penalty, tests from penalised likelihood ratios, intervals from their profiles.

    Parameters
    ----------
    evidence : DataFrame of shape (n, K)
        Log evidences in nats; columns are models.
    design : Design
        Of these people, row by row.
    conf_level : float, default 0.95

    Raises
    ------
    DataError
        Not more people than columns of the design.

    References
    ----------
    Stephan et al. (2009), https://doi.org/10.1016/j.neuroimage.2009.03.025; Firth (1993),
    https://doi.org/10.1093/biomet/80.1.27; Louis (1982), https://doi.org/10.1111/j.2517-6161.1982.tb01203.x.
    """
    n, p = design.matrix.shape
    if n <= p:
        raise DataError(too_few(n, p), do="use a simpler formula")
    values = evidence.to_numpy(dtype="float64")
    values = values - values.max(axis=1, keepdims=True)
    scale = np.sqrt(np.mean(design.matrix**2, axis=0))
    at = partial(_evaluate, values, design.matrix / scale)
    size = (values.shape[1] - 1) * p
    full = maximise(at, n, np.zeros(size), np.ones(size, dtype=bool))

    def without(tested: np.ndarray) -> Maximum:
        return maximise(at, n, np.where(tested, 0.0, full.beta), ~tested)

    column = np.arange(size) % p
    each = [without(tested) for tested in np.eye(size, dtype=bool)]
    together = [(name, np.isin(column, where)) for name, where in design.terms.items()]
    joint = [without(tested) for _, tested in together]
    target = full.point.value - 0.5 * float(chi2.ppf(conf_level, 1))
    low, high = ([profile_limit(at, n, full, k, side, target) for k in range(size)] for side in (-1.0, 1.0))
    sizes = np.tile(scale, size // p)
    models = [str(name) for name in evidence.columns]
    effects = pd.DataFrame(
        {
            "model": np.repeat(models[1:], p),
            "reference": models[0],
            "term": np.tile(design.names, size // p),
            "estimate": full.beta / sizes,
            "std_error": _std_errors(full) / sizes,
            "conf_low": np.array(low) / sizes,
            "conf_high": np.array(high) / sizes,
            "conf_level": conf_level,
            "p_value": chi2.sf([likelihood_ratio(full, other) for other in each], 1),
        }
    )
    tests = [
        (name, likelihood_ratio(full, other), int(tested.sum()))
        for (name, tested), other in zip(together, joint, strict=True)
    ]
    return Membership(
        effects,
        _test_table(tests),
        _memberships(values, design.matrix / scale, full.beta)[2],
        all(found.converged for found in (full, *each, *joint)),
    )


def _test_table(tests: Sequence[tuple[str, float, int]]) -> pd.DataFrame:
    rows = [(name, statistic, df, float(chi2.sf(statistic, df))) for name, statistic, df in tests]
    return pd.DataFrame(rows, columns=["term", "statistic", "df", "p_value"])


def _std_errors(full: Maximum) -> np.ndarray:
    values, vectors = np.linalg.eigh(full.point.curvature)
    known = values > 1e-8 * max(float(values.max()), 1e-300)
    variances = np.sum(vectors[:, known] ** 2 / values[known], axis=1)
    lost = np.sum(vectors[:, ~known] ** 2, axis=1) > 1e-8
    return np.where(lost, np.nan, np.sqrt(variances))


def _memberships(evidence: np.ndarray, X: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log likelihoods (n,), and probabilities (n, K) before and after the choices."""
    predicted = np.column_stack([np.zeros(len(X)), X @ beta.reshape(-1, X.shape[1]).T])
    before = predicted - logsumexp(predicted, axis=1, keepdims=True)
    total = logsumexp(before + evidence, axis=1)
    return total, np.exp(before), np.exp(before + evidence - total[:, None])


def _evaluate(evidence: np.ndarray, X: np.ndarray, beta: np.ndarray) -> Point:
    """Penalised log-likelihood and its slope; the curvature is the likelihood's own."""
    (n, p), size = X.shape, len(beta)
    total, before, after = _memberships(evidence, X, beta)
    pi, post, others = before[:, 1:], after[:, 1:], evidence.shape[1] - 1
    squares = (X[:, :, None] * X[:, None, :]).reshape(n, -1)

    def summed(spread: np.ndarray) -> np.ndarray:
        pairs = (spread.reshape(n, -1).T @ squares).reshape(others, others, p, p)
        return np.asarray(pairs.transpose(0, 2, 1, 3).reshape(size, size))

    information = summed(_spread(pi))
    sign, volume = np.linalg.slogdet(information)
    if sign <= 0 or not np.isfinite(volume):
        return Point(-np.inf, np.zeros(size), np.eye(size), np.eye(size))
    inverse = np.linalg.inv(information).reshape(others, p, others, p).transpose(0, 2, 1, 3)
    leverage = (squares @ inverse.reshape(others**2, -1).T).reshape(n, others, others)
    # tr(H dW / d eta_c) / 2, with the third cumulants of one draw from K models
    alone, along = np.einsum("naa->na", leverage), np.einsum("nab,nb->na", leverage, pi)
    both = np.sum(along * pi, axis=1, keepdims=True)
    bent = 0.5 * pi * (alone - np.sum(alone * pi, axis=1, keepdims=True) - 2.0 * along + 2.0 * both)
    gradient = ((post - pi + bent).T @ X).ravel()
    return Point(float(total.sum()) + 0.5 * float(volume), gradient, information, information - summed(_spread(post)))


def _spread(probability: np.ndarray) -> np.ndarray:
    """Covariances (n, K - 1, K - 1) of which model one draw is, from probabilities (n, K - 1) of all but the first."""
    pairs = probability[:, :, None] * probability[:, None, :]
    return np.asarray(probability[:, :, None] * np.eye(probability.shape[1]) - pairs)
