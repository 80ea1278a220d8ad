"""Predictions of every choice from a person's other blocks, under the population of a fit."""

from __future__ import annotations

import numpy as np

from spicestat.pooled.fit import PooledFit, posterior_weights
from spicestat.pooled.left_out import block_units
from spicestat.pooled.packed import Floats, Ints
from spicestat.pooled.prediction import predict_fitted
from spicestat.pooled.states import StateRows

__all__ = ["deal_blocks", "predict_across"]


def deal_blocks(rows: StateRows, n_folds: int) -> Ints:
    """Deal everybody's blocks out to folds in turn, (R,); of a person with one session, stretches of it.

    Parameters
    ----------
    rows : StateRows
        R choices, person by person.
    n_folds : int
        At least 1. There are fewer where nobody has so many blocks.
    """
    person, unit = block_units(rows)
    rank = np.arange(len(person)) - np.searchsorted(person, person)
    return np.asarray((rank % n_folds)[unit])


def predict_across(fit: PooledFit, rows: StateRows, fold: Ints) -> Floats:
    """Probabilities (R, A) of every choice given the person's choices of the other folds; the population is held.

    Parameters
    ----------
    fit : PooledFit
    rows : StateRows
        R choices of the people who were fitted, states as in the fit.
    fold : int ndarray of shape (R,)
    """
    out = np.empty(rows.values.shape[:2])
    for number in np.unique(fold):
        left = fold == number
        out[left] = predict_fitted(rows.rows(left), *posterior_weights(fit, rows.rows(~left)))
    return out
