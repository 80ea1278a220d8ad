"""TrialTable: the coded trials of all participants, the labels behind the codes, and how both are stored."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._display import html_block, screen, shortlist
from spicestat._files.atomic import DAMAGE, parse_json
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat._files.tables import frame_of_parquet, parquet_bytes
from spicestat.errors import StorageError
from spicestat.trials.labels import label_key, labels_to_series

__all__ = ["TrialTable", "count_missing", "describe_blocks", "load_trials", "pack_trials", "unpack_trials"]

_MANIFEST, _TRIALS, _PEOPLE, _SHOWN = "trials.json", "trials.parquet", "people.parquet", "shown.parquet"
_LABELS = ("participants", "experiments", "actions", "inputs", "blocks")


@dataclass(frozen=True, eq=False, repr=False)
class TrialTable:
    """Coded trials of all participants, the labels behind the codes, and a record of what was done.

    Attributes
    ----------
    frame : DataFrame, one row per trial
        Sorted by participant, block and trial. ``participant`` (0..P-1), ``experiment``, ``block``
        (0..S-1, unique over the table), ``trial`` (0.. within the block) and ``choice`` (0..A-1, -1
        for a missed trial) are int64; ``reward_0`` .. ``reward_{A-1}`` are float64, NaN where not
        observed; then, where response times were read, ``rt`` (seconds, float64, NaN where missing);
        then the inputs, float64, under their own names.
    participants, experiments, actions : tuple
        Labels by code: ``participants[0]`` is the label of participant 0.
    inputs : tuple of str
        Names of the extra input columns.
    blocks : DataFrame, one row per block
        ``block``, ``participant`` and ``experiment`` codes, the original ``label``, ``n_trials``.
    people : DataFrame, one row per participant
        ``participant`` (original labels in code order), then the covariates. Where participants are people on
        occasions, labels are such as ``s1:placebo``, and ``person`` and the columns of occasions come first.
    rows : ndarray of int64, one per trial
        Position of each trial in the table that was read, from 0.
    record : dict
        What was counted, left out and rescaled; JSON-serialisable. See `read_trials`.
    shown : DataFrame, one row per trial
        Stimuli, options, attributes and the like, under the names of their columns; no column where there are none.
        ``record["columns"]`` has their roles.
    """

    frame: pd.DataFrame
    participants: tuple[Hashable, ...]
    experiments: tuple[Hashable, ...]
    actions: tuple[Hashable, ...]
    inputs: tuple[str, ...]
    blocks: pd.DataFrame
    people: pd.DataFrame
    rows: npt.NDArray[np.int64]
    record: dict[str, Any]
    shown: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def n_participants(self) -> int:
        """Number of participants, P."""
        return len(self.participants)

    @property
    def n_actions(self) -> int:
        """Number of actions, A."""
        return len(self.actions)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Response times in seconds, one per trial, NaN where there is none."""
        if self.record["columns"].get("rt") is None:
            return np.full(len(self.frame), np.nan)
        return self.frame["rt"].to_numpy(dtype="float64")

    @property
    def reward_zero_and_unit(self) -> tuple[float, float]:
        """Rewards of the data that are 0 and 1 apart in `frame`: they are zero + unit times those in `frame`."""
        scaling: dict[str, Any] = self.record["reward_scaling"]
        if scaling["method"] == "minmax":
            return scaling["min"], scaling["max"] - scaling["min"]
        return 0.0, scaling.get("unit", 1.0)

    def rescaled(self, scaling: dict[str, Any], note: str) -> TrialTable:
        """Return the trials with rescaled rewards in `frame`; `to_frame` still gives them in the unit of the data.

        Parameters
        ----------
        scaling : dict
            ``{"method": "unit", "unit": u}`` divides by u, above 0; ``{"method": "minmax", "min": a, "max": b}`` maps
            a and b to 0 and 1.
        note : str
            What the record says about it.
        """
        record = {**self.record, "reward_scaling": scaling, "reward_note": note}
        zero, unit = replace(self, record=record).reward_zero_and_unit
        rewards = {name: (self.frame[name] - zero) / unit for name in self._rewards}
        return replace(self, frame=self.frame.assign(**rewards), record=record)

    def select(self, keep: npt.NDArray[np.bool_]) -> TrialTable:
        """Return some of the trials as a table of their own, with the people and blocks that these are of.

        Actions, experiments and the scaling of rewards stay; people and blocks get new codes, in the same order.

        Parameters
        ----------
        keep : bool ndarray, one per trial
            What is kept of a block counts as the whole block, as if no other trial had been played.

        Examples
        --------
        >>> from spicestat.trials import read_trials
        >>> frame = pd.DataFrame({"participant": [1, 1, 2, 2], "choice": [0, 1, 1, 0], "reward": [0, 1, 1, 0]})
        >>> table = read_trials(frame)
        >>> table.select(table.frame["participant"].to_numpy() == 1).participants
        (2,)
        """
        frame = self.frame[keep].reset_index(drop=True)
        blocks, frame["block"] = np.unique(frame["block"].to_numpy(), return_inverse=True)
        people, frame["participant"] = np.unique(frame["participant"].to_numpy(), return_inverse=True)
        frame["trial"] = frame.groupby("block").cumcount().astype("int64")
        rewards = frame[self._rewards].to_numpy()
        missing = count_missing(frame, rewards, self.record["columns"].get("rt"), self.inputs)
        return replace(
            self,
            frame=frame,
            participants=tuple(self.participants[code] for code in people),
            blocks=describe_blocks(frame, self.blocks["label"].iloc[blocks].tolist()),
            people=self.people.iloc[people].reset_index(drop=True),
            rows=self.rows[keep],
            shown=self.shown[keep].reset_index(drop=True) if len(self.shown.columns) else self.shown,
            record={**self.record, "n_rows": len(frame), **missing},
        )

    @property
    def _rewards(self) -> list[str]:
        return [f"reward_{action}" for action in range(self.n_actions)]

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the participant covariates."""
        return tuple(self.people.columns[1:])

    def __repr__(self) -> str:
        notes = "".join(f"\n  {note}" for note in _left_out(self.record))
        return screen(f"<TrialTable: {self._counted()}{notes}>", ".record")

    def _repr_html_(self) -> str:
        shown = self.to_frame()
        return html_block(f"Trials: {self._counted()}", _left_out(self.record), shown[shown.columns[:8]])

    def _counted(self) -> str:
        return (
            f"{self.n_participants} participants, {len(self.blocks)} blocks, {len(self.frame)} trials, "
            f"{self.n_actions} actions, covariates: {shortlist(self.covariates)}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the trials under their original column names and labels, with the covariates.

        Rows are in coded order, trials are numbered from 0 within a block, and rewards are in the unit of the data.

        Examples
        --------
        >>> from spicestat.trials import read_trials
        >>> table = pd.DataFrame({"id": ["x", "x"], "key": ["f", "j"], "points": [0, 1]})
        >>> read_trials(table, participant="id", choice="key", reward="points").to_frame()
          id  trial key  points
        0  x      0   f     0.0
        1  x      1   j     1.0
        """
        columns: dict[str, Any] = self.record["columns"]
        frame = self.frame
        persons = self.people["person"].tolist() if columns.get("occasion") else self.participants
        result = {columns["participant"]: labels_to_series(persons, frame["participant"].to_numpy())}
        if columns["experiment"] is not None:
            result[columns["experiment"]] = labels_to_series(self.experiments, frame["experiment"].to_numpy())
        if columns["block"] is not None:
            result[columns["block"]] = labels_to_series(self.blocks["label"], frame["block"].to_numpy())
        if columns["trial"] is not None or "trial" not in self._source_columns():
            result[columns["trial"] or "trial"] = frame["trial"]
        choice = frame["choice"].to_numpy()
        result[columns["choice"]] = labels_to_series(self.actions, choice)
        zero, unit = self.reward_zero_and_unit
        rewards = zero + unit * frame[self._rewards].to_numpy()
        if isinstance(columns["reward"], str):
            chosen = rewards[np.arange(len(frame)), choice]
            result[columns["reward"]] = pd.Series(np.where(choice >= 0, chosen, np.nan))
        elif columns["reward"] is not None:
            each = self.of_options(rewards)
            result |= {name: pd.Series(each[:, place]) for place, name in enumerate(columns["reward"])}
        result |= {str(name): self.shown[name] for name in self.shown}
        if columns.get("rt") is not None:
            result[columns["rt"]] = frame["rt"]
        result |= {name: frame[name] for name in self.inputs}
        people = self.people.iloc[frame["participant"].to_numpy()].reset_index(drop=True)
        described = [name for name in self.covariates if not (name == "person" and columns.get("occasion"))]
        result |= {name: people[name] for name in described}
        return pd.DataFrame(result)

    def of_options(self, rewards: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return rewards of the options on offer, where choices are items; else of the actions, as they are."""
        offered = self.offered_actions
        if offered is None:
            return rewards
        found = np.take_along_axis(rewards, np.maximum(offered, 0), axis=1)
        return np.where(offered >= 0, found, np.nan)

    @property
    def offered_actions(self) -> npt.NDArray[np.int64] | None:
        """Codes of the actions on offer, (trials, places), -1 for none; None where choices are not items."""
        columns = self.record["columns"]
        if not columns.get("items_are_chosen"):
            return None
        code = {label_key(label): number for number, label in enumerate(self.actions)}
        code[""] = -1
        places = [
            self.shown[name].map(lambda label: "" if pd.isna(label) else label_key(label)).map(code)
            for name in columns["options"]
        ]
        return np.stack([place.to_numpy(dtype=np.int64) for place in places], axis=1)

    def _source_columns(self) -> set[str]:
        columns = self.record["columns"]
        reward = columns["reward"]
        rewards: list[str] = [reward] if isinstance(reward, str) else reward or []
        single = [columns.get(role) for role in ("participant", "choice", "rt", "block", "experiment")]
        return {*single, *rewards, *map(str, self.shown), *self.inputs, *self.covariates}

    def save(self, folder: str | Path) -> Path:
        """Write ``trials.parquet``, ``people.parquet`` and ``trials.json`` into a folder of their own.

        Raises
        ------
        StorageError
            The folder holds something else or cannot be written, or labels are neither text, numbers nor truth values.

        Examples
        --------
        >>> import tempfile
        >>> from spicestat.trials import read_trials
        >>> table = pd.DataFrame({"participant": [7, 7], "choice": [0, 1], "reward": [0, 1]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_trials(read_trials(table).save(folder)).participants
        (7,)
        """
        return write_sealed(folder, "trials", pack_trials(self))


def count_missing(
    frame: pd.DataFrame, rewards: npt.NDArray[np.float64], rt: str | None, inputs: Sequence[str]
) -> dict[str, Any]:
    """Count what is missing, as a `TrialTable` records it, from coded trials and rewards (n, A)."""
    choice = frame["choice"].to_numpy()
    unseen = np.isnan(rewards[np.arange(len(frame)), choice]) & (choice >= 0)
    return {
        "n_missing_choices": int((choice < 0).sum()),
        "n_missing_rewards": int(unseen.sum()),
        **({} if rt is None else {"n_missing_times": int((frame["rt"].isna() & (choice >= 0)).sum())}),
        "n_missing_inputs": {name: int(frame[name].isna().sum()) for name in inputs},
    }


def pack_trials(table: TrialTable) -> dict[str, bytes]:
    """Return the files of trials: Parquet, and JSON with labels and record.

    Raises
    ------
    StorageError
        A label is of a type that no file can hold.
    """
    columns = (table.participants, table.experiments, table.actions, table.inputs, table.blocks["label"].tolist())
    labels: dict[str, list[Any]] = {name: list(values) for name, values in zip(_LABELS, columns, strict=True)}
    for name, values in labels.items():
        odd = [value for value in values if not isinstance(value, str | bool | int | float)]
        if odd:
            raise StorageError(
                f"{name} cannot be saved", got=repr(odd[0]), allowed="numbers, strings and booleans as labels"
            )
    people = table.people.drop(columns="participant")
    shown = {_SHOWN: parquet_bytes(table.shown, _SHOWN)} if len(table.shown.columns) else {}
    return shown | {
        _MANIFEST: json.dumps({**labels, "record": table.record}, indent=1, ensure_ascii=False).encode(),
        _TRIALS: parquet_bytes(table.frame.assign(source_row=table.rows), _TRIALS),
        _PEOPLE: parquet_bytes(people, _PEOPLE),
    }


def _left_out(record: dict[str, Any]) -> list[str]:
    """Say which columns and rows were not used, and which values were made missing, as short as possible.

    Examples
    --------
    >>> _left_out({"unused_columns": {"a": "empty", "b": "empty"}, "unused_rows": {"empty": 3}, "n_rows_read": 9})
    ['columns not used: a, b (empty)', 'rows not used: 3 of 9 (3 empty)']
    """
    parts = []
    columns: dict[str, list[str]] = {}
    for name, reason in record.get("unused_columns", {}).items():
        columns.setdefault(reason, []).append(name)
    if columns:
        shown = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in columns.items())
        parts.append(f"columns not used: {shown}")
    rows: dict[str, int] = record.get("unused_rows", {})
    if rows:
        shown = ", ".join(f"{count} {reason}" for reason, count in rows.items())
        parts.append(f"rows not used: {sum(rows.values())} of {record['n_rows_read']} ({shown})")
    if record.get("n_people_unused"):
        parts.append(f"{record['n_people_unused']} rows of people without trials")
    marked: dict[str, dict[str, int]] = record.get("marked_missing", {})
    if marked:
        shown = ", ".join(
            f"{name} {', '.join(f'{value!r} {count}x' for value, count in counts.items())}"
            for name, counts in marked.items()
        )
        parts.append(f"made missing: {shown}")
    return parts


def load_trials(folder: str | Path) -> TrialTable:
    """Load trials that `TrialTable.save` wrote; labels keep their types.

    Raises
    ------
    StorageError
        A file is missing, damaged or of another version.
    """
    return unpack_trials(read_sealed(folder, "trials"))


def unpack_trials(files: Mapping[str, bytes]) -> TrialTable:
    """Make the trials of `pack_trials`' files.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    """
    absent = {_MANIFEST, _TRIALS, _PEOPLE} - files.keys()
    if absent:
        raise StorageError(f"saved trials lack {', '.join(sorted(absent))}", do="save them again")
    manifest = parse_json(files[_MANIFEST], _MANIFEST)
    try:
        frame, people = (frame_of_parquet(files[name], name) for name in (_TRIALS, _PEOPLE))
        shown = frame_of_parquet(files[_SHOWN], _SHOWN) if _SHOWN in files else pd.DataFrame()
        return _restored(manifest, frame, people, shown)
    except DAMAGE as error:
        raise StorageError(f"saved trials are damaged: {error!r}", do="save them again") from error


def _restored(
    manifest: Mapping[str, Any], frame: pd.DataFrame, people: pd.DataFrame, shown: pd.DataFrame
) -> TrialTable:
    participants = tuple(manifest["participants"])
    people.index = pd.RangeIndex(len(participants))  # a table without columns forgets its length
    people.insert(0, "participant", labels_to_series(participants))
    rows = frame.pop("source_row").to_numpy()
    return TrialTable(
        frame=frame,
        participants=participants,
        experiments=tuple(manifest["experiments"]),
        actions=tuple(manifest["actions"]),
        inputs=tuple(manifest["inputs"]),
        blocks=describe_blocks(frame, manifest["blocks"]),
        people=people,
        rows=rows,
        record=manifest["record"],
        shown=shown,
    )


def describe_blocks(frame: pd.DataFrame, labels: list[Hashable]) -> pd.DataFrame:
    """Return one row per block of coded trials: its codes, original label and number of trials."""
    blocks = frame.drop_duplicates("block")[["block", "participant", "experiment"]].reset_index(drop=True)
    blocks["label"] = labels_to_series(labels)
    blocks["n_trials"] = np.bincount(frame["block"]).astype(np.int64)
    return blocks
