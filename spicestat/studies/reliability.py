"""spice_reliability: how well the equations' coefficients tell participants apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from spicestat._checks import check_level, seed_number, whole_number
from spicestat._runtime.blas import on_one_blas_thread
from spicestat.coefficients import refuse_occasions
from spicestat.errors import ConfigError, DataError
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit, refuse_task
from spicestat.studies.icc import icc, spearman_brown, split_half
from spicestat.studies.partial_estimates import PartialEstimates, PartialEstimator, Targets, partial_estimator
from spicestat.trials.labels import label_key

__all__ = ["METHODS", "spice_reliability"]

METHODS = ("odd_even", "first_second", "random")
"""Ways to estimate reliability from one session."""

_WITHDRAWN = "standard errors depend on the estimates, and its values were far from the truth, with narrow intervals"
"""Why there is no ``"model"`` any more."""

_COLUMNS = ("module", "term", "method", "reliability", "conf_low", "conf_high", "n", "n_excluded", "conf_level")

Unit = Literal["block", "trial"]


@on_one_blas_thread
def spice_reliability(
    fit: SpiceFit | HistoryFit | TaskFit,
    methods: str | Sequence[str] = METHODS,
    *,
    unit: Unit = "block",
    sessions: Literal["block", "experiment"] | Mapping[Hashable, Hashable] | None = None,
    n_splits: int = 10,
    conf_level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Estimate the reliability of every coefficient, with the fit's equations as they are.

    Halves and sessions are estimated as in the fit itself: by maximum likelihood, or, for a `HistoryFit`, as posterior
    means under its population. The structure is that of the whole fit, so the table is about the coefficients, not
    about how reliably a structure is found. A `HistoryFit` has two more rows, of module ``kernel``: the total influence
    of one reward and of one choice on the next twenty choices (`HistoryFit.kernels`), which weights of similar states
    make together; each of these alone is often less reliable than what they make.

    * ``"odd_even"``, ``"first_second"``, ``"random"``: correlation of the estimates of two halves, stepped up by
      Spearman-Brown to all trials (`split_half`). Of random halves, the mean over
      ``n_splits`` of Fisher's z, with the mean interval of a single split. With an odd number of blocks the halves
      are not quite halves.
    * with ``sessions``: ``"test_retest_icc2"`` (absolute agreement of single sessions) and ``"test_retest_icc3"``
      (consistency).

    None of them uses standard errors, which depend on the estimates they belong to.

    Participants whose estimate is at a bound, not converged or without a standard error in any half are left out
    (``n_excluded``). With few trials these are the participants with extreme coefficients, and what is left varies
    less: read a reliability beside its ``n_excluded``. Split halves are rough: in simulated cohorts of 40
    people with 200 trials they differed by .2 to .3 from the squared correlation of estimates and truth, which their
    95 % intervals held in 60 to 90 %; with 60 trials they differed by .2 to .8 (benchmarks/results/reliability.md).

    Costs two refits per split and one per session; of a `HistoryFit` little.

    Parameters
    ----------
    fit : SpiceFit or HistoryFit
        The fit; all its coefficients that are estimated for at least four participants, without shared weights.
    methods : str or sequence of str
        Any of `METHODS`; default: all.
    unit : {"block", "trial"}, default "block"
        What is divided between the halves: a participant's blocks, or single choices, each predicted from the whole
        history. Use ``"trial"`` for data with a single block per participant.
    sessions : {"block", "experiment"} or mapping, optional
        What a session is: each block label, each experiment, or the session of each block label.
    n_splits : int, default 10
        Random splits.
    conf_level : float, default 0.95
        In (0, 1).
    seed : int, default 0
        Seed of the random splits.

    Returns
    -------
    DataFrame
        ``module, term, method, reliability, conf_low, conf_high, n, n_excluded, conf_level``. A row that cannot be
        computed, as fewer than four participants are left, has NaN.

    Raises
    ------
    ConfigError
        An unknown method, the withdrawn ``"model"``, no method and no sessions, or a setting that is out of range.
    DataError
        The blocks cannot be split, there are fewer than two sessions, or no coefficient is people's own.

    References
    ----------
    Spearman (1910), https://doi.org/10.1111/j.2044-8295.1910.tb00206.x;
    Shrout & Fleiss (1979), https://doi.org/10.1037/0033-2909.86.2.420.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> fit = spice_fit(simulate_cohort(8, 240, n_blocks=4).trials, block="block", model="choice", epochs=10)
    >>> table = spice_reliability(fit, "odd_even")
    >>> list(table)[:4], set(table["method"])
    (['module', 'term', 'method', 'reliability'], {'odd_even'})
    """
    level, known = check_level(conf_level), refuse_task(fit, "spice_reliability()")
    refuse_occasions(fit.coefficients, "a reliability over participants")
    chosen = _checked_methods(methods)
    if not chosen and sessions is None:
        raise ConfigError("neither methods nor sessions are given", do=f"pass one of {', '.join(METHODS)}")
    if unit not in ("block", "trial"):
        raise ConfigError("unknown unit", got=unit, allowed="'block' or 'trial'")
    n_splits = whole_number("n_splits", n_splits, 1)
    rng = np.random.default_rng(seed_number(seed))
    parts = partial_estimator(known)
    targets = parts.targets
    rank, size = _ranks(targets, unit)
    if bool((size[targets.mask] < 2).all()) and chosen:
        raise DataError("no participant has two blocks", do="pass unit='trial' to split single choices")
    rows: list[dict[str, Any]] = []
    for method in ("odd_even", "first_second"):
        if method in chosen:
            second = rank % 2 == 1 if method == "odd_even" else 2 * rank >= size
            rows += _each(parts, _halves(parts, second), method, _stepped_up, level)
    if "random" in chosen:
        splits = [_halves(parts, 2 * _shuffled(rank, targets, rng) >= size) for _ in range(n_splits)]
        rows += _random_rows(parts, splits, level)
    if sessions is not None:
        rows += _session_rows(parts, *_session_codes(known, targets, sessions), level)
    table = pd.DataFrame(rows).assign(conf_level=level)
    return table[list(_COLUMNS)]


