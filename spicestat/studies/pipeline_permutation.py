"""Permutation tests of a whole analysis, for pipelines in which discovery saw the covariates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import joblib
import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat._display import html_block, screen
from spicestat._files.tables import require_columns
from spicestat.errors import ConfigError, ConvergenceWarning, CovariateError, DataError, SpicestatError, warn_user
from spicestat.group.inference.max_t import max_t_p_values, permutation_p_values
from spicestat.group.numerics.rearrangements import Rearrangements, permutation_rows

__all__ = ["HasTidy", "PipelinePermutation", "pipeline_permutation"]

_KEYS = ["module", "sparse_term", "term"]


@runtime_checkable
class HasTidy(Protocol):
    """A result with a table of coefficients, such as `spicestat.group.GroupResult`."""

    def tidy(self) -> pd.DataFrame:
        """Return the table."""


Refit = Callable[[pd.DataFrame, int], pd.DataFrame | HasTidy]
"""Takes the participants' table and a seed, gives the coefficients."""


@dataclass(frozen=True)
class PipelinePermutation:
    """Result of `pipeline_permutation`.

    Attributes
    ----------
    table : DataFrame
        ``module, sparse_term, term, statistic, p_value, p_adjusted``: one row per tested coefficient.
        ``p_adjusted`` is step-down maxT over all equations, within each covariate.
    statistics : ndarray of shape (R, m)
        Absolute statistics: observed, then of each permutation.
    n_permutations : int
        Permutations that the p-values rest on; fewer than asked for after an interruption.
    n_failed : int
        How many of them ended with an error of spicestat; they count against every hypothesis.
    exact : bool
        Whether these are all the permutations there are.
    """

    table: pd.DataFrame
    statistics: np.ndarray
    n_permutations: int
    n_failed: int
    exact: bool

    def __repr__(self) -> str:
        return screen(f"<PipelinePermutation: {self.n_permutations} permutations>\n{self.table.to_string()}", "tidy()")

    def _repr_html_(self) -> str:
        return html_block(f"PipelinePermutation: {self.n_permutations} permutations", [], self.table)

    def tidy(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()


def pipeline_permutation(
    refit: Refit,
    people: pd.DataFrame,
    *,
    covariates: str | Sequence[str] | None = None,
    terms: str | Sequence[str] | None = None,
    strata: str | Sequence[str] | None = None,
    participant: str = "participant",
    statistic: str = "statistic",
    n_permutations: int = 199,
    seed: int = 0,
    n_jobs: int | None = None,
) -> PipelinePermutation:
    r"""Repeat a whole analysis with permuted covariates and compare its statistics.

    When this is needed: a test that takes the participants' estimates as given (`methods.permutation`, or any
    p-value of a group model) does not hold if the covariates had a hand in the estimates, for example if the
    network's embedding or the choice between equation structures used them, if coefficients were
    shrunk towards what covariates predict, or if terms were picked because they went with a covariate. Repeating
    all of it with permuted covariates does hold. It is also valid when the participants' estimates
    depend on each other through a shared network.

    Whole rows of covariates move from participant to participant, while everybody's choices stay what they
    are. That is exact under the hypothesis that the covariates (jointly) have nothing to do with the
    choices. With nuisance covariates the hypothesis is narrower, but permuting residuals as Freedman and
    Lane do is impossible here: there are no residual choices. Name the tested ones in ``covariates`` and the others in
    ``strata``, which exchanges only participants of equal nuisance values (bin a continuous one first). Permuting
    only some covariates without such strata is valid only if they are independent of the rest.

    The observed analysis and each permuted one get their own seed, drawn from ``seed``, whatever ``n_jobs`` is.
    A coefficient that a permuted analysis does not report has statistic 0 there, as nothing was found. Ctrl-C ends the
    run and keeps what is finished: the permutations come in random order, so that p-values stay valid.

    Parameters
    ----------
    refit : callable
        Takes the participants' table with permuted covariates and a seed (int) for all of its randomness; gives
        a table ``module, sparse_term, term`` and the statistic, or something with ``tidy()``, such as a
        `spicestat.group.GroupResult`. With ``n_jobs`` it runs in other processes.
    people : DataFrame
        One row per participant.
    covariates : str or sequence of str, optional
        Columns to permute, together. Default: all but ``participant`` and ``strata``.
    terms : str or sequence of str, optional
        Values of ``term`` to test. Default: all but ``(Intercept)``, which permuting says nothing about.
    strata : str or sequence of str, optional
        Columns; only participants who agree in all of them are exchanged.
    participant : str, default "participant"
        Column with the participants' labels.
    statistic : str, default "statistic"
        Column to compare, in absolute value: a t or z rather than an estimate, so that tests are comparable.
    n_permutations : int, default 199
        At least 19. The smallest possible p-value is 1 / (n_permutations + 1).
    seed : int, default 0
        Which permutations are drawn, and the seeds of the analyses.
    n_jobs : int, optional
        Analyses at the same time, as in joblib; also set by ``joblib.parallel_config``. Default: one.

    Raises
    ------
    ColumnError, CovariateError, DataError, ConfigError
        A column is absent, nothing can be permuted, or a setting is out of range. An error in the
        observed analysis is raised as it is.

    Warns
    -----
    ConvergenceWarning
        It was interrupted, or permuted analyses failed.

    References
    ----------
    Phipson & Smyth (2010), https://doi.org/10.2202/1544-6115.1585;
    Winkler et al. (2015), https://doi.org/10.1016/j.neuroimage.2015.05.092 (exchangeability within blocks).

    Examples
    --------
    >>> people = pd.DataFrame({"participant": list("abcde"), "age": [20, 30, 40, 50, 60]})
    >>> choices = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.5, "e": 0.6}
    >>> def refit(people, seed):
    ...     r = np.corrcoef(people["age"], people["participant"].map(choices))[0, 1]
    ...     return pd.DataFrame({"module": "x_value", "sparse_term": "reward", "term": ["age"], "statistic": [r]})
    >>> result = pipeline_permutation(refit, people, n_permutations=1000)
    >>> result.exact, result.n_permutations, round(float(result.tidy()["p_value"].iloc[0]), 3)
    (True, 119, 0.067)
    """
    whole_number("n_permutations", n_permutations, 19)
    seed_number(seed)
    moved, labels = _columns(people, covariates, strata, participant)
    order = _shuffled(permutation_rows(len(people), n_permutations, seed=seed, strata=labels), seed)
    seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(len(order.rows))]
    observed = _statistics(refit(people.copy(), seeds[0]), statistic)
    keys = _tested(observed, terms)
    tasks = (
        joblib.delayed(_permuted)(refit, people, moved, row, own, statistic)
        for row, own in zip(order.rows[1:], seeds[1:], strict=True)
    )
    found, interrupted = _collect(joblib.Parallel(n_jobs=n_jobs, return_as="generator")(tasks))
    _warn(found, len(order.rows) - 1, interrupted)
    statistics = np.array([_aligned(values, keys) for values in (observed, *found)])
    return PipelinePermutation(
        table=_table(observed, keys, statistics),
        statistics=statistics,
        n_permutations=len(found),
        n_failed=sum(values is None for values in found),
        exact=order.exact and not interrupted,
    )


