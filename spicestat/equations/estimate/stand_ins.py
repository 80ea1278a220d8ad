"""Stand-ins for participants without data: the mean embedding and the most frequent structure's median coefficients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.models.base import BaseRNN
from spicestat.models.pieces import EnsembleEmbedding
from spicestat.trials.sequences import SequenceDataset

__all__ = ["use_typical_embedding", "with_typical_equations"]


def use_typical_embedding(model: BaseRNN, data: SequenceDataset) -> None:
    """Give participants without data the mean embedding of the others, in place."""
    present = (data.trials_per_participant > 0).cpu()
    embedding = getattr(model, "participant_embedding", None)
    if not isinstance(embedding, EnsembleEmbedding) or embedding.weight.shape[1] != len(present) or bool(present.all()):
        return
    with torch.no_grad():
        embedding.weight[:, ~present] = embedding.weight[:, present].mean(dim=1, keepdim=True)


def with_typical_equations(refit: RefitResult) -> RefitResult:
    """Give participants without data the most frequent structure, with the median coefficients of those who have it."""
    equations, present = refit.equations, refit.n_trials > 0
    if present.all():
        return refit
    structures, counts = np.unique(equations.status[present], axis=0, return_counts=True)
    common = structures[np.argmax(counts)]
    who = present & (equations.status == common).all(axis=1)
    typical = np.median(equations.coefficients[who], axis=0)
    status = np.where(present[:, None], equations.status, common).astype("int8")
    coefficients = np.where(present[:, None], equations.coefficients, typical)
    return replace(refit, equations=EquationSet(equations.libraries, equations.states, coefficients, status))
