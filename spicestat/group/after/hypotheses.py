"""Tests of a group model's effects: of terms, of linear hypotheses, in each equation or in all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import f as fisher

from spicestat.errors import ConfigError
from spicestat.group.after.fitted import FittedEquation, FittedGroup, design_of, fitted_equations, t_interval, t_test
from spicestat.group.inference.multiplicity import adjust_families, adjust_p_values

__all__ = ["covariates_together", "equation_f", "hotelling_f", "linear_hypotheses", "term_tests", "wald_f"]


def term_tests(
    model: FittedGroup,
    *,
    across: bool = False,
    adjust: str = "BH",
    equations: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    """Test each term of the formula: that all its columns have no effect, in each equation or in all together.

    A factor of k levels is tested with k - 1 numerator degrees of freedom. With an interaction in the
    formula, the test of a main effect is about the reference level of the other covariate, as it is in R's
    ``car::Anova(., type = 3)`` with treatment contrasts; for the effect averaged over the other's
    levels use `joint_contrasts`.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    across : bool, default False
        Whether to test that a term has no effect on any of the equations' coefficients, with one test for all of
        them: the question whether a covariate has to do with behaviour at all. Weights of correlated states share
        what is known, and may each be uncertain where together they are not. See `hotelling_f`; with degrees of
        freedom that differ between equations the smallest count.
    adjust : {"BH", "BY", "holm", "bonferroni", "none"}, default "BH"
        A family is one term over all equations, as in `spice_group`.
    equations : sequence of (module, sparse_term), optional
        Default: all.

    Returns
    -------
    DataFrame
        ``module, sparse_term`` (None across equations), ``term, df_num, df, statistic, p_value, p_adjusted``.

    Raises
    ------
    ConfigError
        ``across`` equations whose covariance the method does not give.

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
    design, fitted = design_of(model), fitted_equations(model, equations)
    everywhere = _across(model, fitted) if across else None
    rows: list[dict[str, Any]] = []
    for term, columns in design.terms.items():
        names = [design.names[column] for column in columns]
        if everywhere is not None:
            found = _multivariate(everywhere, names)
            rows.append({"module": None, "sparse_term": None, "term": term, **found})
            continue
        weights = np.eye(len(design.names))[list(columns)]
        for equation in fitted:
            where = {"module": equation.module, "sparse_term": equation.sparse_term, "term": term}
            rows.append({**where, **equation_f(equation, weights)})
    table = pd.DataFrame(rows)
    p_values = table["p_value"].to_numpy(dtype="float64")
    return table.assign(p_adjusted=adjust_families(p_values, table["term"].tolist(), adjust))


def covariates_together(model: FittedGroup) -> pd.DataFrame:
    """Test each covariate for all coefficients together, as `term_tests` does; no rows where there is no such test.

    There is none for a single coefficient, by methods that estimate each alone, and where p-values are withheld or,
    as of a posterior, do not exist.
    """
    fixed = model.coefficients[model.coefficients["effect"] == "fixed"]
    equations = fixed[["module", "sparse_term"]].drop_duplicates()
    if model.joint_covariance is None or model.design is None or len(equations) < 2 or fixed["p_value"].isna().all():
        return pd.DataFrame(columns=["term", "df_num", "df", "statistic", "p_value"])
    return term_tests(model, across=True).query("term != '(Intercept)'").dropna(subset="p_value")


