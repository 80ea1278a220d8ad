"""Standardised effect sizes: differences in standard deviations, standardised slopes, partial correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import norm

from spicestat._checks import check_level
from spicestat.errors import ConfigError
from spicestat.group.after.fitted import FittedEquation, FittedGroup, design_of, fitted_equations, t_interval

__all__ = ["hedges_correction", "partial_correlation", "standardised_effects"]

_KINDS = ("residual", "total", "partial_r")


def standardised_effects(
    model: FittedGroup,
    kind: str = "residual",
    *,
    small_sample: bool = False,
    conf_level: float | None = None,
    equations: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    r"""Return effects of covariates in units that can be compared over equations and studies.

    With b an effect, s its standard error, :math:`\nu` its degrees of freedom, and :math:`\tau` the standard
    deviation between participants that the covariates leave:

    - ``"residual"``: :math:`d = b / \tau`. For a factor this is Cohen's d with the within-group standard deviation,
      :math:`var(d) = s^2/\tau^2 + d^2 var(\tau)/\tau^2`; with :math:`\tau` from least squares this is
      :math:`1/n_1 + 1/n_2 + d^2 / (2 \nu)`, the large-sample variance of Hedges (1981).
    - ``"total"``: :math:`\beta^* = b s_x / T` with :math:`T^2 = \tau^2 + b'S_x b`, the variance of the
      participants' true coefficients over the sample's covariates. For a number :math:`s_x` is its standard
      deviation: the standardised regression coefficient. A factor has :math:`s_x = 1`. The delta method
      counts b (all of it, through T) and :math:`\tau`.
    - ``"partial_r"``: :math:`r = t / \sqrt{t^2 + \nu}`, with the interval of
      Fisher's z, whose standard error is :math:`1/\sqrt{\nu - 1}`; see `partial_correlation`.

    :math:`\tau` and T are of true coefficients, with the sampling error of the participants' estimates removed, for
    methods that know it ("meta", hierarchical). For "ols" and "mixed" they contain it, so that the effects are
    too small. With a link, all are on the link scale.

    Parameters
    ----------
    model : GroupResult
        From `spice_group`.
    kind : {"residual", "total", "partial_r"}, default "residual"
        See above.
    small_sample : bool, default False
        For "residual": multiply effect and error by `hedges_correction`, which gives Hedges' g.
    conf_level : float, optional
        In (0, 1). Default: the model's.
    equations : sequence of (module, sparse_term), optional
        Default: all.

    Returns
    -------
    DataFrame
        ``module, sparse_term, term, kind, estimate, std_error, df, conf_low, conf_high, conf_level``; the
        intercept is left out. NaN where no spread between participants was found, as the effect is then infinite.

    Raises
    ------
    ConfigError
        An unknown kind, a small-sample correction of anything but "residual", or anything but "partial_r" of a model
        with random parts.

    References
    ----------
    Hedges (1981), https://doi.org/10.3102/10769986006002107;
    Nakagawa & Cuthill (2007), https://doi.org/10.1111/j.1469-185X.2007.00027.x.

    Examples
    --------
    >>> from spicestat.group import spice_group
    >>> people = pd.DataFrame({"participant": range(6), "ill": ["no", "yes"] * 3, "age": [20, 30, 25, 45, 38, 50]})
    >>> table = people[["participant"]].assign(module="x_value", term="reward", std_error=0.05,
    ...                                        estimate=[0.31, 0.42, 0.28, 0.55, 0.47, 0.61])
    >>> group = spice_group(table, "~ ill + age", data=people)
    >>> standardised_effects(group, "partial_r")[["term", "estimate"]].round(3).to_dict("list")
    {'term': ['illyes', 'age'], 'estimate': [0.509, 0.953]}
    """
    if kind not in _KINDS:
        raise ConfigError("unknown standardised effect", got=kind, allowed=", ".join(map(repr, _KINDS)))
    if small_sample and kind != "residual":
        raise ConfigError("the small-sample correction is for kind='residual'", got=kind)
    if kind != "partial_r" and design_of(model).has_random_parts:
        raise ConfigError(
            f"with random parts there is no single spread between participants for kind='{kind}'",
            do='pass kind="partial_r", or divide by a standard deviation of tidy("ran_pars")',
        )
    level = model.conf_level if conf_level is None else check_level(conf_level)
    frames = [_effects(equation, model, kind, small_sample, level) for equation in fitted_equations(model, equations)]
    return pd.concat(frames, ignore_index=True)


def hedges_correction(df: np.ndarray) -> np.ndarray:
    r"""Return the factor by which Cohen's d is too large in small samples.

    .. math:: J(\nu) = \frac{\Gamma(\nu/2)}{\sqrt{\nu/2} \, \Gamma((\nu - 1)/2)} \approx 1 - \frac{3}{4\nu - 1}

    References
    ----------
    Hedges (1981), https://doi.org/10.3102/10769986006002107.

    Examples
    --------
    >>> hedges_correction(np.array([10.0, np.inf])).round(4).tolist()
    [0.9227, 1.0]
    """
    nu = np.asarray(df, dtype="float64")
    finite = np.where(np.isfinite(nu), nu, 2.0)
    factor = np.exp(gammaln(finite / 2.0) - gammaln((finite - 1.0) / 2.0)) / np.sqrt(finite / 2.0)
    return np.where(np.isfinite(nu), factor, 1.0)


def partial_correlation(
    statistic: np.ndarray, df: np.ndarray, conf_level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Return partial correlations, their standard errors and interval limits from t statistics.

    :math:`r = t / \sqrt{t^2 + \nu}`, with standard error :math:`(1 - r^2)/\sqrt{\nu - 1}` and limits
    :math:`\tanh(\mathrm{atanh}\, r \pm q / \sqrt{\nu - 1})`. With k other covariates, :math:`\nu - 1 = n - k - 3`.

    References
    ----------
    Nakagawa & Cuthill (2007), https://doi.org/10.1111/j.1469-185X.2007.00027.x.

    Examples
    --------
    >>> [round(value.item(), 3) for value in partial_correlation(np.array([2.0]), np.array([28.0]))]
    [0.354, 0.168, -0.008, 0.633]
    """
    nu = np.asarray(df, dtype="float64")
    known = np.isfinite(nu) & (nu > 1.0)
    room = np.where(known, nu, np.nan)
    r = statistic / np.sqrt(statistic**2 + room)
    error = 1.0 / np.sqrt(room - 1.0)
    half = norm.ppf(0.5 + check_level(conf_level) / 2.0) * error
    z = np.arctanh(r)
    return r, (1.0 - r**2) * error, np.tanh(z - half), np.tanh(z + half)


