"""Using a fit on further trials: they are read as its own were, and unknown participants get stand-ins."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, Literal, Unpack

import numpy as np
import pandas as pd

from spicestat._checks import check_options
from spicestat._files.tables import TableSource
from spicestat.equations.estimate.prior import NormalPrior
from spicestat.equations.estimate.refit import refit
from spicestat.equations.estimate.stand_ins import with_typical_equations
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, ScaleWarning, warn_user
from spicestat.fit.fitted_model import FittedModel
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit, assemble_fit
from spicestat.fit.task_fit import TaskFit
from spicestat.trials.labels import label_key, match_labels
from spicestat.trials.reading import ReadSettings, TrialTable, read_trials
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Unseen", "estimated_on", "known_codes", "own_roles", "read_like", "scaled_like"]

Unseen = Literal["error", "typical", "population"]
"""What to do about participants whom the fit does not know: refuse, take typical equations (of a `SpiceFit`), or
predict them by the population, integrated over its weights or parameters (of a `HistoryFit` or `TaskFit`)."""

_REMEDY = {
    "typical": "pass unseen='typical' to give them typical equations, or estimate theirs with spice_update()",
    "population": "pass unseen='population' to predict them by the population, or fit them with the others",
}
_BLOCKS = ("block", "trial", "experiment", "occasion")
_SINGLE = ("participant", "choice", "reward", "rt", *_BLOCKS, "forced", "gain", "loss", "foregone", "state2", "choice2")


def read_like(
    fit: SpiceFit | HistoryFit | TaskFit, trials: TableSource | TrialTable, **columns: Unpack[ReadSettings]
) -> TrialTable:
    """Read trials with the columns, actions and scaling of a fit's own.

    Parameters
    ----------
    fit : SpiceFit
    trials : DataFrame, path or TrialTable
    **columns
        Settings of `read_trials` that differ, such as ``participant="id"``.

    Raises
    ------
    DataError
        The trials have actions that the fit does not know.
    ConfigError
        A setting is unknown, or the trials have been read already.

    Warns
    -----
    ScaleWarning
        The rewards seem to be in another unit than those of the fit.
    """
    check_options(columns, list(signature(read_trials).parameters)[1:], "read_trials()")
    if isinstance(trials, TrialTable):
        if columns:
            raise ConfigError(
                "a TrialTable has been read already", got=sorted(columns), do="pass these to read_trials()"
            )
        items = trials.record["columns"].get("items_are_chosen")
        if not items and list(map(label_key, trials.actions)) != list(map(label_key, fit.trials.actions)):
            raise DataError(
                "the trials have different actions from the fit", got=trials.actions, allowed=fit.trials.actions
            )
        return scaled_like(fit, trials)
    own = own_roles(fit.trials)
    if isinstance(trials, pd.DataFrame):
        own |= _plain_names(own, trials)
    record = fit.trials.record
    known = {
        "inputs": fit.trials.inputs,
        "missing": record.get("missing"),
        "unusable": record.get("unusable", "exclude"),
    }
    table = read_trials(trials, **{**own, **known, **columns})
    _refuse_new_levels(fit, table)
    return scaled_like(fit, table)


def _plain_names(own: dict[str, Any], trials: pd.DataFrame) -> dict[str, str]:
    """Return the roles whose columns lack the fit's names, and have those of results, as `simulate_fit` writes them.

    Examples
    --------
    >>> _plain_names({"participant": "id", "choice": "pick"}, pd.DataFrame(columns=["participant", "pick", "choice"]))
    {'participant': 'participant'}
    """
    return {
        role: role
        for role in ("participant", "choice", "reward", *_BLOCKS)
        if isinstance(own.get(role), str) and own[role] not in trials.columns and role in trials.columns
    }


def _refuse_new_levels(fit: SpiceFit | HistoryFit | TaskFit, table: TrialTable) -> None:
    """Raise where a context has labels that the fit has not seen, so that it does not know what they do."""
    for name in fit.trials.record["columns"].get("context") or ():
        known, given = (trials.shown.get(name, pd.Series(dtype=float)) for trials in (fit.trials, table))
        if pd.api.types.is_numeric_dtype(known.dtype):
            continue
        new = set(map(label_key, given.dropna())) - set(map(label_key, known.dropna()))
        if new:
            raise DataError(
                f"context '{name}' has labels that the fit has not seen",
                got=", ".join(sorted(new)[:5]),
                allowed=", ".join(map(str, dict.fromkeys(known.dropna()))),
                do="leave these trials out, or fit them with the others",
            )


def own_roles(trials: TrialTable) -> dict[str, Any]:
    """Return the settings of `read_trials` that say which columns of trials mean what."""
    columns, actions = trials.record["columns"], trials.actions
    own = {role: columns.get(role) for role in _SINGLE}
    own |= {role: columns.get(role) or None for role in ("stimulus", "context", "attributes")}
    if columns.get("items_are_chosen"):
        # items that the fit has not seen are learned of as others are
        return own | {"options": columns["options"]}
    options = dict(zip(actions, columns["options"], strict=True)) if columns.get("options") else None
    return own | {"options": options, "actions": actions}


def scaled_like(fit: SpiceFit | HistoryFit | TaskFit, table: TrialTable) -> TrialTable:
    """Map rewards as those of the fit were mapped: by the fit's unit, and not by that of the new trials."""
    _warn_other_unit(fit, table)
    scaling = fit.trials.record["reward_scaling"]
    if scaling["method"] == "none" or table.record["reward_scaling"]["method"] != "none":
        return table
    return table.rescaled(scaling, f"as those of the fit: {fit.trials.record['reward_note']}")


