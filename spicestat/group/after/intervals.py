"""Intervals of a group model at any level, computed as the method computes its own."""

from __future__ import annotations

import numpy as np

from spicestat._checks import check_level
from spicestat.group.after.fitted import FittedGroup, design_of, table_of
from spicestat.group.inference.rows import intervals
from spicestat.group.inputs.contract import Posterior
from spicestat.group.numerics.firth import profile_intervals

__all__ = ["intervals_at"]

_CORRELATION = "cor__(Intercept)."


def intervals_at(model: FittedGroup, conf_level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper limits of all rows of a result, fixed and random, NaN where the fit has none.

    Effects on presence have profile intervals, sampled parameters quantiles of their draws, and all others t
    intervals.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    conf_level : float
        In (0, 1).
    """
    level, rows = check_level(conf_level), model.coefficients
    low, high = intervals(rows, level)
    shown = rows["conf_low"].notna().to_numpy()
    for row, limits in {**_profiled(model, level), **_sampled(model, level)}.items():
        low[row], high[row] = limits if shown[row] else (np.nan, np.nan)
    return low, high


def _profiled(model: FittedGroup, level: float) -> dict[int, tuple[float, float]]:
    """Return limits of the effects on who has a term, by row."""
    rows = model.coefficients
    of_presence = (rows["effect"] == "fixed") & ((rows["group"] == "presence") | (model.method == "presence"))
    found: dict[int, tuple[float, float]] = {}
    for (module, term), own in rows[of_presence].groupby(["module", "sparse_term"], sort=False):
        design = design_of(model)
        present = table_of(model).wide("selected")[(module, term)].to_numpy(dtype="float64")[design.rows]
        low, high = profile_intervals(present, design.matrix, level)
        for name, row in zip(own["term"], rows.index.get_indexer(own.index), strict=True):
            found[int(row)] = (float(low[design.names.index(name)]), float(high[design.names.index(name)]))
    return found


def _sampled(model: FittedGroup, level: float) -> dict[int, tuple[float, float]]:
    """Return equal-tailed limits of all parameters that were sampled, by row."""
    if model.posterior is None or model.joint_covariance is None:
        return {}
    keys = list(dict.fromkeys((module, term) for module, term, _ in model.joint_covariance.index))
    names = list(dict.fromkeys(name for _, _, name in model.joint_covariance.index))
    found = {}
    rows = model.coefficients[["module", "sparse_term", "term", "effect"]].itertuples(index=False, name=None)
    for row, (module, term, parameter, effect) in enumerate(rows):
        place = keys.index((module, term))
        if effect == "fixed":
            draws = _draws(model.posterior, "fixed")[..., names.index(parameter), place]
        elif parameter.startswith(_CORRELATION):
            other = [":".join(key) for key in keys].index(parameter.removeprefix(_CORRELATION))
            draws = _draws(model.posterior, "correlation")[..., place, other]
        else:
            draws = _draws(model.posterior, "sd")[..., place]
        low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0])
        found[row] = (float(low), float(high))
    return found


def _draws(posterior: Posterior, name: str) -> np.ndarray:
    """Return draws of shape (chains, draws, ...)."""
    return np.asarray(posterior.inference_data.posterior[name].to_numpy())
