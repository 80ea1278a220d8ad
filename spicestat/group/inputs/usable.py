"""Which coefficients can enter a group model, and why the others cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError, ExclusionWarning, warn_user
from spicestat.group.formula.design import Design, design_rank, too_few
from spicestat.group.inputs.contract import Equation, Skipped, describe_skipped

__all__ = ["select_equations", "wanted_columns"]

_NOT_SELECTED = "not in the participant's equation"
_REASONS = (
    "",
    _NOT_SELECTED,
    "no estimate",
    "at a bound",
    "not converged",
    "no standard error",
    "standard error 0",
)


class _Cells(NamedTuple):
    """Columns of a coefficient table as arrays of shape (P, K); ``reason`` indexes `_REASONS`."""

    estimate: np.ndarray
    std_error: np.ndarray
    selected: np.ndarray
    reason: np.ndarray


def select_equations(
    table: CoefficientTable,
    design: Design,
    *,
    modules: Sequence[str] | None = None,
    terms: Sequence[str] | None = None,
    needs_std_error: bool = True,
) -> tuple[tuple[Equation, ...], tuple[Skipped, ...]]:
    """Pick the usable coefficients of each (module, term).

    A coefficient cannot be used when its term is not in the participant's equation, or it has no
    estimate, is at a bound or did not converge, or (if ``needs_std_error``) has no positive
    standard error. The share of unidentified participants of an equation is the larger of
    ``table.share_unidentified`` and the share of participants who have the term but no
    usable coefficient.

    Parameters
    ----------
    table : CoefficientTable
    design : Design
        Its rows are positions in ``table.participants``.
    modules, terms : sequence of str, optional
        Restrict to these modules and equation terms. Default: all.
    needs_std_error : bool, default True
        Whether the method weights by standard errors.

    Raises
    ------
    ConfigError
        ``modules`` or ``terms`` names something that is not in the table.
    DataError
        No equation is left.

    Warns
    -----
    ExclusionWarning
        Once, with the count of coefficients left out, by reason.
    """
    wanted = wanted_columns(table, modules, terms)
    cells = _cells(table, needs_std_error)
    equations, skipped, reasons = [], [], Counter[str]()
    for column in wanted:
        module, term = table.terms[column]
        structural = _structural(cells, column) or _shared(table, column)
        if structural:
            skipped.append(Skipped(module, term, structural))
            continue
        reason = cells.reason[design.rows, column]
        reasons.update(_REASONS[code] for code in reason if code)
        equation = _equation(table, design, cells, column)
        unfit = _unfit(equation, design)
        if unfit:
            skipped.append(Skipped(module, term, unfit))
        else:
            equations.append(equation)
    _warn(reasons)
    if not equations:
        raise DataError(
            "no coefficient can be analysed", got=describe_skipped(skipped), do="check estimates and standard errors"
        )
    return tuple(equations), tuple(skipped)


def wanted_columns(
    table: CoefficientTable, modules: str | Sequence[str] | None, terms: str | Sequence[str] | None
) -> list[int]:
    """Return the positions of the coefficients of these modules and terms, or raise `ConfigError`."""
    known = {"modules": {module for module, _ in table.terms}, "terms": {term for _, term in table.terms}}
    chosen = {}
    for name, given in (("modules", modules), ("terms", terms)):
        chosen[name] = known[name] if given is None else {given} if isinstance(given, str) else set(given)
        unknown = sorted(chosen[name] - known[name])
        if unknown or not chosen[name]:
            raise ConfigError(
                f"`{name}` names what the coefficient table does not have",
                got=", ".join(map(repr, unknown)) or "(nothing)",
                allowed=", ".join(map(repr, sorted(known[name]))),
            )
    wanted = [
        column
        for column, (module, term) in enumerate(table.terms)
        if module in chosen["modules"] and term in chosen["terms"]
    ]
    if not wanted:
        raise ConfigError(
            "no equation has both one of `modules` and one of `terms`",
            allowed=", ".join(f"{module} / {term}" for module, term in table.terms),
        )
    return wanted


def _cells(table: CoefficientTable, needs_std_error: bool) -> _Cells:
    shape = (len(table.participants), -1)
    estimate, error, selected, at_bound, converged = (
        table.frame[name].to_numpy().reshape(shape)
        for name in ("estimate", "std_error", "selected", "at_bound", "converged")
    )
    reason = np.zeros(estimate.shape, dtype="int64")
    if needs_std_error:
        reason[error == 0] = 6
        reason[~np.isfinite(error)] = 5
    reason[~converged] = 4
    reason[at_bound] = 3
    reason[~np.isfinite(estimate)] = 2
    reason[~selected] = 1
    return _Cells(estimate, error, selected, reason)


def _structural(cells: _Cells, column: int) -> str | None:
    """Say why an equation's structure leaves nothing to analyse, or None."""
    selected = cells.selected[:, column]
    if not selected.any():
        return "in no participant's equation"
    values = cells.estimate[selected, column]
    if np.isnan(cells.std_error[selected, column]).all() and np.ptp(values) == 0:
        return f"fixed at {values[0]:g} by the structure of the equation"
    return None


def _shared(table: CoefficientTable, column: int) -> str | None:
    """Say so where a coefficient is the population's, or None."""
    if (
        "shared" not in table.frame
        or not table.frame["shared"].to_numpy().reshape(-1, len(table.terms))[:, column].any()
    ):
        return None
    return "shared by everybody: it is a coefficient of the population"


def _equation(table: CoefficientTable, design: Design, cells: _Cells, column: int) -> Equation:
    usable = np.flatnonzero(cells.reason[design.rows, column] == 0)
    people = design.rows[usable]
    selected = cells.selected[:, column]
    lost = float(np.mean(cells.reason[selected, column] > 1))
    module, term = table.terms[column]
    return Equation(
        module=module,
        sparse_term=term,
        rows=usable,
        estimate=cells.estimate[people, column].astype("float64"),
        variance=cells.std_error[people, column].astype("float64") ** 2,
        n_excluded=len(table.participants) - len(usable),
        share_unidentified=max(table.share_unidentified, lost),
    )


def _unfit(equation: Equation, design: Design) -> str | None:
    """Say why an equation cannot be fitted with this design, or None."""
    n, p = len(equation.rows), len(design.names)
    if n <= p:
        return too_few(n, p, kind="usable ")
    if design_rank(design.matrix[equation.rows]) < p:
        return f"the {n} usable participants do not cover all levels of the covariates"
    if np.ptp(equation.estimate) == 0:
        return f"all usable participants have the same estimate, {equation.estimate[0]:g}"
    X = design.matrix[equation.rows]
    residual = equation.estimate - X @ np.linalg.lstsq(X, equation.estimate, rcond=None)[0]
    if np.max(np.abs(residual)) <= 1e-12 * np.max(np.abs(equation.estimate)):
        return "the covariates reproduce the estimates exactly, which leaves nothing to test with"
    return None


def _warn(reasons: Counter[str]) -> None:
    if not reasons:
        return
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    advice = (
        " Estimate the terms for all participants on the population structure, so that the group model does not "
        "run on those who passed a threshold."
        if _NOT_SELECTED in reasons
        else ""
    )
    warn_user(f"{reasons.total()} coefficients cannot enter the group model: {listed}.{advice}", ExclusionWarning)
