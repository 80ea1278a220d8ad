"""Curves of repeated choices, observed and drawn anew after the same histories."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from spicestat.pooled.packed import Floats, Ints
from spicestat.studies.choice_curves import choice_curve_check
from spicestat.studies.redrawn import Places, Redrawn

__all__ = ["redrawn_curves"]

_LEVEL = 0.95


def redrawn_curves(
    study: Redrawn,
    rng: np.random.Generator,
    *,
    n_bins: int = 5,
    n_replicates: int = 200,
    levels: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare how often the choice before is repeated: always, and after a reward above or below the mean.

    Parameters
    ----------
    study : Redrawn
    rng : numpy Generator
    n_bins, n_replicates : int
        See `choice_curve_check`.
    levels : sequence of length N, optional
        A level of everybody, for a curve of each level beside that of all.

    Returns
    -------
    DataFrame
        ``curve``, then the columns of `choice_curve_check`, with the level in ``group`` (only with ``levels``).
        ``p_value`` is two-sided, from the mean and the spread of the replicates as those of a normal distribution, by
        Bonferroni over all rows. Curves without a choice are missing.
    """
    places = study.places
    middle = np.nanmean(places.earned) if np.isfinite(places.earned).any() else np.nan
    curves = {
        "repeated": places.before >= 0,
        "repeated after more reward": (places.before >= 0) & (places.earned > middle),
        "repeated after less reward": (places.before >= 0) & (places.earned < middle),
    }
    drawn = [study.choose(coefficients, rng) for coefficients in study.posterior(n_replicates, rng)]
    # the same replicates for all curves, called by their numbers
    numbers = np.arange(n_replicates, dtype="float64")[:, None, None]
    seen = {name: _events(places, places.choice, where) for name, where in curves.items() if where.any()}
    tables = [
        choice_curve_check(
            events,
            partial(_replicated, places, drawn, curves[name]),
            numbers,
            groups=None if levels is None else _session_levels(places, levels, events),
            n_bins=n_bins,
            n_replicates=n_replicates,
            conf_level=_LEVEL,
        ).assign(curve=name)
        for name, events in seen.items()
    ]
    if not tables:
        return pd.DataFrame(columns=["curve", "trial_low", "trial_high", "observed", "predicted", "p_value"])
    table = pd.concat(tables, ignore_index=True)
    if levels is None:
        table = table.drop(columns="group")
    table.insert(0, "curve", table.pop("curve"))
    return table.assign(p_value=np.minimum(1.0, len(table) * _p_values(table)))


def _session_levels(places: Places, levels: Sequence[str], events: Floats) -> list[str]:
    """Level of each session; levels without an event, of which there is no curve, go with one that has some."""
    person = np.zeros(len(events), dtype="int64")
    person[places.session] = places.person
    own = [levels[code] for code in person]
    there = {own[row] for row in np.flatnonzero(np.isfinite(events).any(axis=1))}
    return [level if level in there else min(there) for level in own]


def _p_values(table: pd.DataFrame) -> Floats:
    """Two-sided p-values; few replicates resolve the middle of their distribution, but not its tails."""
    sd = (table["conf_high"] - table["conf_low"]).to_numpy() / (2.0 * stats.norm.ppf(0.5 + _LEVEL / 2.0))
    away = np.abs((table["observed"] - table["predicted"]).to_numpy())
    z = np.divide(away, sd, out=np.where(away > 0.0, np.inf, 0.0), where=sd > 0.0)
    return np.asarray(2.0 * stats.norm.sf(z))


def _replicated(
    places: Places, drawn: Sequence[Ints], where: np.ndarray, number: Floats, _rng: np.random.Generator
) -> Floats:
    return _events(places, drawn[int(number[0, 0])], where)


def _events(places: Places, choice: np.ndarray, where: np.ndarray) -> Floats:
    """Lay out whether choices (R,) repeat the one before: (S, T), NaN where that is not asked."""
    laid_out = np.full((places.session.max() + 1, places.trial.max() + 1), np.nan)
    laid_out[places.session[where], places.trial[where]] = (choice == places.before)[where]
    return laid_out
