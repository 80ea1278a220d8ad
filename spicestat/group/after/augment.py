"""Participants as the group model sees them: fitted values, residuals, leverage and posterior means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spicestat.group.after.fitted import FittedEquation, FittedGroup, design_of, fitted_equations, table_of
from spicestat.trials.labels import label_key

__all__ = ["augment"]

_CELLS = ("estimate", "std_error", "selected", "converged", "at_bound")


def augment(model: FittedGroup) -> pd.DataFrame:
    r"""Return one row per participant and equation: the data, and what the model says about them.

    With weights :math:`w_i = 1 / m_i`, where :math:`m_i = \tau^2 + v_i` is the variance of an observed coefficient
    (or the residual variance, for methods that do not know :math:`v_i`), :math:`\hat\mu = X\hat\beta`,
    :math:`h_i = w_i x_i'(X'WX)^{-1} x_i` and :math:`e_i = y_i - \hat\mu_i`:

    - ``std_residual``: :math:`e_i / \sqrt{m_i (1 - h_i)}`, as ``rstandard`` of ``lm`` and metafor;
    - ``cooks_distance``: :math:`r_i^2 h_i / ((1 - h_i) p)` with r the standardised residual: the
      change of all fitted values without the participant, variances held where they are.

    For a model that was fitted to all equations together these are the diagnostics of each equation by itself. With a
    link, all of these are on the link scale, to which the observed estimates and :math:`v_i` are transformed (to
    first order); estimates at or beyond the edge of the link have none.

    Where the model is about the presence of a term, ``observed`` is 1 or 0, ``fitted`` the log odds,
    ``fitted_natural`` the probability :math:`\hat p_i`, ``residual`` is :math:`y_i - \hat p_i`, and the others follow
    with :math:`m_i = 1 / w_i` and :math:`w_i = \hat p_i (1 - \hat p_i)`, as ``rstandard(type = "pearson")`` and
    ``cooks.distance`` of a binomial ``glm``.

    Where the formula has random parts, estimates hang together, and ``std_residual``, ``hat`` and ``cooks_distance``
    are missing (NaN).

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.

    Returns
    -------
    DataFrame
        ``participant``, the covariates of the formula, ``module, sparse_term``; ``observed, std_error``: the
        participant's own estimate, on the link scale; ``used``: whether it entered the model;
        ``fitted, fitted_std_error, residual, std_residual, hat, cooks_distance``; ``posterior_mean,
        posterior_std_error``: the coefficient as the model estimates it, ``fitted`` plus the participant's
        deviation, where the method gives these; ``fitted_natural, posterior_natural``: the same on the
        coefficient's own scale; ``weight``, of hierarchical models: how probably the participant did not guess, and so
        how much their choices count. R shows the columns with dots, as broom does.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> augment(group)[["observed", "fitted", "hat"]].head(2).round(3).to_dict("list")
    {'observed': [0.31, 0.42], 'fitted': [0.279, 0.414], 'hat': [0.484, 0.683]}
    """
    design = design_of(model)
    labels = [table_of(model).participants[row] for row in design.rows]
    covariates = design.frame if design.frame is not None else pd.DataFrame(index=range(len(labels)))
    cells = {name: table_of(model).wide(name).iloc[design.rows] for name in _CELLS}
    ran_vals, weights = _deviations(model), _weights(model)
    frames = []
    for equation in fitted_equations(model):
        frame = pd.DataFrame({"participant": labels}).join(covariates.reset_index(drop=True))
        frame["module"], frame["sparse_term"] = equation.module, equation.sparse_term
        own = {name: wide[equation.key].to_numpy() for name, wide in cells.items()}
        own_ran_vals = None if ran_vals is None else ran_vals.get(equation.key, {})
        if equation.of_presence:
            columns = _presence_diagnostics(equation, design.matrix, own["selected"].astype(float))
        else:
            columns = _diagnostics(equation, design.matrix, own, _within(model, equation))
            if design.has_random_parts:
                columns |= {name: np.full(len(labels), np.nan) for name in ("std_residual", "hat", "cooks_distance")}
        posterior = _posterior(equation, columns["fitted"], labels, own_ran_vals)
        if own_ran_vals is not None:
            columns["used"] = np.isfinite(posterior["posterior_mean"])
        if weights is not None:
            columns["weight"] = np.array([weights.get(label_key(label), np.nan) for label in labels])
        frames.append(frame.assign(**columns, **posterior))
    return pd.concat(frames, ignore_index=True)


def _within(model: FittedGroup, equation: FittedEquation) -> bool:
    """Return whether the spread of an equation contains the sampling error."""
    rows = model.coefficients
    here = (rows["module"] == equation.module) & (rows["sparse_term"] == equation.sparse_term)
    return bool((rows.loc[here, "term"] == "sd__Observation").any())


def _diagnostics(
    equation: FittedEquation, X: np.ndarray, own: dict[str, np.ndarray], within: bool
) -> dict[str, np.ndarray]:
    observed, error = _on_link_scale(equation, own["estimate"].astype(float), own["std_error"].astype(float))
    usable = own["selected"].astype(bool) & own["converged"].astype(bool) & ~own["at_bound"].astype(bool)
    used = usable & np.isfinite(observed) & (within | (error > 0))
    fitted = X @ equation.beta
    variance = np.full(len(X), equation.spread**2) if within else equation.spread**2 + error**2
    residual = np.where(usable, observed - fitted, np.nan)
    return {
        "observed": np.where(own["selected"].astype(bool), observed, np.nan),
        "std_error": error,
        "used": used,
        "fitted": fitted,
        "fitted_std_error": _fitted_error(equation, X),
        "residual": residual,
        **_influence(X, residual, variance, used),
    }


def _presence_diagnostics(equation: FittedEquation, X: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
    fitted = X @ equation.beta
    probability = equation.link.to_natural(fitted)
    weight, used = probability * (1.0 - probability), np.ones(len(X), dtype=bool)
    return {
        "observed": present,
        "std_error": np.full(len(X), np.nan),
        "used": used,
        "fitted": fitted,
        "fitted_std_error": _fitted_error(equation, X),
        "residual": present - probability,
        # the working residuals, with their variances
        **_influence(X, (present - probability) / weight, 1.0 / weight, used),
    }


def _influence(X: np.ndarray, residual: np.ndarray, variance: np.ndarray, used: np.ndarray) -> dict[str, np.ndarray]:
    """Leverage of those who entered, standardised residuals and Cook's distances, each (n,)."""
    hat = np.full(len(X), np.nan)
    if used.sum() >= X.shape[1]:
        root = X[used] / np.sqrt(variance[used])[:, None]
        hat[used] = np.sum(np.linalg.qr(root)[0] ** 2, axis=1)
    # leverage 1: the participant alone determines an effect, and its residual is 0 whatever it did
    left = np.where(hat < 1.0 - 1e-10, 1.0 - hat, np.nan)
    standard = residual / np.sqrt(variance * left)
    return {"std_residual": standard, "hat": hat, "cooks_distance": standard**2 * hat / (left * X.shape[1])}


