"""Storage of group results: Parquet, safetensors, JSON and NetCDF only, so that loading never executes code."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load, save

from spicestat._files.atomic import DAMAGE, parse_json
from spicestat._files.tables import frame_of_parquet, parquet_bytes
from spicestat.coefficients import CoefficientTable, pack_coefficients, unpack_coefficients
from spicestat.errors import DataError, InputError, StorageError
from spicestat.group.after.fitted import DescribedGroup, design_of, table_of
from spicestat.group.formula.design import Design, rebuild_design
from spicestat.group.inference.rows import COLUMNS, GLANCE
from spicestat.group.inputs.contract import Posterior, Presence
from spicestat.group.posterior.engine import load_arviz
from spicestat.group.posterior.tables import label_array

__all__ = ["pack_group", "unpack_group"]

_MANIFEST, _ARRAYS, _DRAWS, _TABLE = "group.json", "group.safetensors", "draws.nc", "table/"
_ROWS, _GLANCE, _SKIPPED, _COVARIATES = "rows", "glance", "skipped", "covariates"
_RAN_VALS, _DIAGNOSTICS, _APPROXIMATION, _RATIO_TESTS = "ran_vals", "diagnostics", "approximation", "ratio_tests"
_LABELS = {_RAN_VALS: "level", _APPROXIMATION: "participant"}
"""Columns with participants' labels, which files keep as positions in the coefficient table."""
_EFFECT = ["module", "sparse_term", "term"]

_Blocks = Mapping[tuple[str, str], pd.DataFrame]


class SavedGroup(DescribedGroup, Protocol):
    """What is kept of a group result; `spicestat.group.GroupResult` has all of it."""

    @property
    def shrunken(self) -> pd.DataFrame | None:
        """Participants' coefficients."""

    @property
    def presence(self) -> Presence | None:
        """Who has which term."""

    @property
    def exact(self) -> bool | None:
        """Whether every permutation was used."""


def pack_group(result: SavedGroup) -> dict[str, bytes]:
    """Return the files of a group result.

    Raises
    ------
    StorageError
        Labels are of a kind that files cannot hold.
    DataError
        The result was put together by hand and lacks its design or its coefficients.
    """
    table, design = table_of(result), design_of(result)
    if design.frame is None:
        raise DataError("the design of the group result knows no formula", do="use a result of `spice_group`")
    arrays = {"design": design.matrix, "people": np.asarray(design.rows, dtype="int64")}
    manifest: dict[str, Any] = {
        "formula": result.formula,
        "method": result.method,
        "adjust": result.adjust,
        "conf_level": result.conf_level,
        "messages": list(result.messages),
        "links": [[*key, link] for key, link in result.links.items()],
        "exact": result.exact,
        "design": {"formula": design.formula, "names": list(design.names), "n": len(design.frame)},
        "covariance": _pack_blocks(result.covariance, "covariance", arrays),
    }
    frames = {_ROWS: result.coefficients, _GLANCE: result.glance_frame, _SKIPPED: result.skipped}
    frames[_COVARIATES] = design.frame
    if result.ran_vals is not None:
        frames[_RAN_VALS] = result.ran_vals
    if result.joint_covariance is not None:
        arrays["joint"] = result.joint_covariance.to_numpy(dtype="float64")
        manifest["joint"] = [list(effect) for effect in result.joint_covariance.index]
    if result.shrunken is not None:
        arrays["shrunken"] = result.shrunken.to_numpy(dtype="float64")
        columns = [list(key) for key in result.shrunken.columns]
        manifest["shrunken"] = {"people": _positions(result.shrunken.index.tolist(), table), "columns": columns}
    if result.presence is not None:
        frames[_RATIO_TESTS] = result.presence.ratio_tests
        counts = [[*key, count] for key, count in result.presence.n_present.items()]
        blocks = _pack_blocks(result.presence.covariance, "presence", arrays)
        manifest["presence"] = {"n_present": counts, "covariance": blocks}
    files = {f"{_TABLE}{name}": content for name, content in pack_coefficients(table).items()}
    if result.posterior is not None:
        frames[_DIAGNOSTICS] = result.posterior.diagnostics
        if result.posterior.approximation is not None:
            frames[_APPROXIMATION] = result.posterior.approximation
        files[_DRAWS] = _draws_bytes(result.posterior.inference_data, table)
    manifest["frames"] = {name: _dtypes(frame) for name, frame in frames.items()}
    for name, frame in frames.items():
        if name in _LABELS:
            frame = frame.assign(**{_LABELS[name]: _positions(frame[_LABELS[name]].tolist(), table)})
        files[f"{name}.parquet"] = parquet_bytes(frame, f"{name}.parquet")
    files[_MANIFEST] = json.dumps(manifest, indent=1).encode()
    files[_ARRAYS] = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    return files


