"""Bring the choices into a group model, for methods that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError
from spicestat.group.formula.design import Design, too_few
from spicestat.group.inputs.contract import Equation, GroupInputs
from spicestat.group.inputs.likelihood import HasLikelihood

__all__ = ["with_choices"]


def with_choices(
    table: CoefficientTable,
    design: Design,
    source: Any,
    *,
    modules: str | Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
) -> GroupInputs:
    """Return the inputs of a method that reads the choices, row by row of the design.

    Everybody with choices counts, identified on their own or not.

    Parameters
    ----------
    table : CoefficientTable
    design : Design
        Its rows are positions in ``table.participants``.
    source : fit
        What `spicestat.group.spice_group` was given.
    modules, terms : str or sequence of str, optional
        Restrict the coefficients that are reported; all are estimated.

    Raises
    ------
    ConfigError
        The source has no choices.
    DataError
        Not more participants with choices than coefficients.
    """
    if not isinstance(source, HasLikelihood):
        raise ConfigError(
            "this group method reads the choices themselves",
            got=type(source).__name__,
            allowed="a fit",
            do='pass the fit, or use method="meta" or method="multivariate_meta"',
        )
    everybody = source.choice_likelihood()
    if everybody.participants != table.participants:
        raise DataError("the choices and the coefficient table are of different participants")
    usable = np.flatnonzero(np.asarray(everybody.n_trials)[design.rows] > 0)
    if len(usable) <= len(design.names):
        raise DataError(
            too_few(len(usable), len(design.names), having=" with choices"),
            do="use a simpler formula",
        )
    labels, share_unidentified = table.participants, table.share_unidentified
    design = design.of_some(usable, [labels[row] for row in design.rows[usable]])
    chosen = [term for term in everybody.terms if _is_wanted(term[0], modules) and _is_wanted(term[1], terms)]
    nothing = np.full(len(usable), np.nan)
    equations = tuple(
        Equation(
            module=module,
            sparse_term=term,
            rows=np.arange(len(usable)),
            estimate=nothing,
            variance=nothing,
            n_excluded=len(everybody.participants) - len(usable),
            share_unidentified=share_unidentified,
        )
        for module, term in chosen
    )
    if not equations:
        raise DataError("none of the coefficients asked for is estimated from the choices")
    return GroupInputs(table, design, equations, everybody.select(design.rows))


def _is_wanted(name: str, wanted: str | Sequence[str] | None) -> bool:
    return wanted is None or name == wanted or (not isinstance(wanted, str) and name in wanted)
