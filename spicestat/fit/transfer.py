"""Further trials: read as a fit's own were read, with stand-ins for unknown participants, and estimated on."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, Literal

import numpy as np
import torch

from spicestat._checks import check_options
from spicestat._files.tables import TableSource
from spicestat.equations.estimate.refit import RefitResult, refit
from spicestat.equations.estimate.stand_ins import with_typical_equations
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, ScaleWarning, warn_user
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.api import SpiceFit, assemble_fit
from spicestat.models.pieces import EnsembleEmbedding
from spicestat.trials.labels import label_key, match_labels
from spicestat.trials.reading import TrialTable, read_trials
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Unseen", "equations_of", "estimated_on", "estimator_for", "known_codes", "read_like", "scaled_like"]

Unseen = Literal["error", "typical"]
"""What to do about participants whom the fit does not know: refuse, or take typical equations."""

_ROLES = ("participant", "choice", "reward", "rt", "block", "trial", "experiment")


def read_like(fit: SpiceFit, trials: TableSource | TrialTable, **columns: Any) -> TrialTable:
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
        if list(map(label_key, trials.actions)) != list(map(label_key, fit.trials.actions)):
            raise DataError("the trials have other actions", got=trials.actions, allowed=fit.trials.actions)
        return scaled_like(fit, trials)
    own = {role: fit.trials.record["columns"].get(role) for role in _ROLES}
    known = {"actions": fit.trials.actions, "inputs": fit.trials.inputs, "missing": fit.trials.record.get("missing")}
    return scaled_like(fit, read_trials(trials, **{**own, **known, **columns}))


def scaled_like(fit: SpiceFit, table: TrialTable) -> TrialTable:
    """Map rewards as those of the fit were mapped: by the fit's unit, and not by that of the new trials."""
    _warn_other_unit(fit, table)
    scaling = fit.trials.record["reward_scaling"]
    if scaling["method"] == "none" or table.record["reward_scaling"]["method"] != "none":
        return table
    return table.rescaled(scaling, f"as those of the fit: {fit.trials.record['reward_note']}")


def _warn_other_unit(fit: SpiceFit, table: TrialTable) -> None:
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


def known_codes(fit: SpiceFit, labels: Sequence[Hashable], unseen: Unseen) -> np.ndarray:
    """Return the fit's code of every label, -1 for those that it does not know.

    Raises
    ------
    ConfigError
        ``unseen`` is unknown.
    DataError
        A label is unknown, and ``unseen`` is "error".
    """
    if unseen not in ("error", "typical"):
        raise ConfigError("unknown `unseen`", got=unseen, allowed="'error' or 'typical'")
    codes = match_labels(labels, fit.trials.participants, here="the trials", there="the fit")
    unknown = [label for label, code in zip(labels, codes.tolist(), strict=True) if code < 0]
    if unknown and unseen == "error":
        raise DataError(
            f"{len(unknown)} participants are not in the fit",
            got=", ".join(map(str, unknown[:5])),
            do="pass unseen='typical' to give them typical equations, or estimate theirs with spice_update()",
        )
    return codes


def equations_of(fit: SpiceFit, codes: np.ndarray) -> EquationSet:
    """Return the fit's equations of some participants, and typical ones for those with the code -1."""
    own = fit.estimator.refit_
    extended = [*range(fit.trials.n_participants), *([0] if (codes < 0).any() else [])]
    n_trials = own.n_trials[extended].copy()
    n_trials[fit.trials.n_participants :] = 0
    everybody = RefitResult(
        replace(
            own.equations,
            coefficients=own.equations.coefficients[extended],
            status=own.equations.status[extended],
        ),
        own.covariance[extended],
        own.log_likelihood[extended],
        n_trials,
        own.converged[extended],
        own.at_bound[extended],
    )
    found = with_typical_equations(everybody).equations
    # -1 is the last row, which is the typical one
    return replace(found, coefficients=found.coefficients[codes].copy(), status=found.status[codes].copy())


def estimator_for(estimator: SpiceEstimator, codes: np.ndarray) -> SpiceEstimator:
    """Return a copy whose model knows participants with these codes of the fit; the mean embedding stands for -1."""
    other = copy.copy(estimator)
    other.n_participants = len(codes)
    model = other.build_model().eval()
    trained = estimator.rnn_model_.state_dict()
    fitting = {
        name: trained[name] if name in trained and trained[name].shape == value.shape else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(fitting)
    embedding = getattr(model, "participant_embedding", None)
    old = getattr(estimator.rnn_model_, "participant_embedding", None)
    if isinstance(embedding, EnsembleEmbedding) and isinstance(old, EnsembleEmbedding):
        with torch.no_grad():
            own = old.weight[:, torch.from_numpy(codes.clip(0))]
            new = torch.from_numpy(codes < 0)[None, :, None]
            embedding.weight.copy_(torch.where(new, old.weight.mean(dim=1, keepdim=True), own))
    other.rnn_model_ = model
    return other


def estimated_on(
    table: TrialTable,
    data: SequenceDataset,
    estimator: SpiceEstimator,
    equations: EquationSet,
    *,
    model: str,
    where: str,
    **info: Any,
) -> SpiceFit:
    """Estimate the coefficients of equations on further trials, in a fit of their own.

    Parameters
    ----------
    table, data : TrialTable, SequenceDataset
        The trials, twice.
    estimator : SpiceEstimator
        Takes the estimates; its network, sparse equations and inclusion probabilities stay.
    equations : EquationSet
        Of the participants in the trials.
    model : str
        The name to show.
    where : str
        What a warning calls the trials.
    **info
        What the coefficients' ``info`` has to say besides.

    Warns
    -----
    ConvergenceWarning
        Some participants have no identified estimate.
    """
    found = refit(estimator.rnn_model_, data, equations)
    estimator.adopt_refit(with_typical_equations(found))
    lost = int((~found.converged | found.unidentified).sum())
    if lost:
        warn_user(
            f"{lost} of {len(found.converged)} participants have no identified estimate on {where} "
            "(see the columns 'converged' and 'at_bound'); their standard errors are missing.",
            ConvergenceWarning,
        )
    fit = assemble_fit(table, data, estimator, model)
    return replace(fit, coefficients=replace(fit.coefficients, info={**fit.coefficients.info, **info}))