def unpack_group(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the attributes of the group result of `pack_group`'s files.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    ConfigError
        The result has draws, and ArviZ is not installed.
    """
    absent = {
        _MANIFEST,
        _ARRAYS,
        *(f"{name}.parquet" for name in (_ROWS, _GLANCE, _SKIPPED, _COVARIATES)),
    } - files.keys()
    if absent:
        raise StorageError(f"a saved group result lacks {', '.join(sorted(absent))}", do="save it again")
    table = unpack_coefficients({name[len(_TABLE) :]: files[name] for name in files if name.startswith(_TABLE)})
    manifest = parse_json(files[_MANIFEST], _MANIFEST)
    if _DRAWS in files:
        load_arviz()  # that it is not installed is no damage
    try:
        return _Saved(files, manifest, load(files[_ARRAYS]), table).attributes()
    except (InputError, SafetensorError, *DAMAGE) as error:
        raise StorageError(f"a saved group result is damaged: {error}", do="save it again") from error


class _Saved:
    """The parts of a saved result."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        manifest: dict[str, Any],
        arrays: dict[str, np.ndarray],
        table: CoefficientTable,
    ) -> None:
        self.files, self.manifest, self.arrays, self.table = files, manifest, arrays, table

    def attributes(self) -> dict[str, Any]:
        manifest, rows, glance = self.manifest, self._frame(_ROWS), self._frame(_GLANCE)
        if tuple(rows.columns) != COLUMNS or not set(GLANCE) <= set(glance.columns):
            raise StorageError("a saved group result has other columns than it should", do="save it again")
        return {
            **{name: str(manifest[name]) for name in ("formula", "method", "adjust")},
            "coefficients": rows,
            "glance_frame": glance,
            "skipped": self._frame(_SKIPPED),
            "conf_level": float(manifest["conf_level"]),
            "messages": tuple(map(str, manifest["messages"])),
            "links": {(module, term): str(link) for module, term, link in manifest["links"]},
            "exact": None if manifest["exact"] is None else bool(manifest["exact"]),
            "design": self._design(),
            "table": self.table,
            "covariance": self._blocks(manifest["covariance"], "covariance"),
            "joint_covariance": self._joint(),
            "ran_vals": self._frame(_RAN_VALS) if _RAN_VALS in manifest["frames"] else None,
            "shrunken": self._shrunken(),
            "presence": self._presence(),
            "posterior": self._posterior(),
        }

    def _frame(self, name: str) -> pd.DataFrame:
        dtypes = {str(column): str(dtype) for column, dtype in self.manifest["frames"][name]}
        frame = frame_of_parquet(self.files[f"{name}.parquet"], f"{name}.parquet")
        if list(frame.columns) != list(dtypes):
            raise StorageError(f"'{name}.parquet' has other columns than it should", do="save the result again")
        if name in _LABELS:
            frame[_LABELS[name]] = pd.Series(self._labels(frame[_LABELS[name]].tolist()), index=frame.index)
        for column, dtype in dtypes.items():
            if dtype == "object":
                values = frame[column].astype(object)
                frame[column] = values.where(values.notna(), None)
            elif dtype != "category":
                frame[column] = frame[column].astype(dtype)  # type: ignore[call-overload]
        return frame

    def _labels(self, positions: Sequence[int]) -> list[Hashable]:
        n = len(self.table.participants)
        if not all(isinstance(place, int) and 0 <= place < n for place in positions):
            raise StorageError("a saved group result has an impossible participant", do="save it again")
        return [self.table.participants[place] for place in positions]

    def _design(self) -> Design:
        own, matrix, rows = self.manifest["design"], self.arrays["design"], self.arrays["people"]
        frame = self._frame(_COVARIATES)
        # a table without columns has no rows in a file
        frame = frame if len(frame.columns) else pd.DataFrame(index=pd.RangeIndex(int(own["n"])))
        design = rebuild_design(str(own["formula"]), frame, matrix, rows)
        whole = matrix.shape == (len(rows), len(design.names)) and list(design.names) == own["names"]
        if not whole or rows.dtype.kind != "i" or not np.isin(rows, np.arange(len(self.table.participants))).all():
            raise StorageError("the design of a saved group result is damaged", do="save the result again")
        return design

    def _blocks(self, labels: list[Any], name: str) -> dict[tuple[str, str], pd.DataFrame]:
        return {
            (module, term): pd.DataFrame(self.arrays[f"{name}.{place}"], index=own, columns=own)
            for place, (module, term, own) in enumerate(labels)
        }

    def _joint(self) -> pd.DataFrame | None:
        if "joint" not in self.manifest:
            return None
        index = pd.MultiIndex.from_tuples(list(map(tuple, self.manifest["joint"])), names=_EFFECT)
        return pd.DataFrame(self.arrays["joint"], index=index, columns=index)

    def _shrunken(self) -> pd.DataFrame | None:
        own = self.manifest.get("shrunken")
        if own is None:
            return None
        index = pd.Index(self._labels(own["people"]), name="participant")
        columns = pd.MultiIndex.from_tuples(list(map(tuple, own["columns"])), names=_EFFECT[:2])
        return pd.DataFrame(self.arrays["shrunken"], index=index, columns=columns)

    def _presence(self) -> Presence | None:
        own = self.manifest.get("presence")
        if own is None:
            return None
        counts = {(module, term): int(count) for module, term, count in own["n_present"]}
        return Presence(counts, self._frame(_RATIO_TESTS), self._blocks(own["covariance"], "presence"))

    def _posterior(self) -> Posterior | None:
        if _DIAGNOSTICS not in self.manifest["frames"]:
            return None
        approximation = self._frame(_APPROXIMATION) if _APPROXIMATION in self.manifest["frames"] else None
        draws = _with_people(_read_draws(self.files[_DRAWS]), lambda places: label_array(self._labels(places)))
        return Posterior(draws, self._frame(_DIAGNOSTICS), approximation)


