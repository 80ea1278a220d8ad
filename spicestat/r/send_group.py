"""Group models as tables in the column protocol, on their way to R."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError, DataError
from spicestat.r.send_fit import encoded

__all__ = ["group_tables"]


def group_tables(result: Any) -> dict[str, Any]:
    """Return what R knows of a `spicestat.group.GroupResult`.

    ``coefficients, covariance, glance, skipped`` and ``messages`` are always there. What only some methods give:
    ``ran_vals`` (participants' deviations), ``joint_covariance`` (columns ``module, sparse_term, term`` and one per
    effect), ``participants`` (the augmented data, with the covariates), ``draws`` and ``log_likelihood``.
    """
    return encoded(
        {
            "coefficients": result.coefficients,
            "covariance": _long_covariance(result.covariance),
            "glance": result.glance(),
            "skipped": result.skipped,
            "messages": pd.DataFrame({"message": list(result.messages)}, dtype=object),
            "ran_vals": result.ran_vals,
            "joint_covariance": _labelled_covariance(result.joint_covariance),
            "participants": _augmented(result),
            **_posterior(result),
        }
    )


def _posterior(result: Any) -> dict[str, pd.DataFrame]:
    """Return the draws of a Bayesian model, and the log likelihood of each participant's data in each of them.

    Tables have the columns ``.chain`` and ``.iteration``, from 1, and one per parameter (``module:term:covariate``,
    ``sd__module:term``, ``cor__module:term.module:term``) or participant.
    """
    posterior = getattr(result, "posterior", None)
    if posterior is None:
        return {}
    drawn, likelihood = posterior.inference_data.posterior, posterior.inference_data.log_likelihood["data"]
    labels = [str(label) for label in drawn["equation_term"].values]
    columns = _where(likelihood.shape[:2])
    for place, label in enumerate(labels):
        for row, covariate in enumerate(drawn["covariate"].values):
            columns[f"{label}:{covariate}"] = drawn["fixed"].values[:, :, row, place].ravel()
    for place, label in enumerate(labels):
        columns[f"sd__{label}"] = drawn["sd"].values[:, :, place].ravel()
    if "correlation" in drawn:
        for one, other in combinations(range(len(labels)), 2):
            values = drawn["correlation"].values[:, :, one, other]
            columns[f"cor__{labels[one]}.{labels[other]}"] = values.ravel()
    by_person = np.moveaxis(likelihood.values, 2, 0)
    people = {str(label): own.ravel() for label, own in zip(drawn["participant"].values, by_person, strict=True)}
    return {
        "draws": pd.DataFrame(columns),
        "log_likelihood": pd.DataFrame({**_where(likelihood.shape[:2]), **people}),
    }


def _where(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return chain and iteration of each draw.

    Examples
    --------
    >>> {name: values.tolist() for name, values in _where((2, 2)).items()}
    {'.chain': [1, 1, 2, 2], '.iteration': [1, 2, 1, 2]}
    """
    chain, iteration = np.indices(shape) + 1
    return {".chain": chain.ravel(), ".iteration": iteration.ravel()}


def _augmented(result: Any) -> pd.DataFrame | None:
    """Return one row per participant and equation, or None where the method has no fitted values of participants."""
    try:
        frame: pd.DataFrame = result.augment()
    except (ConfigError, DataError):
        return None
    return frame


def _labelled_covariance(joint: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the covariance of all effects as columns ``module, sparse_term, term`` and one per effect.

    Examples
    --------
    >>> index = pd.MultiIndex.from_tuples([("beta", "x", "age")], names=["module", "sparse_term", "term"])
    >>> _labelled_covariance(pd.DataFrame([[0.5]], index=index, columns=index)).to_dict("records")
    [{'module': 'beta', 'sparse_term': 'x', 'term': 'age', 'effect0': 0.5}]
    """
    if joint is None:
        return None
    labels = pd.DataFrame(list(joint.index), columns=["module", "sparse_term", "term"])
    values = pd.DataFrame(joint.to_numpy(), columns=[f"effect{k}" for k in range(len(joint))])
    return pd.concat([labels, values], axis=1)


def _long_covariance(blocks: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Return the covariance of each equation's effects as ``module, sparse_term, row, column, value``.

    Examples
    --------
    >>> block = pd.DataFrame([[0.5]], index=["age"], columns=["age"])
    >>> _long_covariance({("beta", "x"): block}).to_dict("records")
    [{'module': 'beta', 'sparse_term': 'x', 'row': 'age', 'column': 'age', 'value': 0.5}]
    """
    entries = [
        (module, sparse_term, str(row), str(column), float(value))
        for (module, sparse_term), block in blocks.items()
        for row, values in zip(block.index, block.to_numpy(), strict=True)
        for column, value in zip(block.columns, values, strict=True)
    ]
    return pd.DataFrame(entries, columns=["module", "sparse_term", "row", "column", "value"])
