"""Occasions: a participant who was seen several times is fitted as one learner for each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.tables import first_rows, require_columns
from spicestat.errors import ConfigError, DataError
from spicestat.trials.checks import code_complete
from spicestat.trials.covariates import row_varies
from spicestat.trials.labels import labels_to_series

__all__ = ["code_units", "occasion_columns", "refuse_varying"]

Codes = npt.NDArray[np.int64]

_RESERVED = ("participant", "person", "module", "term", "estimate", "std_error")


def occasion_columns(given: str | Sequence[str] | None, participant: str) -> list[str]:
    """Return the columns of occasions, or raise `ConfigError` where one cannot be one.

    Examples
    --------
    >>> occasion_columns("drug", "subject"), occasion_columns(None, "subject")
    (['drug'], [])
    """
    names = [] if given is None else [given] if isinstance(given, str) else list(given)
    for name in names:
        if not isinstance(name, str) or name in (*_RESERVED, participant) or names.count(name) > 1:
            raise ConfigError(
                "`occasion` names a column that cannot tell occasions apart",
                got=repr(name),
                allowed=f"columns of the trials, each once, other than {', '.join(map(repr, _RESERVED))}",
                do="rename the column",
            )
    return names


def refuse_varying(
    table: pd.DataFrame,
    within: Sequence[str],
    occasions: Sequence[str],
    block: str | None,
    trial: str | None = None,
) -> None:
    """Raise where an occasion changes within a block, or, without blocks, comes and goes within a participant.

    Blocks may be numbered anew on each occasion where trials are, too.

    Parameters
    ----------
    table : DataFrame
        The trials in file order.
    within : sequence of str
        Columns that identify a block.
    occasions : sequence of str
        Columns of occasions.
    block : str or None
        The column of blocks.
    trial : str, optional
        The column of trials.
    """
    require_columns(table, occasions, "occasion: the table of trials")
    codes = table.groupby(list(within), sort=False, dropna=False, observed=True).ngroup().to_numpy()
    if block is not None:
        anew = _numbered_anew(table, codes, occasions, trial)
        for name in occasions:
            varies = row_varies(table[name], codes.astype(np.int64)) & ~anew
            if varies.any():
                both = varies | ((codes == codes[np.argmax(varies)]) & ~pd.Series(codes).duplicated().to_numpy())
                raise DataError(
                    f"occasion '{name}' varies within a block of column '{block}'",
                    got=first_rows(table, both, [*within, name]),
                    allowed="one occasion per block",
                    do="name the column of trials with trial=... where they start anew on each occasion, or make "
                    f"one column of '{block}' and '{name}'; what changes from trial to trial belongs in "
                    f"inputs=['{name}']",
                )
        return
    unit = table.groupby([*within, *occasions], sort=False, dropna=False, observed=True).ngroup()
    order = np.argsort(codes, kind="stable")
    starts = order[np.r_[True, np.diff(unit.to_numpy()[order]) != 0]]
    resumed = starts[unit.iloc[starts].duplicated().to_numpy()]
    if len(resumed):
        where = np.isin(np.arange(len(table)), resumed)
        raise DataError(
            f"the rows of an occasion ({', '.join(occasions)}) of a participant are not next to each other",
            got=first_rows(table, where, [*within, *occasions]),
            do="name the column of blocks with block=..., in each of which learning starts afresh",
        )


def _numbered_anew(
    table: pd.DataFrame, block: np.ndarray, occasions: Sequence[str], trial: str | None
) -> npt.NDArray[np.bool_]:
    """Return whether the trials of each row's block begin with the same number on all occasions."""
    if trial is None or trial not in table:
        return np.zeros(len(table), dtype=bool)
    number = pd.to_numeric(table[trial], errors="coerce")
    first = number.groupby([pd.Series(block, table.index), *(table[name] for name in occasions)], observed=True)
    lowest = first.transform("min").groupby(block)
    return np.asarray(lowest.transform("nunique") == 1)


def code_units(
    table: pd.DataFrame, participant: str, occasions: Sequence[str]
) -> tuple[Codes, tuple[Hashable, ...], pd.DataFrame]:
    """Code participants on occasions.

    Parameters
    ----------
    table : DataFrame
        The trials.
    participant : str
        Column of participants.
    occasions : sequence of str
        Columns of occasions.

    Returns
    -------
    codes : int64 ndarray, one per row
    labels : tuple of str
        Of the U combinations that occur, by participant and then by occasion: ``s1:placebo``.
    units : DataFrame of U rows
        The columns ``participant`` and ``occasions``; a categorical occasion keeps its order.

    Examples
    --------
    >>> trials = pd.DataFrame({"id": ["b", "b", "a"], "drug": ["placebo", "active", "active"]})
    >>> codes, labels, units = code_units(trials, "id", ["drug"])
    >>> codes.tolist(), labels
    ([2, 1, 0], ('a:active', 'b:active', 'b:placebo'))
    """
    names = [participant, *occasions]
    coded = [code_complete(table, name, "occasion" if place else "participant") for place, name in enumerate(names)]
    found, codes = np.unique(np.column_stack([own for own, _ in coded]), axis=0, return_inverse=True)
    columns = {
        name: labels_to_series(labels, found[:, place])
        for place, (name, (_, labels)) in enumerate(zip(names, coded, strict=True))
    }
    for name, (_, known) in zip(occasions, coded[1:], strict=True):
        if isinstance(table[name].dtype, pd.CategoricalDtype):
            columns[name] = columns[name].astype(pd.CategoricalDtype(list(known)))
    units = pd.DataFrame(columns)
    names_of_units = tuple(":".join(map(str, row)) for row in units.itertuples(index=False, name=None))
    if len(set(names_of_units)) < len(names_of_units):
        twice = next(label for label in names_of_units if names_of_units.count(label) > 1)
        raise DataError(
            "participants and occasions cannot be told apart by their names", got=twice, do="leave ':' out of labels"
        )
    return codes.ravel().astype(np.int64), names_of_units, units