def _pack_blocks(blocks: _Blocks, name: str, arrays: dict[str, np.ndarray]) -> list[list[Any]]:
    """Add covariances to the arrays, and return what they are of."""
    for place, block in enumerate(blocks.values()):
        arrays[f"{name}.{place}"] = block.to_numpy(dtype="float64")
    return [[*key, list(block.index)] for key, block in blocks.items()]


def _dtypes(frame: pd.DataFrame) -> list[list[str]]:
    return [[str(column), str(dtype)] for column, dtype in frame.dtypes.items()]


def _positions(labels: Sequence[Hashable], table: CoefficientTable) -> list[int]:
    """Return participants' positions in the table, whose labels may be of several types."""
    known = {label: place for place, label in enumerate(table.participants)}
    return [known[label] for label in labels]


def _draws_bytes(inference_data: Any, table: CoefficientTable) -> bytes:
    """Return draws as NetCDF, participants by their positions."""
    kept = _with_people(inference_data, lambda labels: _positions(labels, table))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / _DRAWS
        kept.to_netcdf(str(path))
        return path.read_bytes()


def _read_draws(content: bytes) -> Any:
    az = load_arviz()
    with TemporaryDirectory() as folder, warnings.catch_warnings(), az.rc_context({"data.load": "eager"}):
        warnings.simplefilter("ignore")
        path = Path(folder) / _DRAWS
        path.write_bytes(content)
        return az.from_netcdf(str(path))


def _with_people(inference_data: Any, relabel: Callable[[list[Any]], Any]) -> Any:
    """Return draws with other labels of the participants."""

    def relabelled(group: Any) -> Any:
        if "participant" not in group.dims:
            return group
        return group.assign_coords(participant=relabel(group["participant"].to_numpy().tolist()))

    return inference_data.map(relabelled)
