"""Tables of a group model that estimates all coefficients jointly, with the same covariates on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat.group.inputs.contract import GroupEstimates

__all__ = ["JointModel", "joint_estimates"]


@dataclass(frozen=True)
class JointModel:
    """A joint model of d coefficients of n participants on p covariates.

    Attributes
    ----------
    terms : sequence of (module, sparse_term), length d
    names : sequence of str, length p
        The covariates.
    beta : ndarray of shape (d, p)
    covariance : ndarray of shape (d * p, d * p)
        Of ``beta.ravel()``.
    df : ndarray of shape (d,)
    sigma : ndarray of shape (d, d)
    participants : sequence of length n
    deviations, deviation_errors : ndarray of shape (n, d)
    """

    terms: Sequence[tuple[str, str]]
    names: Sequence[str]
    beta: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    sigma: np.ndarray
    participants: Sequence[Any]
    deviations: np.ndarray
    deviation_errors: np.ndarray


def joint_estimates(
    model: JointModel,
    glance: Mapping[str, object],
    *,
    messages: tuple[str, ...] = (),
) -> GroupEstimates:
    """Lay a joint model out as tables; ``glance`` is its one row, less ``module`` and ``sparse_term``.

    Examples
    --------
    >>> model = JointModel([("beta", "x")], ["(Intercept)"], np.array([[3.0]]), np.array([[0.04]]), np.array([9.0]),
    ...     np.array([[0.25]]), ["a"], np.zeros((1, 1)), np.ones((1, 1)))
    >>> tables = joint_estimates(model, {"converged": True})
    >>> tables.fixed["std_error"].tolist(), tables.ran_pars["estimate"].tolist()
    ([0.2], [0.5])
    """
    p = len(model.names)
    index = pd.MultiIndex.from_tuples(
        [(*term, name) for term in model.terms for name in model.names], names=["module", "sparse_term", "term"]
    )
    fixed = index.to_frame(index=False).assign(
        estimate=model.beta.ravel(), std_error=np.sqrt(np.diag(model.covariance)), df=np.repeat(model.df, p)
    )
    return GroupEstimates(
        fixed=fixed,
        ran_pars=_ran_pars(model),
        glance=pd.DataFrame([{"module": None, "sparse_term": None, **glance}]),
        covariance={
            term: model.covariance[k * p : (k + 1) * p, k * p : (k + 1) * p] for k, term in enumerate(model.terms)
        },
        messages=messages,
        ran_vals=_ran_vals(model),
        joint_covariance=pd.DataFrame(model.covariance, index=index, columns=index),
    )


def _ran_pars(model: JointModel) -> pd.DataFrame:
    spread = np.sqrt(np.diag(model.sigma).clip(0.0))
    product = np.outer(spread, spread)
    correlation = np.divide(model.sigma, product, out=np.full(product.shape, np.nan), where=product > 0)
    rows = []
    for k, (module, sparse_term) in enumerate(model.terms):
        where = {"module": module, "sparse_term": sparse_term, "group": "participant"}
        rows.append({**where, "term": "sd__(Intercept)", "estimate": spread[k]})
        for j in range(k + 1, len(model.terms)):
            other = ":".join(model.terms[j])
            rows.append({**where, "term": f"cor__(Intercept).{other}", "estimate": correlation[k, j].clip(-1.0, 1.0)})
    return pd.DataFrame(rows)


def _ran_vals(model: JointModel) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "module": module,
                    "sparse_term": sparse_term,
                    "group": "participant",
                    "level": pd.Series(list(model.participants)),
                    "term": "(Intercept)",
                    "estimate": model.deviations[:, k],
                    "std_error": model.deviation_errors[:, k],
                }
            )
            for k, (module, sparse_term) in enumerate(model.terms)
        ],
        ignore_index=True,
    )
