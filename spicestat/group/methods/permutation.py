"""Freedman-Lane permutation tests of covariates, with the same permutations for all equations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from spicestat._checks import seed_number, whole_number
from spicestat.errors import ConfigError, CovariateError, DataError, NumericalError, ShapeError
from spicestat.group.formula.design import design_rank
from spicestat.group.inference.max_t import max_t_p_values, permutation_p_values
from spicestat.group.inputs.contract import Equation, GroupEstimates, GroupInputs
from spicestat.group.methods import meta, ols
from spicestat.group.methods.meta import meta_regression
from spicestat.group.methods.registry import Method
from spicestat.group.numerics.rearrangements import Rearrangements, permutation_rows, restrict_permutations, sign_flips

__all__ = ["STATISTICS", "Settings", "estimate", "freedman_lane", "METHOD"]

STATISTICS = ("meta", "hc3")
"""Which statistic the permutations are compared by."""

_CHUNK = 4_000_000
"""Numbers held at once while residuals are permuted."""


@dataclass(frozen=True)
class Settings:
    """Options of ``method="permutation"``.

    Attributes
    ----------
    n_permutations : int, default 9999
        Permutations to draw, at least 19. Where there are no more than this in all, every one is used and the
        test is exact.
    statistic : {"meta", "hc3"}, default "meta"
        ``"meta"``: estimates weighted by their precision, Knapp-Hartung t. ``"hc3"``: unweighted, t with
        HC3 standard errors, which needs no sampling variances.
    strata : str or None, default None
        A factor of the formula; only participants of the same level are exchanged.
    seed : int, default 0
        Which permutations are drawn.
    """

    n_permutations: int = 9999
    statistic: str = "meta"
    strata: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("n_permutations", self.n_permutations, 19)
        seed_number(self.seed)
        if self.statistic not in STATISTICS:
            raise ConfigError("unknown `statistic`", got=repr(self.statistic), allowed=", ".join(STATISTICS))
        if self.strata is not None and not isinstance(self.strata, str):
            raise ConfigError("`strata` is not a name", got=repr(self.strata), allowed="a factor of the formula")


def freedman_lane(
    y: np.ndarray,
    X: np.ndarray,
    tested: Sequence[int],
    rearrangements: Rearrangements,
    *,
    variance: np.ndarray | None = None,
) -> np.ndarray:
    r"""Return the statistic of some columns of a regression, observed (first) and permuted.

    The residuals of the reduced model, which has all columns but the tested ones, are permuted, and the full
    model is fitted to them (adding the reduced model's fit back would not change the statistic). With
    ``variance`` both models are first divided by :math:`\sqrt{v_i + \tau^2}`, which makes residuals of
    unequal precision exchangeable; :math:`\tau^2` is the reduced model's REML estimate and stays the
    same for all permutations, as it is estimated under the hypothesis that they are drawn from. The
    statistic is then the Knapp-Hartung t at that :math:`\tau^2`. Without ``variance`` it is t with the HC3
    standard error, so that permuting is asymptotically valid also where precisions differ
    (DiCiccio & Romano 2017). Several tested columns have the F statistic in place of t.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Estimates, one per participant.
    X : ndarray of shape (n, p)
        Design matrix of rank p < n.
    tested : sequence of int
        Columns of ``X``.
    rearrangements : Rearrangements of n participants
        Of `permutation_rows`; of `sign_flips` for a constant column, which permutations leave alone.
    variance : ndarray of shape (n,), optional
        Sampling variances, positive.

    Returns
    -------
    ndarray of shape (R,)
        t (signed) for one column, F for several.

    Raises
    ------
    ShapeError, DataError
        The arrays do not match or are not finite; the reduced model reproduces the estimates exactly; or
        (HC3) a participant alone determines a coefficient.

    References
    ----------
    Freedman & Lane (1983), https://doi.org/10.1080/07350015.1983.10509354;
    Winkler et al. (2014), https://doi.org/10.1016/j.neuroimage.2014.01.060;
    DiCiccio & Romano (2017), https://doi.org/10.1080/01621459.2016.1202117.

    Examples
    --------
    >>> x = np.array([0.0, 0, 0, 1, 1, 1])
    >>> y = np.array([1.0, 1.2, 0.9, 2.0, 2.3, 2.2])
    >>> t = freedman_lane(y, np.column_stack([np.ones(6), x]), [1], permutation_rows(6))
    >>> len(t), round(float(t[0]), 3)  # 2 of the 20 ways to form the groups are as extreme
    (720, 7.419)
    >>> float(permutation_p_values(np.abs(t)[:, None])[0])
    0.1
    """
    y, X, columns = _checked(y, X, tested, rearrangements, variance)
    if variance is not None:
        root = 1.0 / np.sqrt(np.asarray(variance, dtype="float64") + _null_tau2(y, variance, X, columns))
        y, X = y * root, X * root[:, None]
    basis = np.linalg.qr(np.delete(X, columns, axis=1))[0]
    residual = y - basis @ (basis.T @ y)
    # constant estimates end here too: nothing is left to permute
    if np.linalg.norm(residual) <= 1e-10 * np.linalg.norm(y):
        raise DataError("the covariates that are not tested reproduce the estimates exactly", got="no residuals")
    statistic = _t_ols if variance is not None else _t_hc3
    pieces = [statistic(piece, X, columns) for piece in _rearranged(residual, rearrangements.rows)]
    return np.concatenate(pieces)


def estimate(inputs: GroupInputs, settings: Settings | None = None) -> GroupEstimates:
    r"""Test each covariate in each equation by permuting participants.

    Estimates and standard errors are those of ``method="meta"`` (or ``"ols"`` with
    ``statistic="hc3"``); the p-values come from `freedman_lane`,
    :math:`p = (1 + \#\{|t^*_b| \ge |t|\}) / (B + 1)`. Intercepts are tested by flipping the residuals' signs, which
    takes them to be symmetric. Intervals are the t intervals of the estimates, not inverted permutation tests.

    All equations share the permutations, so that their dependence is kept: ``max_t`` holds the
    step-down Westfall-Young p-values, adjusted over all equations within each term of the formula, one for each row of
    ``fixed``.
    """
    chosen = Settings() if settings is None else settings
    fitted = meta.estimate(inputs) if chosen.statistic == "meta" else ols.estimate(inputs)
    fitted = replace(fitted, messages=(_message(chosen),))
    if fitted.fixed.empty:
        return fitted
    everyone = _everyones(inputs, chosen)
    names = list(inputs.design.names)
    keys = set(zip(fitted.fixed["module"], fitted.fixed["sparse_term"], strict=True))
    equations = [equation for equation in inputs.equations if equation.key in keys]
    raw, adjusted = np.empty((len(equations), len(names))), np.empty((len(equations), len(names)))
    for columns in inputs.design.terms.values():
        pieces = []
        for done, (equation, column) in enumerate(product(equations, columns), start=1 + columns[0] * len(equations)):
            pieces.append(np.abs(_equation_statistics(equation, inputs, column, everyone, chosen)))
            inputs.report(done, raw.size, f"covariate {column + 1} of {len(names)}")
        statistics = np.column_stack(pieces)
        raw[:, columns] = permutation_p_values(statistics).reshape(len(equations), -1)
        adjusted[:, columns] = max_t_p_values(statistics).reshape(len(equations), -1)
    return replace(
        fitted,
        fixed=fitted.fixed.assign(p_value=raw.ravel()),
        max_t=adjusted.ravel(),
        exact=everyone[0].exact,
    )


def _message(settings: Settings) -> str:
    within = "" if settings.strata is None else f" within the levels of '{settings.strata}'"
    return (
        f"p-values are those of Freedman-Lane permutation tests (up to {settings.n_permutations} permutations{within}, "
        f"seed {settings.seed}); intercepts are tested by sign flips. They hold for the estimates as given: if "
        "covariates were used to discover or estimate the equations, permute the whole pipeline instead."
    )


def _everyones(inputs: GroupInputs, settings: Settings) -> tuple[Rearrangements, Rearrangements]:
    """Return the permutations and the sign flips of the design's participants."""
    n = len(inputs.design.matrix)
    strata = None if settings.strata is None else _stratum_labels(inputs, settings.strata)
    return (
        permutation_rows(n, settings.n_permutations, seed=settings.seed, strata=strata),
        sign_flips(n, settings.n_permutations, seed=settings.seed),
    )


def _stratum_labels(inputs: GroupInputs, name: str) -> np.ndarray:
    levels = inputs.design.levels
    if name not in levels or inputs.design.frame is None:
        raise CovariateError(
            f"`strata` names '{name}', which is not a factor of the formula",
            allowed=", ".join(map(repr, levels)) or "(the formula has no factor)",
            do=f"add '{name}' to the formula, as strata belong into the model too",
        )
    return inputs.design.frame[name].astype(str).to_numpy(dtype=object)


def _equation_statistics(
    equation: Equation,
    inputs: GroupInputs,
    column: int,
    everyone: tuple[Rearrangements, Rearrangements],
    settings: Settings,
) -> np.ndarray:
    X = inputs.design.matrix[equation.rows]
    permuted, flipped = everyone
    if np.ptp(X[:, column]) == 0:
        own = Rearrangements(flipped.rows[:, equation.rows], flipped.exact)
    else:
        own = Rearrangements(restrict_permutations(permuted.rows, equation.rows), permuted.exact)
    variance = equation.variance if settings.statistic == "meta" else None
    return freedman_lane(equation.estimate, X, [column], own, variance=variance)


def _checked(
    y: np.ndarray,
    X: np.ndarray,
    tested: Sequence[int],
    rearrangements: Rearrangements,
    variance: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, X, columns = np.asarray(y, dtype="float64"), np.asarray(X, dtype="float64"), np.unique(tested).astype("int64")
    v = np.ones(y.shape) if variance is None else np.asarray(variance, dtype="float64")
    if X.ndim != 2 or y.shape != (len(X),) or v.shape != y.shape or rearrangements.rows.shape[1:] != y.shape:
        raise ShapeError(
            "y, X, the variances and the rearrangements do not match",
            got=(y.shape, X.shape, v.shape, rearrangements.rows.shape),
            allowed="(n,), (n, p), (n,), (R, n)",
        )
    if not (np.isfinite(y).all() and np.isfinite(X).all() and np.isfinite(v).all() and (v > 0).all()):
        raise DataError("y and X must be finite, variances positive", do="leave out participants without an estimate")
    n, p = X.shape
    if n <= p or design_rank(X) < p:
        raise DataError("the design matrix needs more participants than coefficients and full rank", got=X.shape)
    if not len(columns) or columns[0] < 0 or columns[-1] >= p:
        raise ShapeError("`tested` does not name columns of X", got=list(tested), allowed=f"0 to {p - 1}")
    return y, X, columns


def _null_tau2(y: np.ndarray, variance: np.ndarray, X: np.ndarray, columns: np.ndarray) -> float:
    """Return tau2 of the reduced model."""
    reduced = np.delete(X, columns, axis=1)
    if reduced.shape[1]:
        return meta_regression(y, variance, reduced).tau2
    # a mean of zero: the estimates and their mirror images around an intercept
    mirrored, both = np.append(y, -y), np.append(variance, variance)
    return meta_regression(mirrored, both, np.ones((len(mirrored), 1))).tau2


def _rearranged(residual: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rearranged residuals in pieces of shape (at most so many, n)."""
    size = max(1, _CHUNK // len(residual))
    for start in range(0, len(rows), size):
        piece = rows[start : start + size]
        yield residual[piece] if np.issubdtype(piece.dtype, np.integer) else residual * piece


def _t_ols(residuals: np.ndarray, X: np.ndarray, columns: np.ndarray) -> np.ndarray:
    n, p = X.shape
    coefficients, remainder, unscaled = _full_fit(residuals, X, columns)
    scale = np.sum(remainder * remainder, axis=1) / (n - p)
    wald = np.einsum("bj,jk,bk->b", coefficients, np.linalg.inv(unscaled), coefficients)
    return _signed(wald, scale, coefficients)


def _t_hc3(residuals: np.ndarray, X: np.ndarray, columns: np.ndarray) -> np.ndarray:
    leverage = np.sum(np.linalg.qr(X)[0] ** 2, axis=1)
    if (leverage > 1.0 - 1e-10).any():
        raise DataError("a participant alone determines a coefficient, so HC3 standard errors do not exist")
    coefficients, remainder, _ = _full_fit(residuals, X, columns)
    maker = _maker(X)[columns]
    scores = (remainder / (1.0 - leverage)) ** 2
    covariance = np.einsum("bi,ji,ki->bjk", scores, maker, maker, optimize=True)
    if len(columns) == 1:
        return _signed(coefficients[:, 0] ** 2, covariance[:, 0, 0], coefficients)
    try:
        solved = np.linalg.solve(covariance, coefficients[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError as error:
        raise NumericalError("a permutation leaves no residuals to test with", do="test fewer columns") from error
    return np.asarray(np.sum(coefficients * solved, axis=1) / len(columns))


def _full_fit(residuals: np.ndarray, X: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit the full model to each row: its tested coefficients, what is left, their unscaled covariance."""
    maker, basis = _maker(X)[columns], np.linalg.qr(X)[0]
    remainder = residuals - (residuals @ basis) @ basis.T
    return residuals @ maker.T, remainder, maker @ maker.T


def _maker(X: np.ndarray) -> np.ndarray:
    """Return the matrix that makes least-squares coefficients out of outcomes, shape (p, n)."""
    q, r = np.linalg.qr(X)
    return np.asarray(np.linalg.solve(r, q.T))


def _signed(wald: np.ndarray, scale: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return t of one column or F of several; infinite where a permutation is fitted exactly."""
    q = coefficients.shape[1]
    value = np.divide(wald / q, scale, out=np.where(wald > 0, np.inf, 0.0), where=scale > 0)
    return np.asarray(np.sqrt(value) * np.sign(coefficients[:, 0]) if q == 1 else value)


METHOD = Method(
    estimate,
    "permutation",
    "Freedman-Lane permutation tests of each covariate",
    Settings,
)