def _warn_other_unit(fit: SpiceFit | HistoryFit | TaskFit, table: TrialTable) -> None:
    """Warn of rewards far outside the fit's range, or spread over a tenth of it or less."""
    known, given = fit.trials.record.get("reward_range"), table.record.get("reward_range")
    if known is None or given is None:
        return
    # but for minmax, rewards have a natural zero, about which signs may differ
    natural = fit.trials.record["reward_scaling"]["method"] != "minmax"
    low, high = (-max(map(abs, known)), max(map(abs, known))) if natural else known
    width, spread = high - low, given[1] - given[0]
    if given[0] < low - width or given[1] > high + width or 0 < spread <= width / 10:
        warn_user(
            f"rewards range from {given[0]:g} to {given[1]:g}, but those of the fit from {known[0]:g} to {known[1]:g}; "
            "are they in the same unit? If not, convert them to the unit of the fit",
            ScaleWarning,
        )


def known_codes(fit: SpiceFit | HistoryFit | TaskFit, labels: Sequence[Hashable], unseen: Unseen) -> np.ndarray:
    """Return the fit's code of every label, -1 for those that it does not know.

    Raises
    ------
    ConfigError
        ``unseen`` is unknown, or not for this kind of fit.
    DataError
        A label is unknown, and ``unseen`` is "error".
    """
    stand_in = "typical" if isinstance(fit, SpiceFit) else "population"
    if unseen not in ("error", stand_in):
        raise ConfigError("unknown `unseen`", got=unseen, allowed=f"'error' or '{stand_in}'")
    codes = match_labels(labels, fit.trials.participants, here="the trials", there="the fit")
    unknown = [label for label, code in zip(labels, codes.tolist(), strict=True) if code < 0]
    if unknown and unseen == "error":
        raise DataError(
            f"{len(unknown)} participants are not in the fit",
            got=", ".join(map(str, unknown[:5])),
            do=_REMEDY[stand_in],
        )
    return codes


def estimated_on(
    table: TrialTable,
    data: SequenceDataset,
    model: FittedModel,
    *,
    name: str,
    where: str,
    population: NormalPrior | None = None,
    **info: Any,
) -> SpiceFit:
    """Estimate the coefficients of equations on further trials, in a fit of their own.

    Parameters
    ----------
    table, data : TrialTable, SequenceDataset
        The trials, twice.
    model : FittedModel
        Of the participants in the trials; its network, sparse equations and inclusion probabilities stay.
    name : str
        The model's, to show.
    where : str
        What a warning calls the trials.
    population : NormalPrior, optional
        Under which people are pooled. Default: that of these trials.
    **info
        What the coefficients' ``info`` has to say besides.

    Warns
    -----
    ConvergenceWarning
        Some participants have no identified estimate.
    """
    found = refit(model.network, data, model.equations)
    lost = int((~found.converged | found.unidentified).sum())
    if lost:
        warn_user(
            f"{lost} of {len(found.converged)} participants have no identified estimate on {where} "
            "(see the columns 'converged' and 'at_bound'); their standard errors are missing.",
            ConvergenceWarning,
        )
    fit = assemble_fit(table, data, model.with_refit(with_typical_equations(found)), name, population)
    return replace(fit, coefficients=replace(fit.coefficients, info={**fit.coefficients.info, **info}))
