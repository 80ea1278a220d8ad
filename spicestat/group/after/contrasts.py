"""Contrasts of marginal means, and linear hypotheses about a group model's effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import f as fisher
from scipy.stats import studentized_range

from spicestat.errors import ConfigError
from spicestat.group.after.fitted import FittedEquation, FittedGroup, design_of, fitted_equations, t_interval, t_test
from spicestat.group.after.marginal_means import MarginalMeans
from spicestat.group.inference.multiplicity import adjust_families, adjust_p_values

__all__ = ["contrast_weights", "contrasts", "joint_contrasts", "linear_hypotheses", "term_tests", "wald_f"]

ContrastMethod = str | Mapping[str, Sequence[float]] | pd.DataFrame
_SCALES = ("link", "response", "ratio")
_FAMILIES = ("all", "equation")


def contrasts(
    means: MarginalMeans,
    method: ContrastMethod = "pairwise",
    *,
    reference: int | str = 0,
    scale: str = "link",
    adjust: str = "BH",
    family: str = "all",
) -> pd.DataFrame:
    r"""Compare marginal means within each equation and ``by`` group.

    With means :math:`m = L\hat\beta` and weights c, the contrast is :math:`c'm` with variance
    :math:`c'LVL'c` and a t test. Equal to ``emmeans::contrast``, of ``regrid(.)`` for ``scale="response"``.

    Parameters
    ----------
    means : MarginalMeans
        From `marginal_means`.
    method : {"pairwise", "revpairwise", "trt.vs.ctrl", "consec"}, mapping or DataFrame, default "pairwise"
        All differences "first - second" ("revpairwise": "second - first"), each level minus the ``reference``,
        each level minus the one before it, or weights: name to one weight per level, in the order of the means.
    reference : int or str, default 0
        Position or label of the control for "trt.vs.ctrl".
    scale : {"link", "response", "ratio"}, default "link"
        "response": differences of the means on the natural scale, where there is a link, with delta-method
        errors. "ratio": exponentials of the link-scale contrasts, which are odds ratios for the logit and
        ratios for the log link; the test is that on the link scale.
    adjust : {"BH", "BY", "holm", "bonferroni", "none", "tukey"}, default "BH"
        "tukey" is for all pairs, within each equation and ``by`` group (Tukey-Kramer).
    family : {"all", "equation"}, default "all"
        Tests that are adjusted together: all of the table, or those of an equation and ``by`` group
        (as emmeans does).

    Returns
    -------
    DataFrame
        ``module, sparse_term``, the ``by`` variables, ``contrast, estimate, std_error, df, statistic, p_value,
        p_adjusted, conf_low, conf_high, conf_level``. Intervals are not adjusted.

    Raises
    ------
    ConfigError
        An unknown setting, weights of the wrong length, or a ratio without a log or logit link.

    References
    ----------
    Kramer (1956), https://doi.org/10.2307/3001469.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> from spicestat.group.after.marginal_means import marginal_means
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> means = marginal_means(group, "ill")
    >>> contrasts(means, "revpairwise")[["contrast", "estimate"]].round(3).to_dict("list")
    {'contrast': ['yes - no'], 'estimate': [0.038]}
    """
    _check(scale, _SCALES, "scale")
    _check(family, _FAMILIES, "family")
    if adjust == "tukey" and method not in ("pairwise", "revpairwise"):
        raise ConfigError("the Tukey adjustment is for all pairs", got=f"method={method!r}")
    rows, group_sizes = [], []
    for equation in means.equations:
        for group, members in _groups(means):
            weights, names = contrast_weights(_labels(means, members), method, reference)
            frame = _contrast_rows(equation, weights, means.weights[members], scale, means.conf_level)
            frame.insert(0, "contrast", names)
            for place, (name, value) in enumerate(group.items()):
                frame.insert(place, name, value)
            frame.insert(0, "module", equation.module)
            frame.insert(1, "sparse_term", equation.sparse_term)
            rows.append(frame)
            group_sizes.append(len(members))
    table = pd.concat(rows, ignore_index=True)
    families = np.repeat(np.arange(len(rows)), [len(frame) for frame in rows])
    sizes = np.repeat(group_sizes, [len(frame) for frame in rows])
    table["p_adjusted"] = _adjusted(table, families if family == "equation" else 0 * families, sizes, adjust)
    order = [name for name in table if name not in ("conf_low", "conf_high", "conf_level")]
    return table[[*order, "conf_low", "conf_high", "conf_level"]]


def joint_contrasts(means: MarginalMeans, method: ContrastMethod = "pairwise", *, adjust: str = "BH") -> pd.DataFrame:
    """Test within each equation and ``by`` group that all contrasts are zero: an F test, on the link scale.

    Equal to ``test(contrast(.), joint = TRUE)`` of emmeans. With a factor's means and "pairwise" it is the
    test of that factor.

    Returns
    -------
    DataFrame
        ``module, sparse_term``, the ``by`` variables, ``df_num, df, statistic, p_value, p_adjusted``. The p-values
        of all rows are adjusted together.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> from spicestat.group.after.marginal_means import marginal_means
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> means = marginal_means(group, "ill")
    >>> joint_contrasts(means)[["df_num", "df"]].to_dict("list")
    {'df_num': [1], 'df': [3.0]}
    """
    rows: list[dict[str, Any]] = []
    for equation in means.equations:
        for group, members in _groups(means):
            weights, _ = contrast_weights(_labels(means, members), method, 0)
            found = _equation_f(equation, weights @ means.weights[members])
            rows.append({"module": equation.module, "sparse_term": equation.sparse_term, **group, **found})
    table = pd.DataFrame(rows)
    return table.assign(p_adjusted=adjust_p_values(table["p_value"].to_numpy(dtype="float64"), adjust))


def term_tests(
    model: FittedGroup, *, adjust: str = "BH", equations: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Test each term of the formula in each equation: that all its columns have no effect.

    A factor of k levels is tested with k - 1 numerator degrees of freedom. With an interaction in the
    formula, the test of a main effect is about the reference level of the other covariate, as it is in R's
    ``car::Anova(., type = 3)`` with treatment contrasts; for the effect averaged over the other's
    levels use `joint_contrasts`.

    Returns
    -------
    DataFrame
        ``module, sparse_term, term, df_num, df, statistic, p_value, p_adjusted``. A family is one term over all
        equations, as in `spice_group`.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> term_tests(group)[["term", "df_num", "df"]].to_dict("list")
    {'term': ['(Intercept)', 'ill', 'age'], 'df_num': [1, 1, 1], 'df': [3.0, 3.0, 3.0]}
    """
    rows: list[dict[str, Any]] = []
    identity = np.eye(len(design_of(model).names))
    for equation in fitted_equations(model, equations):
        for term, columns in design_of(model).terms.items():
            found = _equation_f(equation, identity[list(columns)])
            rows.append({"module": equation.module, "sparse_term": equation.sparse_term, "term": term, **found})
    table = pd.DataFrame(rows)
    p_values = table["p_value"].to_numpy(dtype="float64")
    return table.assign(p_adjusted=adjust_families(p_values, table["term"].tolist(), adjust))


