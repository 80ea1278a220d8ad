"""Group models as tables in the column protocol, on their way to R."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from spicestat.errors import ConfigError, DataError
from spicestat.r.send_fit import encoded

__all__ = ["group_tables"]


def group_tables(result: Any) -> dict[str, Any]:
    """Return what R knows of a `spicestat.group.GroupResult`.

    ``coefficients, covariance, glance, skipped`` and ``messages`` are always there. What only some methods give:
    ``ran_vals`` (participants' deviations), ``joint_covariance`` (columns ``module, sparse_term, term`` and one per
    effect) and ``participants`` (the augmented data, with the covariates).
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
        }
    )


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
