"""Whether a term is in a participant's equation: Firth's logistic regression on the covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spicestat.coefficients import CoefficientTable
from spicestat.errors import DataError, NumericalError
from spicestat.group.formula.design import Design
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs, Presence, Skipped
from spicestat.group.methods.registry import Method
from spicestat.group.numerics.firth import FirthLogistic, firth_logistic, penalised_ratio_test, profile_intervals

__all__ = ["PresenceOutcome", "estimate", "presence_outcomes", "METHOD"]

_NOTE = (
    "presence is what the search for each participant's equation decided, and it misses small coefficients. The fewer "
    "trials, the more it misses, so a covariate that goes with the number of trials goes with presence too."
)


@dataclass(frozen=True, eq=False)
class PresenceOutcome:
    """Who has one (module, sparse_term) in the equation.

    Attributes
    ----------
    module, sparse_term : str
        Which coefficient of the equations it is.
    present : ndarray of shape (n,)
        1.0 for participants whose equation has the term, else 0.0; in the order of the design matrix.
    """

    module: str
    sparse_term: str
    present: np.ndarray

    @property
    def key(self) -> tuple[str, str]:
        """The pair (module, sparse_term)."""
        return self.module, self.sparse_term


def presence_outcomes(
    table: CoefficientTable, rows: np.ndarray, keys: Sequence[tuple[str, str]] | None = None
) -> tuple[tuple[PresenceOutcome, ...], tuple[Skipped, ...]]:
    """Return the terms that some participants have and others lack, and those for which there is nothing to explain.

    Parameters
    ----------
    table : CoefficientTable
        Its column ``selected`` says who has a term.
    rows : ndarray of int, shape (n,)
        Participants, as positions in ``table.participants``.
    keys : sequence of (module, sparse_term), optional
        Terms to look at. Default: all.

    Examples
    --------
    >>> table = CoefficientTable.from_frame(pd.DataFrame({"participant": ["a", "b", "b"], "module": "x_value",
    ...     "term": ["1", "1", "reward"], "estimate": 0.3, "std_error": 0.1}))
    >>> outcomes, skipped = presence_outcomes(table, np.arange(2))
    >>> outcomes[0].key, outcomes[0].present.tolist(), skipped[0].sparse_term
    (('x_value', 'reward'), [0.0, 1.0], '1')
    """
    selected = table.wide("selected").to_numpy(dtype="float64")[rows]
    wanted = set(table.terms if keys is None else keys)
    outcomes, skipped = [], []
    for column, key in enumerate(table.terms):
        if key not in wanted:
            continue
        present = selected[:, column]
        if present.all():
            skipped.append(Skipped(*key, "in every participant's equation, so presence has nothing to explain"))
        elif not present.any():
            skipped.append(Skipped(*key, "in no participant's equation"))
        else:
            outcomes.append(PresenceOutcome(*key, present))
    return tuple(outcomes), tuple(skipped)


def estimate(inputs: GroupInputs, settings: None = None) -> GroupEstimates:
    """Explain by covariates who has each term: one Firth logistic regression per (module, sparse_term).

    Terms that everybody or nobody has are skipped: with a structure for the population there is nothing to
    explain, so this is for equations discovered with ``structure="participant"``. All participants with covariates
    count, also those without a usable estimate, as only ``selected`` is read; the identifiability gate therefore does
    not apply. Estimates are log odds ratios (link "logit"), standard errors come from the Fisher information,
    p-values and intervals from the profiled penalised likelihood. ``presence.ratio_tests`` tests each term of the
    formula, such as all levels of a factor together, and ``presence.n_present`` counts who has each term.

    References
    ----------
    Firth (1993), https://doi.org/10.1093/biomet/80.1.27;
    Heinze & Schemper (2002), https://doi.org/10.1002/sim.1047.
    """
    X, names = inputs.design.matrix, list(inputs.design.names)
    outcomes, skipped = presence_outcomes(inputs.table, inputs.design.rows, inputs.wanted or None)
    fits: dict[PresenceOutcome, FirthLogistic] = {}
    for outcome in outcomes:
        try:
            fits[outcome] = firth_logistic(outcome.present, X)
        except (DataError, NumericalError) as error:
            skipped += (Skipped(*outcome.key, str(error)),)
    fitted = tuple(fits)
    low, high = _intervals(inputs.conf_level, fitted, X)
    rows = [row for outcome, fit in fits.items() for row in _rows(outcome, fit, inputs.design.names)]
    return GroupEstimates(
        fixed=pd.DataFrame(rows).assign(conf_low=low, conf_high=high),
        ran_pars=pd.DataFrame(columns=["module", "sparse_term", "group", "term", "estimate"]),
        glance=pd.DataFrame([_glance(outcome, fit, inputs) for outcome, fit in fits.items()]),
        covariance={outcome.key: fit.covariance for outcome, fit in fits.items()},
        messages=(_NOTE,),
        skipped=skipped,
        links={outcome.key: "logit" for outcome in fitted},
        presence=Presence(
            {outcome.key: int(outcome.present.sum()) for outcome in fitted},
            _ratio_tests(fitted, inputs.design),
            {outcome.key: pd.DataFrame(fit.covariance, names, names) for outcome, fit in fits.items()},
        ),
    )


def _rows(outcome: PresenceOutcome, fit: FirthLogistic, names: tuple[str, ...]) -> list[dict[str, object]]:
    errors = np.sqrt(np.diag(fit.covariance))
    return [
        {
            "module": outcome.module,
            "sparse_term": outcome.sparse_term,
            "term": name,
            "estimate": fit.beta[column],
            "std_error": errors[column],
            "df": np.inf,
            "p_value": fit.p_value[column],
        }
        for column, name in enumerate(names)
    ]


def _glance(outcome: PresenceOutcome, fit: FirthLogistic, inputs: GroupInputs) -> dict[str, object]:
    return {
        "module": outcome.module,
        "sparse_term": outcome.sparse_term,
        "nobs": fit.n,
        "n_excluded": len(inputs.table.participants) - fit.n,
        "share_unidentified": 0.0,
        "df_residual": float(fit.n - len(fit.beta)),
        "log_lik": fit.log_likelihood,
        "converged": fit.converged,
    }


def _intervals(
    conf_level: float, outcomes: tuple[PresenceOutcome, ...], X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of all coefficients, outcome after outcome."""
    limits = [profile_intervals(outcome.present, X, conf_level) for outcome in outcomes]
    low, high = (np.concatenate([pair[side] for pair in limits] or [np.empty(0)]) for side in (0, 1))
    return low, high


def _ratio_tests(outcomes: tuple[PresenceOutcome, ...], design: Design) -> pd.DataFrame:
    """Test each term of the formula in each outcome."""
    columns = ["module", "sparse_term", "term", "statistic", "df", "p_value"]
    if design.spec is None:
        return pd.DataFrame(columns=columns)
    rows = []
    for outcome in outcomes:
        for term, where in design.terms.items():
            test = penalised_ratio_test(outcome.present, design.matrix, where)
            rows.append((*outcome.key, term, test.statistic, float(test.df), test.p_value))
    return pd.DataFrame(rows, columns=columns)


METHOD = Method(
    estimate,
    "presence",
    "whether a term is in a participant's equation, by Firth's logistic regression",
    reads_estimates=False,
)