def linear_hypotheses(
    model: FittedGroup,
    hypotheses: Mapping[str, Mapping[Any, float]],
    *,
    value: float | Mapping[str, float] = 0.0,
    joint: bool = False,
    adjust: str = "BH",
    equations: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    r"""Test linear functions of the effects: :math:`c'\beta = r`, each or all together.

    Together the statistic is :math:`F = (C\hat\beta - r)' (CVC')^{-1} (C\hat\beta - r) / q` with q the rank of C.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    hypotheses : mapping of name to weights
        Weights are a mapping of a term, as "diagnosishealthy", to a number: then the hypothesis is
        tested in every equation. Or of (module, sparse_term, term) to a number: then it is one hypothesis
        across equations, for which the method has to give the covariance between equations.
    value : float or mapping of name to float, default 0
        Value r under the null hypothesis.
    joint : bool, default False
        Whether to test all hypotheses with one F test.
    adjust : {"BH", "BY", "holm", "bonferroni", "none"}, default "BH"
        All tests of the table are one family.
    equations : sequence of (module, sparse_term), optional
        Default: all.

    Returns
    -------
    DataFrame
        ``module, sparse_term`` (None across equations), ``hypothesis, estimate, value, std_error, df, statistic,
        p_value, p_adjusted, conf_low, conf_high, conf_level``; with ``joint`` instead ``module, sparse_term, df_num,
        df, statistic, p_value, p_adjusted``.

    Raises
    ------
    ConfigError
        A term is unknown, or hypotheses within and across equations are mixed.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> linear_hypotheses(group, {"ten years": {"age": 10}})[["estimate", "df"]].round(3).to_dict("list")
    {'estimate': [0.096], 'df': [3.0]}
    """
    if not hypotheses or not all(hypotheses.values()):
        raise ConfigError("a hypothesis needs at least one weight", got=hypotheses)
    across = {isinstance(term, tuple) for weights in hypotheses.values() for term in weights}
    if len(across) > 1:
        raise ConfigError("hypotheses within and across equations cannot be mixed", do="test them in two calls")
    right = np.array([value.get(name, 0.0) if isinstance(value, Mapping) else value for name in hypotheses], float)
    fitted = [_across(model)] if across == {True} else fitted_equations(model, equations)
    rows = []
    for equation in fitted:
        names = [str(name) for name in equation.names] if across == {False} else list(equation.names)
        weights = _weight_matrix(hypotheses, names)
        where = {"module": equation.module or None, "sparse_term": equation.sparse_term or None}
        if joint:
            rows.append(pd.DataFrame([{**where, **_equation_f(equation, weights, right)}]))
        else:
            rows.append(_hypothesis_rows(equation, weights, list(hypotheses), right, model.conf_level).assign(**where))
    table = pd.concat(rows, ignore_index=True)
    table["p_adjusted"] = adjust_p_values(table["p_value"].to_numpy(dtype="float64"), adjust)
    shown = ["df_num"] if joint else ["hypothesis", "estimate", "value", "std_error"]
    ends = [] if joint else ["conf_low", "conf_high", "conf_level"]
    return table[["module", "sparse_term", *shown, "df", "statistic", "p_value", "p_adjusted", *ends]]


def wald_f(difference: np.ndarray, covariance: np.ndarray, df: float) -> tuple[float, int, float]:
    """Return the F statistic of q linear functions being zero, its numerator df (their rank) and the p-value.

    Parameters
    ----------
    difference : ndarray of shape (q,)
        Estimates less their values under the null hypothesis.
    covariance : ndarray of shape (q, q)
        Of the estimates; functions may be linearly dependent, as all pairwise differences are.
    df : float
        Denominator degrees of freedom.

    Examples
    --------
    >>> statistic, df_num, p_value = wald_f(np.array([1.0, 2.0]), np.eye(2), 10.0)
    >>> statistic, df_num, round(p_value, 4)
    (2.5, 2, 0.1317)
    """
    spread = np.sqrt(np.diag(covariance))
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        return np.nan, len(difference), np.nan
    root, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    kept = root > 1e-9 * root.max()
    df_num = int(kept.sum())
    projected = vectors[:, kept].T @ (difference / spread)
    statistic = float(np.sum(projected**2 / root[kept]) / df_num)
    # F with infinite denominator df is chi-squared over its df
    return statistic, df_num, float(fisher.sf(statistic, df_num, df if np.isfinite(df) else 1e12))


def contrast_weights(
    labels: Sequence[str], method: ContrastMethod, reference: int | str = 0
) -> tuple[np.ndarray, list[str]]:
    """Return contrast weights (q, g) of g means, and the contrasts' names.

    Examples
    --------
    >>> weights, names = contrast_weights(["a", "b", "c"], "trt.vs.ctrl", reference="b")
    >>> names, weights.tolist()
    (['a - b', 'c - b'], [[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])
    """
    if not isinstance(method, str):
        return _own_weights(labels, method)
    n = len(labels)
    if method == "pairwise":
        pairs = list(combinations(range(n), 2))
    elif method == "revpairwise":
        pairs = [(high, low) for high in range(n) for low in range(high)]
    elif method == "consec":
        pairs = [(later, later - 1) for later in range(1, n)]
    elif method == "trt.vs.ctrl":
        control = _position(labels, reference)
        pairs = [(level, control) for level in range(n) if level != control]
    else:
        raise ConfigError(
            "unknown contrasts", got=method, allowed='"pairwise", "revpairwise", "trt.vs.ctrl", "consec", or weights'
        )
    if not pairs:
        raise ConfigError("a contrast needs at least two means", got=f"{n} mean in each group")
    weights = np.zeros((len(pairs), n))
    for row, (plus, minus) in enumerate(pairs):
        weights[row, plus], weights[row, minus] = 1.0, -1.0
    return weights, [f"{labels[plus]} - {labels[minus]}" for plus, minus in pairs]


def _own_weights(
    labels: Sequence[str], method: Mapping[str, Sequence[float]] | pd.DataFrame
) -> tuple[np.ndarray, list[str]]:
    rows = dict(zip(method.index, method.to_numpy(), strict=True)) if isinstance(method, pd.DataFrame) else dict(method)
    if not rows or any(len(row) != len(labels) for row in rows.values()):
        raise ConfigError(
            "a contrast needs one weight per mean",
            got={str(name): len(row) for name, row in rows.items()},
            allowed=f"{len(labels)} weights, for {', '.join(labels)}",
        )
    return np.array([np.asarray(row, dtype="float64") for row in rows.values()]), [str(name) for name in rows]


def _position(labels: Sequence[str], reference: int | str) -> int:
    if isinstance(reference, str):
        if reference not in labels:
            raise ConfigError("the reference is not among the levels", got=reference, allowed=", ".join(labels))
        return list(labels).index(reference)
    if not -len(labels) <= reference < len(labels):
        raise ConfigError("the reference is not among the levels", got=reference, allowed=f"0 to {len(labels) - 1}")
    return reference % len(labels)


def _groups(means: MarginalMeans) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return the levels of the ``by`` variables, and the rows of the grid that have them."""
    if not means.by:
        return [({}, np.arange(len(means.grid)))]
    groups = means.grid[list(means.by)].drop_duplicates()
    found = []
    for values in groups.itertuples(index=False, name=None):
        group = dict(zip(means.by, values, strict=True))
        member = np.all([means.grid[name] == value for name, value in group.items()], axis=0)
        found.append((group, np.flatnonzero(member)))
    return found


def _labels(means: MarginalMeans, members: np.ndarray) -> list[str]:
    rows = means.grid.iloc[members][list(means.variables)].itertuples(index=False, name=None)
    words = [[value if isinstance(value, str) else f"{value:g}" for value in row] for row in rows]
    return [row[0] if len(row) == 1 else f"({', '.join(row)})" for row in words]


def _contrast_rows(
    equation: FittedEquation, weights: np.ndarray, linear: np.ndarray, scale: str, conf_level: float
) -> pd.DataFrame:
    if scale == "ratio" and equation.link.name not in ("log", "logit"):
        raise ConfigError(
            f"{equation.module} / {equation.sparse_term} has the {equation.link.name} link, which knows no ratios",
            do="leave it out by `equations`, or use another scale",
        )
    total = weights @ linear
    eta = linear @ equation.beta
    if scale == "response":
        means, gradient = equation.link.to_natural(eta), equation.link.derivative(eta)[:, None] * linear
        estimate, jacobian = weights @ means, weights @ gradient
    else:
        estimate, jacobian = total @ equation.beta, total
    error = np.sqrt(np.maximum(np.einsum("qp,pr,qr->q", jacobian, equation.covariance, jacobian), 0.0))
    df = equation.df_of(total)
    statistic, p_value = t_test(estimate, error, df)
    low, high = t_interval(estimate, error, df, conf_level)
    if scale == "ratio":
        estimate, low, high = np.exp(estimate), np.exp(low), np.exp(high)
        error = error * estimate
    if equation.withheld:
        p_value, low, high = (np.full(len(weights), np.nan) for _ in range(3))
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "df": df,
            "statistic": statistic,
            "p_value": p_value,
            "conf_low": low,
            "conf_high": high,
            "conf_level": conf_level,
        }
    )


def _adjusted(table: pd.DataFrame, families: np.ndarray, sizes: np.ndarray, adjust: str) -> np.ndarray:
    if adjust != "tukey":
        return adjust_families(table["p_value"].to_numpy(), families.tolist(), adjust)
    quantile = np.sqrt(2.0) * np.abs(table["statistic"].to_numpy())
    adjusted = studentized_range.sf(quantile, sizes, table["df"].to_numpy())
    return np.where(table["p_value"].isna(), np.nan, np.clip(adjusted, 0.0, 1.0))


def _equation_f(equation: FittedEquation, weights: np.ndarray, right: np.ndarray | None = None) -> dict[str, Any]:
    difference = weights @ equation.beta - (0.0 if right is None else right)
    df = float(np.min(equation.df_of(weights)))
    statistic, df_num, p_value = wald_f(difference, weights @ equation.covariance @ weights.T, df)
    return {"df_num": df_num, "df": df, "statistic": statistic, "p_value": np.nan if equation.withheld else p_value}


def _hypothesis_rows(
    equation: FittedEquation, weights: np.ndarray, names: list[str], right: np.ndarray, conf_level: float
) -> pd.DataFrame:
    estimate = weights @ equation.beta
    error = np.sqrt(np.maximum(np.einsum("qp,pr,qr->q", weights, equation.covariance, weights), 0.0))
    df = equation.df_of(weights)
    statistic, p_value = t_test(estimate - right, error, df)
    low, high = t_interval(estimate, error, df, conf_level)
    if equation.withheld:
        p_value, low, high = (np.full(len(weights), np.nan) for _ in range(3))
    columns = {"estimate": estimate, "value": right, "std_error": error, "df": df, "statistic": statistic}
    ends = {"p_value": p_value, "conf_low": low, "conf_high": high, "conf_level": conf_level}
    return pd.DataFrame({"hypothesis": names, **columns, **ends})


def _weight_matrix(hypotheses: Mapping[str, Mapping[Any, float]], names: list[Any]) -> np.ndarray:
    weights = np.zeros((len(hypotheses), len(names)))
    for row, (hypothesis, given) in enumerate(hypotheses.items()):
        for term, weight in given.items():
            if term not in names:
                raise ConfigError(f"hypothesis '{hypothesis}' names an unknown term", got=term, allowed=names)
            weights[row, names.index(term)] = float(weight)
    return weights


def _across(model: FittedGroup) -> FittedEquation:
    """Return all equations' effects as one, named by (module, sparse_term, term)."""
    joint = model.joint_covariance
    if joint is None:
        raise ConfigError(
            "the method gives no covariance between equations, so they cannot be compared",
            do='use method="hierarchical" or "multivariate_meta"',
        )
    fitted = fitted_equations(model)
    names = [(*equation.key, name) for equation in fitted for name in equation.names]
    return FittedEquation(
        "",
        "",
        tuple(names),  # type: ignore[arg-type]
        np.concatenate([equation.beta for equation in fitted]),
        joint.loc[names, names].to_numpy(dtype="float64"),
        np.concatenate([equation.df for equation in fitted]),
        fitted[0].link,
        any(equation.withheld for equation in fitted),
        np.nan,
        np.nan,
    )


def _check(value: object, allowed: Sequence[str], name: str) -> None:
    if value not in allowed:
        raise ConfigError(f"`{name}` is unknown", got=value, allowed=", ".join(map(repr, allowed)))
