"""Group models that R sends back, and levels of a covariate whose rows of the design it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from spicestat.coefficients import CoefficientTable
from spicestat.group.after.kernel_curves import KernelLevels
from spicestat.group.result import GroupResult
from spicestat.r.columns import Table, decode_table
from spicestat.r.receive_design import received_design

__all__ = ["received_estimates", "received_levels", "received_refit"]

_EFFECT = ["module", "sparse_term", "term"]


def received_estimates(sent: Mapping[str, Any]) -> GroupResult:
    """Return what R keeps of a group model, without its design.

    Parameters
    ----------
    sent : mapping
        The texts ``formula`` and ``method``, the number ``conf_level``, the tables ``coefficients`` and, where the
        method has them, ``ran_vals`` and ``joint_covariance`` (one column for each fixed effect, in their order).

    Examples
    --------
    >>> def column(name, values, **text):
    ...     return {"name": name, "type": "string" if text else "double", "values": values, "na": [], **text}
    >>> coefficients = {"nrow": 1, "columns": [
    ...     column("module", [1.0], levels=["beta"]), column("sparse_term", [1.0], levels=["last"]),
    ...     column("term", [1.0], levels=["(Intercept)"]), column("effect", [1.0], levels=["fixed"]),
    ...     column("estimate", [0.5])]}
    >>> joint = {"nrow": 1, "columns": [column("V1", [0.04])]}
    >>> received_estimates({"formula": "~1", "method": "hierarchical", "conf_level": 0.95,
    ...     "coefficients": coefficients, "joint_covariance": joint}).joint_covariance.to_numpy().tolist()
    [[0.04]]
    """
    coefficients, ran_vals = decode_table(sent["coefficients"]), sent.get("ran_vals")
    joint = None
    if sent.get("joint_covariance") is not None:
        fixed = coefficients[coefficients["effect"] == "fixed"]
        index = pd.MultiIndex.from_frame(fixed[_EFFECT])
        joint = pd.DataFrame(_matrix(sent["joint_covariance"]), index=index, columns=index)
    return GroupResult(
        coefficients=coefficients,
        glance_frame=pd.DataFrame(),
        skipped=pd.DataFrame(),
        formula=str(sent["formula"]),
        method=str(sent["method"]),
        adjust="none",
        conf_level=float(sent["conf_level"]),
        ran_vals=None if ran_vals is None else decode_table(ran_vals),
        joint_covariance=joint,
        links={(str(module), str(term)): str(link) for module, term, link in sent.get("links", ())},
    )


def received_refit(sent: Mapping[str, Any], table: CoefficientTable) -> Callable[[Any], GroupResult]:
    """Return what fits a group model again as R had it fitted, to another fit of the same people.

    Parameters
    ----------
    sent : mapping
        ``design``, as `received_design` reads it, and ``options``, those of `spicestat.r.bridge.group`.
    table : CoefficientTable
        Whose participants the rows of the design are.
    """
    from spicestat.group.api import group_of_design

    options = dict(sent["options"])
    imputed = [received_design(one, table) for one in options.pop("imputed", [])]
    return partial(group_of_design, design=received_design(sent["design"], table), imputed=imputed, **options)


def received_levels(sent: Mapping[str, Any]) -> KernelLevels:
    """Return levels that R sent.

    Parameters
    ----------
    sent : mapping
        ``variable``, the lists ``labels``, ``names`` and ``contrasts``, and the tables ``rows`` and ``weights``.
    """
    labels, names, contrasts = (tuple(map(str, sent[name])) for name in ("labels", "names", "contrasts"))
    return KernelLevels(
        str(sent["variable"]), labels, _matrix(sent["rows"]), names, contrasts, _matrix(sent["weights"])
    )


def _matrix(sent: Table) -> np.ndarray:
    return decode_table(sent).to_numpy(dtype="float64")