def _columns(
    people: pd.DataFrame, covariates: str | Sequence[str] | None, strata: str | Sequence[str] | None, participant: str
) -> tuple[list[str], list[Any] | None]:
    """Return the columns that move and each row's stratum."""
    blocks = [] if strata is None else [strata] if isinstance(strata, str) else list(strata)
    fixed = {participant, *blocks}
    moved = [covariates] if isinstance(covariates, str) else covariates
    moved = [name for name in people.columns if name not in fixed] if moved is None else list(moved)
    require_columns(people, [participant, *blocks, *moved], "the participants' table")
    if people[participant].duplicated().any():
        raise DataError("the participants' table has more than one row for a participant", do="aggregate it first")
    overlap = fixed.intersection(moved)
    if overlap or not moved:
        raise CovariateError(
            "there is no covariate to permute" if not moved else "a column can be permuted or stay, not both",
            got=", ".join(sorted(overlap)) or None,
            do="name the columns to permute as `covariates`",
        )
    return moved, [tuple(row) for row in people[blocks].astype(str).to_numpy()] if blocks else None


def _shuffled(order: Rearrangements, seed: int) -> Rearrangements:
    """Put an enumeration in random order, so that its beginning is a random sample."""
    if not order.exact:
        return order
    later = np.random.default_rng(seed).permutation(len(order.rows) - 1) + 1
    return Rearrangements(order.rows[np.append(0, later)], exact=True)


