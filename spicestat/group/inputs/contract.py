"""What a group method receives and returns: the contract that every method file implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from spicestat._runtime.progress import Progress
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError, NumericalError
from spicestat.group.formula.design import Design
from spicestat.group.inputs.likelihood import ChoiceLikelihood

__all__ = [
    "RESCALE",
    "Equation",
    "EquationFit",
    "GroupEstimates",
    "GroupInputs",
    "Posterior",
    "Presence",
    "Skipped",
    "collect_equations",
    "describe_skipped",
]


RESCALE = "leave out participants with extreme estimates or standard errors"
"""Advice where numbers overflow."""


class Skipped(NamedTuple):
    """An equation that is left out of the results, and why."""

    module: str
    sparse_term: str
    reason: str


def describe_skipped(skipped: Sequence[Skipped]) -> str:
    """List what was left out, once per reason.

    Examples
    --------
    >>> describe_skipped([Skipped("x", "1", "fixed"), Skipped("x", "r", "fixed"), Skipped("y", "1", "absent")])
    'x / 1, x / r: fixed; y / 1: absent'
    """
    names: dict[str, list[str]] = {}
    for module, term, reason in skipped:
        names.setdefault(reason, []).append(f"{module} / {term}")
    return "; ".join(f"{', '.join(own)}: {reason}" for reason, own in names.items())


@dataclass(frozen=True, eq=False)
class Equation:
    """The estimates of one (module, sparse_term) that can enter a group model.

    Attributes
    ----------
    module, sparse_term : str
        Which coefficient of the equations it is.
    rows : ndarray of int, shape (n,)
        Participants, as row numbers of the design matrix.
    estimate, variance : ndarray of shape (n,)
        Estimates and their sampling variances (NaN where a method does not need them).
    n_excluded : int
        Participants of the coefficient table that are left out, for whatever reason.
    share_unidentified : float
        Share of participants, in [0, 1], without an identified estimate.
    """

    module: str
    sparse_term: str
    rows: np.ndarray
    estimate: np.ndarray
    variance: np.ndarray
    n_excluded: int
    share_unidentified: float

    @property
    def key(self) -> tuple[str, str]:
        """The pair (module, sparse_term)."""
        return self.module, self.sparse_term


@dataclass(frozen=True)
class GroupInputs:
    """A coefficient table, a design matrix, and the equations that can be analysed.

    Attributes
    ----------
    table : CoefficientTable
        All coefficients, for methods that need more than one equation's estimates.
    design : Design
        Design matrix; ``design.rows`` are positions in ``table.participants``.
    equations : tuple of Equation
        Each with more participants than coefficients; none for methods that do not read estimates.
    likelihood : ChoiceLikelihood or None
        Of the choices of the design's participants, row by row, for methods that estimate coefficients and
        group effects together.
    conf_level : float
        Level of the intervals, for methods that make their own.
    wanted : tuple of (module, sparse_term)
        The coefficients that were asked for.
    progress : callable, optional
        Called with ("group", done, total, message) by methods that take long.
    """

    table: CoefficientTable
    design: Design
    equations: tuple[Equation, ...]
    likelihood: ChoiceLikelihood | None = None
    conf_level: float = 0.95
    wanted: tuple[tuple[str, str], ...] = ()
    progress: Progress | None = None

    def report(self, done: int, total: int, message: str = "") -> None:
        """Say how far a method is."""
        if self.progress is not None:
            self.progress("group", done, total, message)

    def needed_likelihood(self) -> ChoiceLikelihood:
        """Return the likelihood, or raise `ConfigError` where only coefficients were given."""
        if self.likelihood is None:
            raise ConfigError(
                "this group method reads the choices themselves",
                got="a coefficient table",
                do='pass the fit, or use method="meta" or method="multivariate_meta"',
            )
        return self.likelihood


@dataclass(frozen=True)
class Posterior:
    """Draws from the posterior of a Bayesian group model, and diagnostics of their quality.

    Attributes
    ----------
    inference_data : arviz.InferenceData
        Draws of the effects (``fixed``), of standard deviations and correlations between participants (``sd``,
        ``correlation``) and of participants' coefficients (``coefficient``), with named coordinates.
    diagnostics : DataFrame
        ``module, sparse_term, term, prob_direction, mcse_mean, rhat, ess_bulk, ess_tail``: one row per parameter.
    approximation : DataFrame or None
        How well mixtures stand for the likelihood of each participant's choices (``method="bayes"``): ``participant,
        ess_share`` and more, see `compare_likelihoods`.
    """

    inference_data: Any = field(repr=False)
    diagnostics: pd.DataFrame = field(repr=False)
    approximation: pd.DataFrame | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Presence:
    """Who has which term in the equation, by ``method="presence"`` and the presence part of ``method="hurdle"``.

    Attributes
    ----------
    n_present : mapping of (module, sparse_term) to int
        Participants who have the term.
    ratio_tests : DataFrame
        ``module, sparse_term, term, statistic, df, p_value``: a penalised likelihood ratio test of each term of the
        formula, such as all levels of a factor together.
    covariance : mapping of (module, sparse_term) to DataFrame of shape (p, p)
        Covariance of the effects on presence, labelled by term.
    """

    n_present: Mapping[tuple[str, str], int]
    ratio_tests: pd.DataFrame = field(repr=False)
    covariance: Mapping[tuple[str, str], pd.DataFrame] = field(repr=False)


@dataclass(frozen=True)
class GroupEstimates:
    """What a group method found, before tests, adjustment and intervals.

    Attributes
    ----------
    fixed : DataFrame
        ``module, sparse_term, term, estimate, std_error, df`` (``df`` infinite for normal tests). A method with
        tests or intervals of its own adds ``p_value``, ``p_adjusted`` or ``conf_low`` and ``conf_high``.
    ran_pars : DataFrame
        ``module, sparse_term, group, term, estimate``: standard deviations as in broom.mixed.
    glance : DataFrame
        ``module, sparse_term, nobs, n_excluded, share_unidentified, df_residual, converged`` and
        whatever else the method knows: one row per equation, or one for a joint model.
    covariance : mapping of (module, sparse_term) to ndarray of shape (p, p)
        Covariance of the fixed effects within each equation.
    messages : tuple of str
        What a reader of the result should know.
    skipped : tuple of Skipped
        Equations that could not be fitted.
    ran_vals : DataFrame or None
        ``module, sparse_term, group, level, term, estimate, std_error``: each participant's deviation from what the
        covariates predict.
    joint_covariance : DataFrame or None
        Covariance of all fixed effects together; rows and columns are (module, sparse_term, term).
    links : mapping of (module, sparse_term) to str
        Scales of the coefficients where they are not the natural one.
    shrunken : DataFrame or None
        Participants' coefficients on their natural scale, posterior medians: index ``participant``, columns (module,
        sparse_term).
    posterior : Posterior or None
        Of methods that sample.
    presence : Presence or None
        Of methods that ask who has a term.
    max_t : ndarray or None
        Of methods that permute: p-values adjusted by the largest statistic of a family, one per row of ``fixed``.
    exact : bool or None
        Of methods that permute: whether every permutation was used, not a sample of them.
    doubt : str
        Why inference has to be withheld, and what would help; "" where nothing is wrong.
    """

    fixed: pd.DataFrame
    ran_pars: pd.DataFrame
    glance: pd.DataFrame
    covariance: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    ran_vals: pd.DataFrame | None = None
    joint_covariance: pd.DataFrame | None = None
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)
    shrunken: pd.DataFrame | None = None
    posterior: Posterior | None = None
    presence: Presence | None = None
    max_t: np.ndarray | None = None
    exact: bool | None = None
    doubt: str = ""


@dataclass(frozen=True)
class EquationFit:
    """What a method that fits one equation at a time returns for it.

    Attributes
    ----------
    beta : ndarray of shape (p,)
    covariance : ndarray of shape (p, p)
    spread : tuple of (group, term, value)
        Standard deviations and correlations as in broom.mixed, for example ``("participant", "sd__(Intercept)", 0.2)``.
    glance : mapping
        Entries of the `glance` row; must have ``converged``.
    df : ndarray of shape (p,), optional
        Degrees of freedom of the effects. Default: n - p.
    messages : tuple of str
        What a reader of the result should know.
    """

    beta: np.ndarray
    covariance: np.ndarray
    spread: tuple[tuple[str, str, float], ...]
    glance: Mapping[str, object]
    df: np.ndarray | None = None
    messages: tuple[str, ...] = ()


def collect_equations(
    inputs: GroupInputs, fit: Callable[[Equation, np.ndarray], EquationFit], messages: tuple[str, ...] = ()
) -> GroupEstimates:
    """Fit each equation on its own and collect the results.

    An equation that raises `DataError` or `NumericalError` is skipped with that reason.

    Parameters
    ----------
    inputs : GroupInputs
    fit : callable
        Takes an equation and its design matrix of shape (n, p), gives an `EquationFit`.
    messages : tuple of str, optional
        Passed on.
    """
    fits: dict[Equation, EquationFit] = {}
    skipped = []
    for equation in inputs.equations:
        try:
            fits[equation] = fit(equation, inputs.design.matrix[equation.rows])
        except (DataError, NumericalError) as error:
            skipped.append(Skipped(equation.module, equation.sparse_term, str(error)))
        except FloatingPointError as error:
            skipped.append(Skipped(equation.module, equation.sparse_term, f"{error}: {RESCALE}"))
    names = inputs.design.names
    fixed = [row for equation, found in fits.items() for row in _fixed_rows(equation, found, names)]
    spread = [
        {**_where(equation), "group": group, "term": term, "estimate": value}
        for equation, found in fits.items()
        for group, term, value in found.spread
    ]
    glance = [
        {
            **_where(equation),
            "nobs": len(equation.rows),
            "n_excluded": equation.n_excluded,
            "share_unidentified": equation.share_unidentified,
            "df_residual": float(len(equation.rows) - len(names)),
            **found.glance,
        }
        for equation, found in fits.items()
    ]
    return GroupEstimates(
        pd.DataFrame(fixed),
        pd.DataFrame(spread),
        pd.DataFrame(glance),
        {equation.key: found.covariance for equation, found in fits.items()},
        tuple(dict.fromkeys((*messages, *(text for found in fits.values() for text in found.messages)))),
        tuple(skipped),
    )


def _fixed_rows(equation: Equation, fit: EquationFit, names: tuple[str, ...]) -> list[dict[str, object]]:
    dfs = np.full(len(names), float(len(equation.rows) - len(names))) if fit.df is None else fit.df
    errors = np.sqrt(np.diag(fit.covariance))
    return [
        {**_where(equation), "term": name, "estimate": value, "std_error": error, "df": float(df)}
        for name, value, error, df in zip(names, fit.beta, errors, dfs, strict=True)
    ]


def _where(equation: Equation) -> dict[str, object]:
    return {"module": equation.module, "sparse_term": equation.sparse_term}