def _effects(
    equation: FittedEquation, model: FittedGroup, kind: str, small_sample: bool, conf_level: float
) -> pd.DataFrame:
    shown = [column for column, name in enumerate(equation.names) if name != "(Intercept)"]
    df = equation.df[shown]
    if kind == "partial_r":
        statistic = equation.beta / np.sqrt(np.diag(equation.covariance))
        estimate, error, low, high = partial_correlation(statistic[shown], df, conf_level)
    else:
        if kind == "residual":
            estimate, error = _by_residual(equation)
        else:
            estimate, error = _by_total(equation, design_of(model).matrix, design_of(model).column_scales)
        estimate, error = estimate[shown], error[shown]
        if small_sample:
            factor = hedges_correction(df)
            estimate, error = factor * estimate, factor * error
        low, high = t_interval(estimate, error, df, conf_level)
    if equation.withheld:
        low, high = np.full(len(shown), np.nan), np.full(len(shown), np.nan)
    return pd.DataFrame(
        {
            "module": equation.module,
            "sparse_term": equation.sparse_term,
            "term": [equation.names[column] for column in shown],
            "kind": kind,
            "estimate": estimate,
            "std_error": error,
            "df": df,
            "conf_low": low,
            "conf_high": high,
            "conf_level": conf_level,
        }
    )


def _by_residual(equation: FittedEquation) -> tuple[np.ndarray, np.ndarray]:
    spread = equation.spread if equation.spread > 0 else np.nan
    d = equation.beta / spread
    relative = equation.spread_error / spread
    return d, np.sqrt(np.diag(equation.covariance) / spread**2 + (d * relative) ** 2)


def _by_total(equation: FittedEquation, X: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return b s_x / T and its error; T depends on all effects and on the spread."""
    centred = X - X.mean(axis=0)
    moments = centred.T @ centred / (len(X) - 1)
    beta, spread = equation.beta, equation.spread
    total = float(np.sqrt(spread**2 + beta @ moments @ beta))
    if not total > 0:
        nothing = np.full(len(beta), np.nan)
        return nothing, nothing
    estimate = scales * beta / total
    jacobian = np.diag(scales / total) - np.outer(estimate, moments @ beta) / total**2
    # tau at zero has no error of its own scale, but then T does not depend on it to first order
    by_spread = 0.0 if spread == 0 else spread * equation.spread_error / total**2
    variance = np.einsum("ij,jk,ik->i", jacobian, equation.covariance, jacobian) + (estimate * by_spread) ** 2
    return estimate, np.sqrt(variance)