def _permuted(
    refit: Refit, people: pd.DataFrame, moved: list[str], row: np.ndarray, seed: int, statistic: str
) -> dict[tuple[Any, ...], float] | None:
    """Return the statistics with permuted covariates, or None if the analysis fails."""
    changed = people.copy()
    for name in moved:
        changed[name] = people[name].array[row]
    try:
        return _statistics(refit(changed, seed), statistic)
    except SpicestatError:
        return None


def _statistics(result: pd.DataFrame | HasTidy, statistic: str) -> dict[tuple[Any, ...], float]:
    frame = result if isinstance(result, pd.DataFrame) else result.tidy() if isinstance(result, HasTidy) else None
    if frame is None:
        raise ConfigError(
            "`refit` gave no table", got=type(result).__name__, allowed="a DataFrame or a result with tidy()"
        )
    require_columns(frame, [*_KEYS, statistic], "the table that `refit` gave")
    keys = zip(*(frame[name] for name in _KEYS), strict=True)
    return dict(zip(keys, frame[statistic].astype("float64"), strict=True))


def _tested(observed: dict[tuple[Any, ...], float], terms: str | Sequence[str] | None) -> list[tuple[Any, ...]]:
    wanted = [terms] if isinstance(terms, str) else terms
    keys = [key for key in observed if (key[2] != "(Intercept)" if wanted is None else key[2] in wanted)]
    if not keys or not any(np.isfinite(observed[key]) for key in keys):
        raise DataError(
            "the observed analysis reports no statistic to test",
            got=", ".join(sorted({str(key[2]) for key in observed})),
            do="check `terms`, and that inference is not withheld",
        )
    return keys


def _collect(
    results: Iterator[dict[tuple[Any, ...], float] | None],
) -> tuple[list[dict[tuple[Any, ...], float] | None], bool]:
    """Return what is finished and whether Ctrl-C came before the end."""
    found: list[dict[tuple[Any, ...], float] | None] = []
    try:
        for values in results:  # one by one, so that an interruption keeps those before it
            found.append(values)
    except KeyboardInterrupt:
        if not found:
            raise
        return found, True
    return found, False


def _warn(found: Sequence[object], asked: int, interrupted: bool) -> None:
    failed = sum(values is None for values in found)
    if interrupted:
        message = f"interrupted after {len(found)} of {asked} permutations; the p-values rest on these."
        warn_user(message, ConvergenceWarning)
    if failed:
        message = (
            f"{failed} of {len(found)} permuted analyses failed and count as if they had found the largest effect."
        )
        warn_user(message, ConvergenceWarning)


def _aligned(values: dict[tuple[Any, ...], float] | None, keys: list[tuple[Any, ...]]) -> np.ndarray:
    """Return absolute statistics: 0 where nothing is reported, infinite where the analysis failed."""
    if values is None:
        return np.full(len(keys), np.inf)
    return np.nan_to_num(np.abs([values.get(key, 0.0) for key in keys]), nan=0.0, posinf=np.inf)


def _table(observed: dict[tuple[Any, ...], float], keys: list[tuple[Any, ...]], statistics: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(keys, columns=_KEYS)
    frame["statistic"] = [observed[key] for key in keys]
    silent = ~np.isfinite(frame["statistic"].to_numpy())
    frame["p_value"] = np.where(silent, np.nan, permutation_p_values(statistics))
    adjusted = np.full(len(keys), np.nan)
    for term in frame["term"].unique():
        family = np.flatnonzero((frame["term"] == term).to_numpy() & ~silent)
        if len(family):
            adjusted[family] = max_t_p_values(statistics[:, family])
    frame["p_adjusted"] = adjusted
    return frame
