"""Checkpoint: one file from which interrupted training resumes, bit for bit."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spicestat._files.atomic import DAMAGE, write_file
from spicestat.errors import ConfigError, StorageError, StorageWarning, warn_user
from spicestat.training.identity import digest
from spicestat.training.state import TrainingState

__all__ = ["Checkpoint"]

_FILE = "training.safetensors"
_FORMAT = "spicestat checkpoint 1"
# a number of epochs would write all the time for a small model, and lose much for a large one
_SECONDS = 10.0


class Checkpoint:
    """The stored state of one training run: tensors as safetensors, the rest as JSON in the same file.

    One file, and written all or nothing, so that its parts never contradict each other. Reading it
    executes nothing.

    Parameters
    ----------
    folder : path
        Where the file is; made if it is missing. Other files in it are left alone.
    identity : mapping of str to str, number, bool or None
        What the run is of; see `run_identity`.

    Raises
    ------
    ConfigError
        ``folder`` is no path.
    StorageError
        The folder cannot be made.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(folder, {"seed": 0})
    ...     print(checkpoint.load())
    ...     checkpoint.keep(TrainingState((0.7, 0.6), (), 0, {}))
    ...     checkpoint.write()
    ...     print(Checkpoint(folder, {"seed": 0}).load().train_nll)
    None
    (0.7, 0.6)
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            raise ConfigError("checkpoint must be the path of a folder", got=repr(folder), do="pass a path, or None")
        self.path = Path(folder).resolve() / _FILE
        self._identity = dict(identity)
        self._unwritten: TrainingState | None = None
        self._due = time.monotonic() + _SECONDS
        self._has_warned = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder of checkpoints: {error}", do="name another folder") from error

    def load(self) -> TrainingState | None:
        """Read the state to go on from; None if there is none yet.

        Raises
        ------
        StorageError
            The file is damaged, of another format or of another run.
        """
        if not self.path.exists():
            return None
        try:
            identity, state = _read(self.path)
        except (*DAMAGE, SafetensorError) as error:
            raise self.damaged(error) from error
        names = [name for name in {**self._identity, **identity} if self._identity.get(name) != identity.get(name)]
        if names:
            raise StorageError(
                f"the checkpoint '{self.path}' belongs to another training run",
                got=", ".join(f"{name}={self._identity.get(name)}" for name in names),
                allowed=", ".join(f"{name}={identity.get(name)}" for name in names),
                do="pass what it was made with, name another folder, or delete it to start afresh",
            )
        return state

    def damaged(self, error: Exception) -> StorageError:
        """Return the error that says that the file cannot be used, and what to do."""
        return StorageError(
            f"the checkpoint '{self.path}' is damaged: {error}", do="delete it to start afresh, or name another folder"
        )

    def keep(self, state: TrainingState) -> None:
        """Remember a state, and write it if the last time was ten seconds ago."""
        self._unwritten = state
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write the state that was remembered last; what is on the disk stays there until all is written.

        A full disk is no reason to lose the training, so it is a `StorageWarning`, given once.
        """
        if self._unwritten is None:
            return
        try:
            write_file(self.path, _content(self._identity, self._unwritten))
            self._unwritten = None
        except StorageError as error:
            self._warn(error)
        self._due = time.monotonic() + _SECONDS

    def _warn(self, error: StorageError) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn_user(f"Training goes on without a new checkpoint: {error}", StorageWarning)


def _content(identity: Mapping[str, Any], state: TrainingState) -> bytes:
    run = {
        "identity": identity,
        "train_nll": state.train_nll,
        "validation_nll": state.validation_nll,
        "best_epoch": state.best_epoch,
    }
    tensors = {name: value.cpu().contiguous() for name, value in state.tensors.items()}
    text = json.dumps(run)
    return save(tensors, {"format": _FORMAT, "run": text, "digest": digest(tensors, text)})


def _read(path: Path) -> tuple[dict[str, Any], TrainingState]:
    """Read identity and state; safetensors notices a missing end, and the digest all other damage."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"it has the format {metadata.get('format')!r}, and not {_FORMAT!r}")
    if metadata["digest"] != digest(tensors, metadata["run"]):
        raise ValueError("its content has changed since it was written")
    run = json.loads(metadata["run"])
    validation = tuple((int(epoch), float(loss)) for epoch, loss in run["validation_nll"])
    return run["identity"], TrainingState(tuple(run["train_nll"]), validation, int(run["best_epoch"]), tensors)
