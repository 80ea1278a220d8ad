"""spice_card: what a study of this size can say about these coefficients, by simulation from the fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat._display import html_block, screen
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress, silent
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit, refuse_task
from spicestat.studies.card_checks import (
    Check,
    choice_curves,
    equivalent_states,
    flat_directions,
    inclusions,
    pairs_of_coefficients,
    pairs_of_means,
    recoveries,
    scope,
    structure_recoveries,
)
from spicestat.studies.redrawn import RedrawnHistory, redrawn

__all__ = ["CardResult", "spice_card"]

_STAGE = "card"


@dataclass(frozen=True, eq=False)
class CardResult:
    """What a study can say about its coefficients, and what it cannot.

    Attributes
    ----------
    table : DataFrame
        One row per check and subject: ``check``, ``subject`` (a coefficient, a pair, a curve, or the study), ``value``,
        ``threshold``, ``flag`` (whether the value is on the wrong side of it) and ``meaning``, in words. `spice_card`
        lists the checks.
    settings : mapping
        ``n_simulations, seed, seconds``.
    """

    table: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def flagged(self) -> pd.DataFrame:
        """The rows that are flagged."""
        return self.table[self.table["flag"]].reset_index(drop=True)

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """Return one row: how many checks there are, how many are flagged, and the settings."""
        return pd.DataFrame([{"n_checks": len(self.table), "n_flagged": len(self.flagged), **self.settings}])

    def __repr__(self) -> str:
        lines = [f"{row.check}, {row.subject}: {row.meaning}" for row in self.flagged.itertuples()]
        return screen("\n".join([self._title, *lines]), "tidy()")

    def _repr_html_(self) -> str:
        return html_block(self._title, [], self.flagged.drop(columns="flag"))

    @property
    def _title(self) -> str:
        return f"CardResult: {len(self.flagged)} of {len(self.table)} checks flagged"


@on_one_blas_thread
def spice_card(
    fit: SpiceFit | HistoryFit | TaskFit, *, n_simulations: int = 5, seed: int = 0, progress: Progress | None = None
) -> CardResult:
    """Check what a fit's coefficients can be relied on for, at the study's own numbers of people and trials.

    Simulated choices are drawn after the histories that were observed: offers, rewards and what happened before a
    choice stay as they were, so that no task has to be known. People's coefficients are drawn from their posterior (a
    `HistoryFit`) or from the population of the identified (a `SpiceFit`).

    ==================== =================================================================== =======================
    check                value                                                               flagged
    ==================== =================================================================== =======================
    recovery             correlation over people of drawn and estimated coefficients         below .7
    bias                 mean of estimates less that of the drawn, in SDs between people     beyond .25, and beyond
                                                                                         chance
    trade-off            correlation of two coefficients in what a person's choices say      .97 or more in size
    trade-off, pooled    the same in a person's posterior (`HistoryFit`)                     .97 or more in size
    trade-off of means   the same of the population's means (`HistoryFit`)                   .97 or more in size
    flat direction       information in the direction that choices say least about, of what  .001 or less
                         there would be if its coefficients had nothing in common
    structure            share of searches on simulated choices that find a state, or one    below .5
                         that correlates with it by .9 (`HistoryFit`); a term's inclusion
                         probability (`SpiceFit`)
    equivalent state     largest correlation with a state of the library that was not taken  .97 or more
    choice curve         smallest p-value, by Bonferroni, of a curve of repeated choices     below .05
                         over trials: all, and after more or less reward than the mean
    scope                what the study says nothing about: unidentified or excluded people, as the row says
                         coefficients without people's own values, left-out choices
    ==================== =================================================================== =======================

    Signs say what is told: where the correlation of a trade-off is near -1, the choices tell the sum of two
    coefficients (in units of what they say) and not one from the other. Recovery and structure take the given
    structure, or the library, as all that there is; they say nothing of mechanisms that are in neither.

    Costs ``n_simulations`` fits of the structure, and for a `HistoryFit` as many searches.

    Parameters
    ----------
    fit : SpiceFit or HistoryFit
        Of response times, recovery and choice curves are left out.
    n_simulations : int, default 5
        Simulated studies, 1 or more; of one alone, no bias is flagged.
    seed : int, default 0
        Same seed, same card.
    progress : callable, optional
        Called with ("card", done, total, message).

    Returns
    -------
    CardResult

    References
    ----------
    Wilson & Collins (2019), https://doi.org/10.7554/eLife.49547 (simulate, recover, check predictions);
    Palminteri, Wyart & Koechlin (2017), https://doi.org/10.1016/j.tics.2017.03.011 (generative checks).

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> fit = spice_fit(simulate_cohort(12, 80, n_blocks=2, seed=1).trials, block="block", trial="trial")
    >>> card = spice_card(fit, n_simulations=1)
    >>> list(card.table)
    ['check', 'subject', 'value', 'threshold', 'flag', 'meaning']
    """
    n_simulations, seed = whole_number("n_simulations", n_simulations, 1), seed_number(seed)
    stated = refuse_task(fit, "spice_card()")
    report = progress or silent
    started, checks = time.perf_counter(), list[Check]()
    parts = list(_parts(stated, n_simulations, seed))
    for done, (name, part) in enumerate(parts):
        report(_STAGE, done, len(parts), name)
        checks += part()
    report(_STAGE, len(parts), len(parts), "")
    table = pd.DataFrame(checks, columns=list(Check._fields))
    settings = {"n_simulations": n_simulations, "seed": seed, "seconds": time.perf_counter() - started}
    return CardResult(table.astype({"value": "float64", "threshold": "float64", "flag": "bool"}), settings)


def _parts(
    fit: SpiceFit | HistoryFit, n_simulations: int, seed: int
) -> Iterator[tuple[str, Callable[[], list[Check]]]]:
    """Yield the parts of the card with what they do; each has random numbers of its own."""
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)]
    study = None if isinstance(fit, SpiceFit) and fit.model.network.needs_times else redrawn(fit)
    if study is not None:
        yield "recovery", lambda: recoveries(study, n_simulations, streams[0])
    yield "trade-offs", lambda: [*pairs_of_coefficients(fit), *pairs_of_means(fit), *flat_directions(fit)]
    if isinstance(study, RedrawnHistory):
        yield "structure", lambda: structure_recoveries(study, n_simulations, streams[1])
        yield "equivalent states", lambda: equivalent_states(study)
    elif isinstance(fit, SpiceFit):
        yield "structure", lambda: inclusions(fit)
    if study is not None:
        yield "choice curves", lambda: choice_curves(study, streams[2])
    yield "scope", lambda: scope(fit)
