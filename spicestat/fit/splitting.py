"""Sample splitting: discover the equations on some blocks and estimate their coefficients on the others."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, Unpack

import numpy as np
import pandas as pd

from spicestat._checks import check_options, real_number, seed_number
from spicestat._files.tables import TableSource
from spicestat._runtime.blas import on_one_blas_thread
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, SuspiciousDataWarning, warn_user
from spicestat.fit.api import FitSettings, spice_fit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.transfer import estimated_on, scaled_like
from spicestat.trials.labels import labels_to_series
from spicestat.trials.reading import TrialTable, read_trials
from spicestat.trials.sequences import SequenceDataset

__all__ = ["SampleSplit", "spice_fit_split", "split_blocks"]


@dataclass(frozen=True, eq=False)
class SampleSplit:
    """Trials of the same participants in two parts without a common choice.

    Attributes
    ----------
    discovery, estimation : TrialTable
        Both hold every participant.
    blocks : DataFrame
        ``participant`` (label), ``block`` (label), ``part`` ("discovery" or "estimation"), ``n_trials``; a block
        that was halved has two rows.
    """

    discovery: TrialTable
    estimation: TrialTable
    blocks: pd.DataFrame


def split_blocks(trials: TrialTable, share: float = 0.5, seed: int = 0, *, halve_single: bool = False) -> SampleSplit:
    """Deal every participant's blocks out to discovery and estimation.

    Parameters
    ----------
    trials : TrialTable
        From `read_trials`.
    share : float in (0, 1), default 0.5
        Share of each participant's blocks for discovery, rounded; either part gets at least one.
    seed : int, default 0
        Seed for assigning blocks.
    halve_single : bool, default False
        What to do about participants with a single block: refuse, or cut it in two, first ``share`` for discovery.
        The second piece then starts from the initial values, although its participant has learnt already; the more
        trials, the less that matters.

    Raises
    ------
    DataError
        A participant has a single block (and ``halve_single`` is False), or one too short to cut.

    Warns
    -----
    SuspiciousDataWarning
        Blocks were cut.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> table = read_trials(simulate_cohort(3, 80, n_blocks=4).trials, block="block")
    >>> split = split_blocks(table)
    >>> len(split.discovery.blocks), len(split.estimation.blocks), split.estimation.n_participants
    (6, 6, 3)
    """
    share = real_number("share", share, 0.0, 1.0, low_included=False)
    rng = np.random.default_rng(seed_number(seed))
    owner = trials.blocks["participant"].to_numpy()
    single = np.flatnonzero(np.bincount(owner, minlength=trials.n_participants) == 1)
    if len(single):
        _check_single(trials, single, share, halve_single)
    first = np.zeros(len(trials.frame), dtype=bool)
    block, step = trials.frame["block"].to_numpy(), trials.frame["trial"].to_numpy()
    for code in range(trials.n_participants):
        own = np.flatnonzero(owner == code)
        if len(own) == 1:
            cut = _cut(int(trials.blocks["n_trials"].iloc[own[0]]), share)
            first |= (block == own[0]) & (step < cut)
        else:
            n_first = min(max(round(share * len(own)), 1), len(own) - 1)
            first |= np.isin(block, rng.permutation(own)[:n_first])
    parts = {name: trials.select(rows) for name, rows in (("discovery", first), ("estimation", ~first))}
    parts = {name: replace(part, record={**part.record, "part": name}) for name, part in parts.items()}
    described = [_described(part, name) for name, part in parts.items()]
    return SampleSplit(parts["discovery"], parts["estimation"], pd.concat(described, ignore_index=True))


@on_one_blas_thread
def spice_fit_split(
    trials: TableSource | TrialTable,
    *,
    share: float = 0.5,
    split_seed: int = 0,
    halve_single: bool = False,
    **settings: Unpack[FitSettings],
) -> SpiceFit:
    r"""Fit with equations from some blocks and coefficients from the others.

    A structure chosen on the same choices from which its coefficients are estimated makes standard errors
    too small and effects too large: terms are in the equations because they looked large. With separate blocks the
    coefficients and their covariances are those of a structure that was fixed beforehand. The price is precision:
    standard errors are about :math:`1 / \sqrt{1 - share}` as large, and with fewer trials the structure is found less
    reliably. Measured with a population structure (24 simulated cohorts of 40 people with 240 trials,
    ``benchmarks/results/sample_splitting.md``): tests of covariates are no more often wrong without splitting (type-I
    error .065 and .070 with it, Monte Carlo error .007), as the structure is chosen without looking at covariates;
    standard errors of an effect are 1.6 times as large with it, and power falls from .92 to .71. So split where the
    mean of a term that was just selected is the question, not for tests of covariates.

    Parameters
    ----------
    trials : DataFrame, path or TrialTable
        See `spice_fit`.
    share : float in (0, 1), default 0.5
        Share of each participant's blocks that the equations are discovered on; see `split_blocks`.
    split_seed : int, default 0
        Seed for assigning blocks to discovery and estimation.
    halve_single : bool, default False
        Cut the block of participants who have only one, instead of refusing.
    **settings
        All others of `spice_fit`. As equations of a network are what is split here, the default of ``model`` is
        "choice".

    Returns
    -------
    SpiceFit
        ``trials`` are those of the estimation; ``scores`` are computed on them, so those of the RNN and the sparse
        equations are out of sample. ``coefficients.info["sample_splitting"]`` says how it was split. ``selected`` and
        ``inclusion_prob`` come from the discovery.

    Raises
    ------
    ConfigError, InputError
        As `spice_fit` and `split_blocks`.

    References
    ----------
    Cox (1975), https://doi.org/10.1093/biomet/62.2.441;
    Rinaldo, Wasserman & G'Sell (2019), https://doi.org/10.1214/18-AOS1784.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> cohort = simulate_cohort(4, 160, n_blocks=4)
    >>> fit = spice_fit_split(cohort.trials, block="block", people=cohort.people, epochs=10)
    >>> fit.glance()["nobs"].item(), fit.coefficients.info["sample_splitting"]["share"]
    (312, 0.5)
    """
    reading, fitting = _sorted_settings(settings)
    if isinstance(trials, TrialTable):
        if reading:
            raise ConfigError(
                "a TrialTable has been read already", got=sorted(reading), do="pass these to read_trials()"
            )
        table = trials
    else:
        table = read_trials(trials, **reading)
    parts = split_blocks(table, share, split_seed, halve_single=halve_single)
    with warnings.catch_warnings():
        # whether coefficients are identified on the discovery's blocks is not what the fit is about
        warnings.simplefilter("ignore", ConvergenceWarning)
        discovered = spice_fit(parts.discovery, **{"model": "choice", **fitting})
    estimation = scaled_like(discovered, parts.estimation)
    data = SequenceDataset.from_trials(estimation)
    record = {
        "share": float(share),
        "seed": split_seed,
        "n_discovery": int(discovered.model.refit.n_trials.sum()),
        "n_estimation": int(data.trials_per_participant.sum()),
        "halved_blocks": int(parts.blocks.duplicated(["participant", "block"]).sum()),
    }
    return estimated_on(
        estimation,
        data,
        discovered.model,
        name=discovered.coefficients.info["model"],
        where="their estimation blocks",
        sample_splitting=record,
    )


def _sorted_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the settings of `spice_fit` into those of reading and those of fitting."""
    check_options(settings, list(signature(spice_fit).parameters)[1:], "spice_fit()")
    if settings.get("model") == "history":
        raise ConfigError(
            "spice_fit_split() estimates the equations of a network",
            got="model='history'",
            do="fit some blocks with spice_fit() and predict the others with predict_choices()",
        )
    reading = set(signature(read_trials).parameters)
    return (
        {name: value for name, value in settings.items() if name in reading},
        {name: value for name, value in settings.items() if name not in reading},
    )


