"""predict_choices: the probability of every action on every trial, by a fit's equations or its network."""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np
import pandas as pd
import torch

from spicestat._files.tables import TableSource
from spicestat.equations.estimate.forward import equation_logits
from spicestat.errors import ConfigError
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.fit.transfer import Unseen, known_codes, read_like
from spicestat.training.evaluate import rnn_logits
from spicestat.trials.labels import labels_to_series
from spicestat.trials.reading import ReadSettings, TrialTable
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Predictor", "predict_choices"]

Predictor = Literal["equations", "ml", "rnn"]
"""What predictions are made by."""


def predict_choices(
    fit: SpiceFit | HistoryFit | TaskFit,
    trials: TableSource | TrialTable | None = None,
    *,
    by: Predictor = "equations",
    unseen: Unseen = "error",
    **columns: Unpack[ReadSettings],
) -> pd.DataFrame:
    """Predict every choice from what its participant did and received before it in the block.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
        Any fit of choices.
    trials : DataFrame, path or TrialTable, optional
        Other trials, with the columns of the fit's own; default: the fit's.
    by : {"equations", "ml", "rnn"}, default "equations"
        What the predictions are made by: equations with pooled coefficients, those with each participant's own
        maximum-likelihood estimates (a `SpiceFit`), or the network. The equation of a `HistoryFit` predicts by the
        average over everybody's posterior, and its network adds to that; it is trained when it is first asked for. A
        `TaskFit` averages over posteriors, too, and has no network.
    unseen : {"error", "typical", "population"}, default "error"
        Participants whom the fit does not know are an error, or predicted by typical equations (the most frequent
        structure with its median coefficients; a `SpiceFit`), or by the whole population, averaged over the weights
        or parameters that people may have (a `HistoryFit` or `TaskFit`).
    **columns
        Settings of `read_trials` that differ from those of the fit.

    Returns
    -------
    DataFrame
        One row per row of the table: ``row`` (from 0), ``participant``, ``choice``, ``probability`` (of the choice)
        and ``p_<action>`` for each action, 0 where it was not on offer. NaN on the first trial of a block, which
        nothing predicts (for these two: up to the first choice made, unless something was shown); where a choice
        is missing (``probability`` only; for these two, all of them) or was forced, or one option alone was on
        offer; and for participants who were left out.

    Raises
    ------
    ConfigError
        A setting is unknown or not for this kind of fit, or the model is one of choices and response times.
    DataError
        A participant or an action is unknown.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> fit = spice_fit(simulate_cohort(3, 60).trials, block="block", model="rescorla_wagner", epochs=5)
    >>> table = predict_choices(fit)
    >>> list(table), int(table["probability"].notna().sum())
    (['row', 'participant', 'choice', 'probability', 'p_1', 'p_2'], 168)
    """
    if by not in ("equations", "ml", "rnn"):
        raise ConfigError("unknown `by`", got=by, allowed="'equations', 'ml' or 'rnn'")
    if not isinstance(fit, SpiceFit):
        return _by_population(fit, trials, by, unseen, columns)
    if fit.model.network.needs_times:
        raise ConfigError("a model of choices and response times has no probabilities of choices alone")
    table = _table_of(fit, trials, columns)
    codes = known_codes(fit, table.participants, unseen)
    data = SequenceDataset.from_trials(table)
    model = fit.model_by("ml" if by == "ml" else "pooled").with_participants(codes)
    by_network = by == "rnn"
    logits = rnn_logits(model.network, data) if by_network else equation_logits(model.network, data, model.equations)
    return _laid_out(table, _per_trial(table, data, torch.softmax(logits.double(), dim=-1).numpy()))


def _table_of(
    fit: SpiceFit | HistoryFit | TaskFit, trials: TableSource | TrialTable | None, columns: ReadSettings
) -> TrialTable:
    if trials is None and columns:
        raise ConfigError("the fit's own trials have been read already", got=sorted(columns), do="pass other trials")
    return fit.trials if trials is None else read_like(fit, trials, **columns)


def _by_population(
    fit: HistoryFit | TaskFit,
    trials: TableSource | TrialTable | None,
    by: Predictor,
    unseen: Unseen,
    columns: ReadSettings,
) -> pd.DataFrame:
    if by == "ml":
        raise ConfigError("this fit predicts by pooled values", got="by='ml'", allowed="'equations' or 'rnn'")
    table = _table_of(fit, trials, columns)
    found = fit.predict(table, known_codes(fit, table.participants, unseen), by)
    probabilities = np.full((len(table.frame), table.n_actions), np.nan)
    probabilities[found.row] = found.probabilities
    return _laid_out(table, probabilities)


def _per_trial(table: TrialTable, data: SequenceDataset, predicted: np.ndarray) -> np.ndarray:
    """Probabilities (rows of the frame, A); step t of a sequence predicts trial t + 1 of its block."""
    sequence_of = np.full(len(table.blocks), -1)
    sequence_of[data.block.numpy()] = np.arange(data.n_sequences)
    sequence, step = sequence_of[table.frame["block"].to_numpy()], table.frame["trial"].to_numpy() - 1
    probabilities = np.full((len(table.frame), table.n_actions), np.nan)
    known = (sequence >= 0) & (step >= 0)
    probabilities[known] = predicted[sequence[known], step[known]]
    return probabilities


def _laid_out(table: TrialTable, probabilities: np.ndarray) -> pd.DataFrame:
    choice = table.frame["choice"].to_numpy()
    made = np.take_along_axis(probabilities, choice.clip(0)[:, None], axis=1)[:, 0]
    frame = pd.DataFrame(
        {
            "participant": labels_to_series(table.participants, table.frame["participant"].to_numpy()),
            "choice": labels_to_series(table.actions, choice),
            "probability": np.where(choice >= 0, made, np.nan),
            **{f"p_{label}": probabilities[:, code] for code, label in enumerate(table.actions)},
        }
    )
    every = pd.RangeIndex(int(table.record["n_rows_read"]), name="row")
    return frame.set_index(pd.Index(table.rows, name="row")).reindex(every).reset_index()
