"""Contrasts of marginal means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import studentized_range

from spicestat.errors import ConfigError
from spicestat.group.after.fitted import FittedEquation, t_interval, t_test
from spicestat.group.after.hypotheses import equation_f
from spicestat.group.after.marginal_means import MarginalMeans
from spicestat.group.inference.multiplicity import adjust_families, adjust_p_values

__all__ = ["contrast_weights", "contrasts", "joint_contrasts"]

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
            found = equation_f(equation, weights @ means.weights[members])
            rows.append({"module": equation.module, "sparse_term": equation.sparse_term, **group, **found})
    table = pd.DataFrame(rows)
    return table.assign(p_adjusted=adjust_p_values(table["p_value"].to_numpy(dtype="float64"), adjust))


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


def _check(value: object, allowed: Sequence[str], name: str) -> None:
    if value not in allowed:
        raise ConfigError(f"`{name}` is unknown", got=value, allowed=", ".join(map(repr, allowed)))
