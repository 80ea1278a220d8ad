"""CoefficientTable: the contract between estimation and group analysis (needs neither torch nor pysindy)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spicestat._display import html_block, screen, shortlist
from spicestat._files.atomic import DAMAGE, parse_json
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat._files.tables import (
    TableSource,
    check_numeric,
    first_rows,
    frame_of_parquet,
    parquet_bytes,
    read_table,
    require_columns,
)
from spicestat.errors import (
    ColumnError,
    ConfigError,
    DataError,
    InputError,
    ShapeError,
    StorageError,
    SuspiciousDataWarning,
    warn_user,
)

__all__ = [
    "COLUMNS",
    "OPTIONAL",
    "CoefficientTable",
    "pack_coefficients",
    "read_coefficients",
    "refuse_occasions",
    "unpack_coefficients",
]

COLUMNS = (
    "participant",
    "module",
    "term",
    "estimate",
    "std_error",
    "conf_low",
    "conf_high",
    "selected",
    "inclusion_prob",
    "n_trials",
    "converged",
    "at_bound",
)
OPTIONAL = ("pooled", "pooled_sd", "shared")
"""Columns of tables whose people were estimated together with their population."""
_REQUIRED = ("participant", "module", "term", "estimate", "std_error")
_KEY = ["participant", "module", "term"]
# what R's tidy() calls them
_OWN_NAMES = {
    "level": "participant",
    "component": "module",
    "std.error": "std_error",
    "conf.low": "conf_low",
    "conf.high": "conf_high",
    "present": "selected",
    "inclusion.prob": "inclusion_prob",
    "n.trials": "n_trials",
    "at.bound": "at_bound",
    "pooled.sd": "pooled_sd",
}
_TABLE_FILE = "coefficients.parquet"
_MANIFEST_FILE = "coefficients.json"
_COVARIANCE_FILE, _PEOPLE_FILE = "covariance.parquet", "people.parquet"


@dataclass(frozen=True)
class CoefficientTable:
    """Estimated equation coefficients: one row per participant, module and term.

    Attributes
    ----------
    frame : DataFrame
        Columns `COLUMNS`, ``P * K`` rows: participants in order of first appearance, and within each the same ``K``
        (module, term) pairs in the same order. Terms that are not in the equation have ``estimate`` 0, ``std_error``
        NaN and ``selected`` False. A term that the structure fixes (an own state that is simply kept, coefficient 1)
        has ``selected`` True and ``std_error`` NaN; its ``inclusion_prob`` is the probability that it should be
        estimated instead. Inverse temperatures have module ``beta`` and the state as term. A fit that pools people also
        has the columns `OPTIONAL`: posterior mean and standard deviation, and whether the coefficient is the
        population's and merely repeated in everybody's rows. A person's own ``estimate`` is then missing (NaN), with
        ``at_bound`` True, where the choices do not bound it.
    covariance : ndarray of shape (P, K, K) or None
        Sampling covariance of each participant's estimates, NaN where there is none.
    people : DataFrame or None
        One row per participant: column ``participant`` and the covariates. Where participants are people on
        occasions, labels are such as ``s1:placebo``, and there are columns ``person`` and those of `occasions`.
    info : mapping
        Where the table came from (JSON-serialisable).

    Examples
    --------
    >>> table = CoefficientTable.from_frame(pd.DataFrame({
    ...     "participant": ["a", "b"], "module": "x_learning_rate_reward", "term": "1",
    ...     "estimate": [0.3, 0.5], "std_error": [0.1, 0.1]}))
    >>> table.participants, table.terms
    (('a', 'b'), (('x_learning_rate_reward', '1'),))
    >>> table.share_unidentified
    0.0
    """

    frame: pd.DataFrame
    covariance: np.ndarray | None = None
    people: pd.DataFrame | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        covariance: np.ndarray | None = None,
        people: pd.DataFrame | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> CoefficientTable:
        """Check and complete a coefficient table.

        Parameters
        ----------
        frame : DataFrame
            At least ``participant, module, term, estimate, std_error``. A (module, term)
            pair that a participant lacks is added as not selected.
        covariance : ndarray of shape (P, K, K), optional
            Per-participant covariance in the order of the completed table.
        people : DataFrame, optional
            Covariates, one row per participant.

        Raises
        ------
        ColumnError
            A required column is missing or not numeric.
        DataError
            Duplicate rows, a selected term without an estimate, or a negative standard error.
        ShapeError
            ``covariance`` does not match the table.
        """
        require_columns(frame, _REQUIRED, "the coefficient table")
        if frame.empty:
            raise DataError("the coefficient table has no rows")
        completed = _complete(_typed(frame))
        n_participants = completed["participant"].nunique()
        n_terms = len(completed) // n_participants
        if covariance is not None and covariance.shape != (n_participants, n_terms, n_terms):
            raise ShapeError(
                "the covariance does not match the table",
                got=covariance.shape,
                allowed=(n_participants, n_terms, n_terms),
            )
        return cls(completed, covariance, people, dict(info or {}))

    @cached_property
    def participants(self) -> tuple[Any, ...]:
        """Participant labels, length P, in table order."""
        return tuple(self.frame["participant"].drop_duplicates())

    @property
    def occasions(self) -> tuple[str, ...]:
        """Columns that tell the occasions of a person apart; none where everybody was fitted as one."""
        return tuple(self.info.get("occasion", {}).get("columns", ()))

    @property
    def unit(self) -> str:
        """What the rows of a term are: ``participant``, or for example ``participant:drug``."""
        return ":".join(("participant", *self.occasions))

    @property
    def counted(self) -> str:
        """How many participants there are, and on how many occasions, in words."""
        n_units = len(self.participants)
        if not self.occasions or self.people is None:
            return f"{n_units} participants"
        return f"{self.people['person'].nunique()} participants on {n_units} occasions of {', '.join(self.occasions)}"

    @cached_property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The K (module, term) pairs, in table order."""
        first = self.frame.iloc[: len(self.frame) // len(self.participants)]
        return tuple(zip(first["module"], first["term"], strict=True))

    @property
    def share_unidentified(self) -> float:
        """Share of participants, in [0, 1], with a bound hit, a bad Hessian or no convergence."""
        bad = self.frame["at_bound"] | ~self.frame["converged"]
        return float(bad.groupby(self.frame["participant"], sort=False).any().mean())

    def __repr__(self) -> str:
        title, *notes = self._described()
        return screen("\n".join([f"CoefficientTable: {title}", *(f"  {note}" for note in notes)]), ".frame")

    def _repr_html_(self) -> str:
        title, *notes = self._described()
        columns = ["participant", "module", "term", "estimate", "std_error", "selected"]
        return html_block(f"Coefficients: {title}", notes, self.frame[columns])

    def _described(self) -> list[str]:
        """Return how many there are of what, and the terms of each module."""
        terms = self.terms
        covariates = [] if self.people is None else [name for name in self.people.columns if name != "participant"]
        by_module: dict[str, list[str]] = {}
        for module, term in terms:
            by_module.setdefault(module, []).append(term)
        return [
            f"{self.counted}, {len(terms)} terms, {100 * self.share_unidentified:.0f} % not identified",
            f"covariances: {'none' if self.covariance is None else 'within participants'}; "
            f"covariates: {shortlist(covariates)}",
            *(f"{module}: {shortlist(own)}" for module, own in by_module.items()),
        ]

    def tidy(self) -> pd.DataFrame:
        """Return a copy of `frame`; where there are occasions, with people's own labels and the occasions beside them.

        Columns: ``participant``, those of occasions, and the others of `frame`.
        """
        if not self.occasions or self.people is None:
            return self.frame.copy()
        rows = np.repeat(np.arange(len(self.participants)), len(self.terms))
        who = self.people[["person", *self.occasions]].iloc[rows].reset_index(drop=True)
        return pd.concat(
            [who.rename(columns={"person": "participant"}), self.frame.drop(columns="participant")], axis=1
        )

    def wide(self, column: str = "estimate") -> pd.DataFrame:
        """Return one column as a participants x (module, term) table, in table order."""
        require_columns(self.frame, [column], "the coefficient table")
        values = self.frame[column].to_numpy().reshape(len(self.participants), -1)
        index = pd.Index(self.participants, name="participant")
        return pd.DataFrame(values, index=index, columns=pd.MultiIndex.from_tuples(self.terms))

    def save(self, folder: str | Path) -> Path:
        """Write ``coefficients.parquet``, its JSON manifest, covariance and covariates into a folder of their own.

        Raises
        ------
        StorageError
            The folder holds something else or cannot be written.
        """
        return write_sealed(folder, "coefficients", pack_coefficients(self))

    def covariance_frame(self) -> pd.DataFrame:
        """Return the covariance as a long table ``participant, row, column, value`` (0-based term positions).

        Only finite entries are listed.
        """
        blocks = np.full((0, 0, 0), np.nan) if self.covariance is None else self.covariance
        who, row, column = np.nonzero(np.isfinite(blocks))
        labels = pd.Series(self.participants, name="participant")
        return pd.DataFrame(
            {
                "participant": labels.iloc[who].to_numpy(),
                "row": row.astype("int64"),
                "column": column.astype("int64"),
                "value": blocks[who, row, column],
            }
        )

    def with_covariance_frame(self, frame: pd.DataFrame) -> CoefficientTable:
        """Return the table with the covariance read from a long table as `covariance_frame` gives it."""
        require_columns(frame, ("participant", "row", "column", "value"), "the covariance table")
        position = {label: index for index, label in enumerate(self.participants)}
        unknown = ~frame["participant"].isin(list(position)).to_numpy()
        if unknown.any():
            raise DataError(
                "the covariance names unknown participants", got=first_rows(frame, unknown, ["participant"])
            )
        n_terms = len(self.terms)
        blocks = np.full((len(position), n_terms, n_terms), np.nan)
        who = frame["participant"].map(position).to_numpy(dtype="int64")
        row, column = (frame[name].to_numpy(dtype="int64") for name in ("row", "column"))
        if len(frame) and (min(row.min(), column.min()) < 0 or max(row.max(), column.max()) >= n_terms):
            raise DataError("the covariance has term positions outside the table", allowed=f"0 to {n_terms - 1}")
        blocks[who, row, column] = frame["value"].to_numpy(dtype="float64")
        return CoefficientTable(self.frame, blocks, self.people, self.info)


def read_coefficients(source: TableSource) -> CoefficientTable:
    """Read a coefficient table from a fit folder, a CSV or Parquet file, or a data frame.

    Parameters
    ----------
    source : DataFrame or path
        A folder written by `CoefficientTable.save` (or ``spicestat fit``), or a table with at
        least ``participant, module, term, estimate, std_error``; R's ``tidy()`` of a fit, whose names are
        ``level, component, term, estimate, std.error``, is one.

    Raises
    ------
    StorageError
        There is nothing readable there.

    Warns
    -----
    SuspiciousDataWarning
        A file seems to be cut off: only the last participant lacks rows.
    """
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        given = read_table(source, ids=("participant", "level"), labels=("component", "module", "term"))
        foreign = {name: own for name, own in _OWN_NAMES.items() if name in given and own not in given}
        table = given.rename(columns=foreign)
        if isinstance(source, str | Path):
            _warn_if_cut_off(table, source)
        return CoefficientTable.from_frame(table)
    return unpack_coefficients(read_sealed(source, "fit", "coefficients"))


def refuse_occasions(table: CoefficientTable, what: str) -> None:
    """Raise where participants are people on occasions, and something would take them for different people.

    Raises
    ------
    ConfigError
        Somebody has several occasions.
    """
    if table.occasions and table.people is not None and table.people["person"].duplicated().any():
        raise ConfigError(
            f"{what} takes participants for different people",
            got=f"people on several occasions ({', '.join(table.occasions)})",
            do="use a fit without `occasion`, or trials of one occasion",
        )


def pack_coefficients(table: CoefficientTable) -> dict[str, bytes]:
    """Return the files of a table: Parquet, and JSON with what Parquet cannot hold.

    Raises
    ------
    StorageError
        Labels cannot be told apart in a file, or are of a type that none can hold.
    """
    manifest: dict[str, Any] = {"columns": list(table.frame), "info": dict(table.info)}
    mixed = len({type(label) for label in table.participants}) > 1
    if mixed and len({str(label) for label in table.participants}) < len(table.participants):
        raise StorageError("participants such as 1 and '1' cannot be told apart in a file", do="rename them")
    if mixed:
        # Parquet columns have one type, so the labels go into the manifest and their text into the tables
        manifest["participants"] = list(table.participants)
    tables = {
        _TABLE_FILE: table.frame,
        _COVARIANCE_FILE: None if table.covariance is None else table.covariance_frame(),
        _PEOPLE_FILE: table.people,
    }
    try:
        files = {_MANIFEST_FILE: json.dumps(manifest, indent=2).encode()}
    except TypeError as error:
        raise StorageError(
            f"these participants cannot be saved: {error}", allowed="numbers, strings and booleans as labels"
        ) from error
    return files | {
        name: parquet_bytes(frame.astype({"participant": str}) if mixed else frame, name)
        for name, frame in tables.items()
        if frame is not None
    }


def unpack_coefficients(files: Mapping[str, bytes]) -> CoefficientTable:
    """Make the table of `pack_coefficients`' files.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    """
    absent = {_MANIFEST_FILE, _TABLE_FILE} - files.keys()
    if absent:
        raise StorageError(f"a table of coefficients lacks {', '.join(sorted(absent))}", do="save it again")
    manifest = parse_json(files[_MANIFEST_FILE], _MANIFEST_FILE)
    given, info = manifest.get("participants", []), manifest.get("info", {})
    if not isinstance(given, list) or not isinstance(info, dict):
        raise StorageError(f"'{_MANIFEST_FILE}' is damaged", do="save the coefficients again")
    labels = {str(label): label for label in given}
    frames = {
        name: _relabelled(frame_of_parquet(files[name], name), labels)
        for name in (_TABLE_FILE, _PEOPLE_FILE, _COVARIANCE_FILE)
        if name in files
    }
    try:
        table = CoefficientTable.from_frame(frames[_TABLE_FILE], None, frames.get(_PEOPLE_FILE), info)
        return table.with_covariance_frame(frames[_COVARIANCE_FILE]) if _COVARIANCE_FILE in frames else table
    except (InputError, *DAMAGE) as error:
        raise StorageError(f"saved coefficients are damaged: {error}", do="save them again") from error


def _warn_if_cut_off(table: pd.DataFrame, source: str | Path) -> None:
    """Warn of a file whose last participant has fewer rows, where all others have equally many."""
    if "participant" not in table or table.empty:
        return
    counts = table["participant"].value_counts(sort=False)
    last, n_last = table["participant"].iloc[-1], int(counts.get(table["participant"].iloc[-1], 0))
    others = counts.drop(last, errors="ignore")
    if len(others) > 1 and len(set(others)) == 1 and n_last < int(others.iloc[0]):
        warn_user(
            f"the last participant of '{source}', {last!r}, has {n_last} rows, and all others have "
            f"{int(others.iloc[0])}: was the file cut off?",
            SuspiciousDataWarning,
        )


def _relabelled(frame: pd.DataFrame, labels: Mapping[str, Any]) -> pd.DataFrame:
    """Give participants of mixed types their own labels back; without ``labels`` they have them."""
    if not labels:
        return frame
    own = np.empty(len(frame), dtype=object)
    own[:] = [labels.get(label, label) for label in frame["participant"]]
    return frame.assign(participant=own)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the contract's columns with the contract's types, absent ones filled in."""
    what = "the coefficient table"
    typed = pd.DataFrame({"participant": frame["participant"]}).reset_index(drop=True)
    if typed["participant"].isna().any():
        raise DataError(f"{what} has rows without a participant")
    for name in ("module", "term"):
        typed[name] = frame[name].astype(str).to_numpy()
    for name in ("estimate", "std_error"):
        typed[name] = check_numeric(frame, name, what).to_numpy()
    negative = (typed["std_error"] < 0).to_numpy()
    if negative.any():
        raise DataError(f"{what} has negative standard errors", got=first_rows(typed, negative, _KEY))
    for name in ("conf_low", "conf_high", "inclusion_prob"):
        typed[name] = check_numeric(frame, name, what).to_numpy() if name in frame else np.nan
    typed["n_trials"] = check_numeric(frame, "n_trials", what).to_numpy() if "n_trials" in frame else np.nan
    defaults: dict[str, Any] = {"selected": typed["estimate"].notna().to_numpy(), "converged": True, "at_bound": False}
    for name, default in defaults.items():
        typed[name] = _as_bool(frame, name) if name in frame else default
    for name in [name for name in OPTIONAL if name in frame]:
        typed[name] = _as_bool(frame, name) if name == "shared" else check_numeric(frame, name, what).to_numpy()
    unbounded = typed["at_bound"] & ("pooled" in frame)
    lost = (typed["selected"] & typed["estimate"].isna() & ~unbounded).to_numpy()
    if lost.any():
        raise DataError(f"{what} has selected terms without an estimate", got=first_rows(typed, lost, _KEY))
    typed["estimate"] = typed["estimate"].where(typed["selected"], 0.0)
    twice = typed.duplicated(_KEY).to_numpy()
    if twice.any():
        raise DataError(
            f"{what} has duplicate rows",
            got=first_rows(typed, twice, _KEY),
            do="keep one of each; where people were seen on several occasions, pass the fit or its folder",
        )
    return typed[_columns_of(typed)]


def _as_bool(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Read a column of booleans, 0/1, or the words TRUE/FALSE that R and CSV files use."""
    words = (
        frame[name]
        .astype(str)
        .str.lower()
        .map({"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False})
    )
    bad = words.isna().to_numpy()
    if bad.any():
        raise ColumnError(f"column '{name}' must be true or false", got=first_rows(frame, bad, [name]))
    return words.to_numpy(dtype=bool)


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every participant every (module, term) pair, ordered by first appearance."""
    participants = frame["participant"].drop_duplicates()
    pairs = frame[["module", "term"]].drop_duplicates()
    # beta rows last, as they scale the states that the modules produce
    pairs = pairs.iloc[np.argsort((pairs["module"] == "beta").to_numpy(), kind="stable")]
    grid = participants.to_frame().merge(pairs, how="cross")
    completed = grid.merge(frame, on=_KEY, how="left", sort=False)
    absent = completed["selected"].isna()
    completed["estimate"] = completed["estimate"].where(~absent, 0.0)
    for name, default in {"selected": False, "converged": True, "at_bound": False}.items():
        completed[name] = completed[name].where(~absent, default).astype(bool)
    if "shared" in completed:
        completed["shared"] = completed["shared"].where(~absent, False).astype(bool)
    return completed[_columns_of(completed)]


def _columns_of(frame: pd.DataFrame) -> list[str]:
    """Return the contract's columns, and those of the optional ones that are there, each in its place."""
    own = [*COLUMNS[:7], *OPTIONAL[:2], "selected", "shared", *COLUMNS[8:]]
    return [name for name in own if name in COLUMNS or name in frame]