def _fitted_error(equation: FittedEquation, X: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.einsum("np,pq,nq->n", X, equation.covariance, X)))


def _on_link_scale(equation: FittedEquation, estimate: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if equation.link.name == "identity":
        return estimate, error
    observed = equation.link.to_unconstrained(estimate)
    # an estimate at or beyond the edge of the link's range has no place on its scale
    with np.errstate(over="ignore"):
        low, high = equation.link.to_natural(np.array([-np.inf, np.inf]))
    inside = (low < estimate) & (estimate < high)
    slope = np.where(inside, equation.link.derivative(observed), np.nan)
    return np.where(inside, observed, np.nan), error / slope


def _deviations(model: FittedGroup) -> dict[tuple[str, str], dict[str, tuple[float, float]]] | None:
    """Return each participant's deviation and its standard error, by equation and label."""
    if model.ran_vals is None:
        return None
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    own = model.ran_vals[model.ran_vals["term"] == "(Intercept)"]
    for row in own.itertuples(index=False):
        values = found.setdefault((str(row.module), str(row.sparse_term)), {})
        values[label_key(row.level)] = (float(row.estimate), float(row.std_error))  # type: ignore[arg-type]
    return found


def _weights(model: FittedGroup) -> dict[str, float] | None:
    """Return how much each participant counts, by label; None for methods that count all alike."""
    if model.ran_vals is None or "weight" not in model.ran_vals:
        return None
    own = model.ran_vals.drop_duplicates("level")
    return {label_key(label): float(weight) for label, weight in zip(own["level"], own["weight"], strict=True)}


def _posterior(
    equation: FittedEquation,
    fitted: np.ndarray,
    labels: list[object],
    ran_vals: dict[str, tuple[float, float]] | None,
) -> dict[str, np.ndarray]:
    nothing = (np.nan, np.nan)
    pairs = np.array([nothing if ran_vals is None else ran_vals.get(label_key(label), nothing) for label in labels])
    posterior = fitted + pairs[:, 0]
    return {
        "posterior_mean": posterior,
        "posterior_std_error": pairs[:, 1],
        "fitted_natural": equation.link.to_natural(fitted),
        "posterior_natural": equation.link.to_natural(posterior),
    }