Values = tuple[float, float, float]
"""Reliability and its limits."""

Estimator = Callable[[list[np.ndarray], float], Values]
"""Makes them of each result's estimates and the level."""


def _checked_methods(methods: str | Sequence[str]) -> list[str]:
    chosen = [methods] if isinstance(methods, str) else list(methods)
    if "model" in chosen:
        raise ConfigError(
            f"the model-based reliability was withdrawn: {_WITHDRAWN}",
            got="model",
            allowed=", ".join(METHODS),
            do="pass methods='random', the correlation of random split halves",
        )
    unknown = [name for name in chosen if name not in METHODS]
    if unknown:
        raise ConfigError("unknown methods", got=unknown, allowed=", ".join(METHODS))
    return chosen


def _ranks(targets: Targets, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Position (S, T) of every target among its participant's blocks or targets, and how many of these there are."""
    mask, who = targets.mask, targets.participant
    rank, size = np.zeros(mask.shape, dtype="int64"), np.zeros(mask.shape, dtype="int64")
    for code in np.unique(who):
        own = np.flatnonzero(who == code)
        own = own[np.argsort(targets.block[own], kind="stable")]
        counted = mask[own]
        if unit == "block":
            rank[own] = np.arange(len(own))[:, None]
            size[own] = len(own)
        else:
            order = np.zeros(counted.shape, dtype="int64")
            order[counted] = np.arange(counted.sum())
            rank[own], size[own] = order, counted.sum()
    return rank, size


def _shuffled(rank: np.ndarray, targets: Targets, rng: np.random.Generator) -> np.ndarray:
    """Permute the ranks within each participant."""
    mask, who = targets.mask, targets.participant
    shuffled = rank.copy()
    for code in np.unique(who):
        own = (who == code)[:, None] & mask
        n_units = int(rank[own].max()) + 1 if own.any() else 0
        shuffled[own] = rng.permutation(n_units)[rank[own]]
    return shuffled


def _halves(parts: PartialEstimator, second: np.ndarray) -> list[PartialEstimates]:
    return [parts.estimate(half) for half in (~second, second)]


def _each(
    parts: PartialEstimator,
    results: Sequence[PartialEstimates],
    method: str,
    value: Estimator,
    level: float,
) -> Iterator[dict[str, Any]]:
    """Give one row per quantity that someone has; people count who are known in all results."""
    for position, ((module, term), n_have) in enumerate(zip(parts.terms, parts.n_have.tolist(), strict=True)):
        if not n_have:
            continue
        known = np.all([result.known[:, position] for result in results], axis=0)
        values = _or_missing(value, [result.estimate[known, position] for result in results], level)
        names = ("reliability", "conf_low", "conf_high")
        where = {"module": module, "term": term, "method": method}
        n = int(known.sum())
        yield where | dict(zip(names, values, strict=True)) | {"n": n, "n_excluded": n_have - n}


def _or_missing(value: Estimator, estimates: list[np.ndarray], level: float) -> Values:
    try:
        return value(estimates, level)
    except DataError:
        # too few participants are left, or all have the same estimate
        return np.nan, np.nan, np.nan


def _stepped_up(y: list[np.ndarray], level: float) -> Values:
    found = split_half(y[0], y[1], conf_level=level)
    return found.reliability, found.conf_low, found.conf_high


def _random_rows(
    parts: PartialEstimator, splits: list[list[PartialEstimates]], level: float
) -> Iterator[dict[str, Any]]:
    """Give one row per coefficient, the mean over splits; ``n`` is the smallest of any split."""
    per_split = [list(_each(parts, halves, "random", _stepped_up, level)) for halves in splits]
    for rows in zip(*per_split, strict=True):
        fewest = min(rows, key=lambda row: row["n"])
        means = {
            name: _mean_reliability([row[name] for row in rows]) for name in ("reliability", "conf_low", "conf_high")
        }
        yield fewest | means


def _mean_reliability(reliabilities: list[float]) -> float:
    """Mean on Fisher's scale of the halves' correlations, where it is least biased; NaN where no split has one."""
    of_halves = np.array([value / (2.0 - value) for value in reliabilities if np.isfinite(value)])
    if not len(of_halves):
        return np.nan
    z = np.arctanh(np.clip(of_halves, -1 + 1e-12, 1 - 1e-12))
    return spearman_brown(float(np.tanh(z.mean())))


def _session_rows(parts: PartialEstimator, code: np.ndarray, n_sessions: int, level: float) -> Iterator[dict[str, Any]]:
    shape = parts.targets.mask.shape
    results = [parts.estimate(np.broadcast_to(code[:, None] == number, shape).copy()) for number in range(n_sessions)]
    for kind in ("ICC2", "ICC3"):
        yield from _each(parts, results, f"test_retest_{kind.lower()}", partial(_icc, kind), level)


def _icc(kind: str, y: list[np.ndarray], level: float) -> Values:
    if len(y[0]) < 4:
        raise DataError("too few participants")
    table = icc(np.column_stack(y), conf_level=level).table
    value, low, high = table.loc[table["type"] == kind, ["estimate", "conf_low", "conf_high"]].to_numpy()[0].tolist()
    return value, low, high


def _session_codes(
    fit: SpiceFit | HistoryFit, targets: Targets, sessions: str | Mapping[Hashable, Hashable]
) -> tuple[np.ndarray, int]:
    """Session (S,) of each sequence, -1 for none, and the number of sessions."""
    if sessions == "experiment":
        codes, found = targets.experiment, len(fit.trials.experiments)
    else:
        blocks = fit.trials.blocks["label"].iloc[targets.block].tolist()
        if isinstance(sessions, Mapping):
            session_of = {label_key(label): session for label, session in sessions.items()}
            unknown = sorted(set(session_of) - set(map(label_key, blocks)))
            if unknown:
                raise ConfigError(
                    "sessions names unknown blocks", got=unknown[:5], allowed=sorted(set(map(label_key, blocks)))
                )
            labels = [session_of.get(label_key(label)) for label in blocks]
        elif sessions == "block":
            labels = blocks
        else:
            raise ConfigError("unknown sessions", got=sessions, allowed="'block', 'experiment' or a mapping")
        codes, unique = pd.factorize(pd.Series(labels, dtype=object))
        found = len(unique)
    if found < 2:
        raise DataError("test-retest reliability needs two sessions", got=found, do="pass sessions={block: session}")
    return codes, found