def hotelling_f(wald: float, n_outcomes: int, n_effects: int, df: float) -> tuple[float, float, float]:
    r"""Return the F statistic, its denominator degrees of freedom and the p-value of a multivariate Wald statistic.

    Of :math:`W = e\,\mathrm{tr}(HE^{-1})`, k outcomes and q effects with e degrees of freedom of the error,

    .. math::
        F = \frac{W}{e} \frac{(e - k - 1) D}{kq (D - 2)} \sim F_{kq, D}, \quad
        D = 4 + \frac{kq + 2}{B - 1}, \quad B = \frac{(e + q - k - 1)(e - 1)}{(e - k - 3)(e - k)}

    (McKeon 1974, doi:10.1093/biomet/61.2.381). One effect gives Hotelling's test, and one outcome the usual F test,
    both exactly.

    Parameters
    ----------
    wald : float
        W, 0 or more.
    n_outcomes, n_effects : int
        k and q, at least 1.
    df : float
        e; unless it exceeds k + 3 there is no test (NaN). Infinity gives a chi-squared test.

    Examples
    --------
    >>> [round(value, 4) for value in hotelling_f(12.0, 3, 1, 30.0)]
    [3.7333, 28.0, 0.0225]
    """
    k, q = n_outcomes, n_effects
    if not np.isfinite(df):
        return wald / (k * q), df, float(fisher.sf(wald / (k * q), k * q, 1e12))
    if df <= k + 3:
        return np.nan, np.nan, np.nan
    excess = (df + q - k - 1) * (df - 1) / ((df - k - 3) * (df - k)) - 1.0
    den = 4.0 + (k * q + 2.0) / excess
    statistic = wald / df * (df - k - 1) * den / (k * q * (den - 2.0))
    return statistic, den, float(fisher.sf(statistic, k * q, den))


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
    fitted = [_across(model, fitted_equations(model))] if across == {True} else fitted_equations(model, equations)
    rows = []
    for equation in fitted:
        names = [str(name) for name in equation.names] if across == {False} else list(equation.names)
        weights = _weight_matrix(hypotheses, names)
        where = {"module": equation.module or None, "sparse_term": equation.sparse_term or None}
        if joint:
            rows.append(pd.DataFrame([{**where, **equation_f(equation, weights, right)}]))
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


def _multivariate(everywhere: FittedEquation, names: Sequence[str]) -> dict[str, Any]:
    """Test that effects of these names are 0 in all equations that have them."""
    own = [place for place, name in enumerate(everywhere.names) if name[-1] in names]
    if not own:
        return {"df_num": 0, "df": np.nan, "statistic": np.nan, "p_value": np.nan}
    n_outcomes = len(own) // len(names)
    covariance, df = everywhere.covariance[np.ix_(own, own)], float(np.min(everywhere.df[own]))
    single, df_num, _ = wald_f(everywhere.beta[own], covariance, df)
    statistic, df, p_value = hotelling_f(single * df_num, n_outcomes, len(names), df)
    return {"df_num": df_num, "df": df, "statistic": statistic, "p_value": np.nan if everywhere.withheld else p_value}


def equation_f(equation: FittedEquation, weights: np.ndarray, right: np.ndarray | None = None) -> dict[str, Any]:
    """Test that linear functions ``weights`` (q, p) of an equation's effects are ``right`` (q,), by default 0."""
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


def _across(model: FittedGroup, fitted: Sequence[FittedEquation]) -> FittedEquation:
    """Return all equations' effects as one, named by (module, sparse_term, term)."""
    joint = model.joint_covariance
    if joint is None:
        raise ConfigError(
            "the method gives no covariance between equations, so they cannot be compared",
            do='use method="hierarchical" or "multivariate_meta"',
        )
    names = [(*equation.key, name) for equation in fitted for name in equation.names]
    # covariates that are kept off a coefficient have no effect on it to test
    free = np.array([name in joint.index for name in names])
    names = [name for name, kept in zip(names, free, strict=True) if kept]
    return FittedEquation(
        "",
        "",
        tuple(names),  # type: ignore[arg-type]
        np.concatenate([equation.beta for equation in fitted])[free],
        joint.loc[names, names].to_numpy(dtype="float64"),
        np.concatenate([equation.df for equation in fitted])[free],
        fitted[0].link,
        any(equation.withheld for equation in fitted),
        np.nan,
        np.nan,
    )