def _check_single(trials: TrialTable, single: np.ndarray, share: float, halve_single: bool) -> None:
    count = f"{len(single)} of {trials.n_participants} participants have a single block"
    if not halve_single:
        raise DataError(
            f"{count}, which cannot be split without cutting it",
            got=", ".join(str(trials.participants[code]) for code in single[:5]),
            do="name the block column, or pass halve_single=True to cut these blocks in two",
        )
    n_trials = trials.blocks.loc[trials.blocks["participant"].isin(single), "n_trials"].to_numpy()
    too_short = int((n_trials < 4).sum())
    if too_short:
        raise DataError(f"{too_short} single blocks have fewer than 4 trials and cannot be cut", do="leave them out")
    warn_user(
        f"{count}; it was cut in two, and in the second piece learning starts from the initial values",
        SuspiciousDataWarning,
    )


def _cut(n_trials: int, share: float) -> int:
    """Trials of the first piece; either piece has two or more."""
    return min(max(round(share * n_trials), 2), n_trials - 2)


def _described(part: TrialTable, name: str) -> pd.DataFrame:
    labels: list[Hashable] = list(part.participants)
    return pd.DataFrame(
        {
            "participant": labels_to_series(labels, part.blocks["participant"].to_numpy()),
            "block": part.blocks["label"],
            "part": name,
            "n_trials": part.blocks["n_trials"],
        }
    )
