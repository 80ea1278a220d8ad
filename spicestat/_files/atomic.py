"""Atomic files: written completely or not at all; and the exceptions that damaged files raise."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any

from spicestat.errors import StorageError

try:
    fcntl: Any = import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "DAMAGE",
    "check_file_target",
    "check_writable",
    "locked",
    "parse_json",
    "save_or_rescue",
    "shortened",
    "sync_folder",
    "write_file",
    "write_synced",
]

DAMAGE = (OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, RuntimeError)
"""What reading the parts of a damaged file may raise."""

_UNFINISHED = ".spicestat-new"


def write_file(path: str | Path, content: bytes) -> Path:
    """Write a file all or nothing: a full disk, an interrupt or a kill leaves what was there before.

    Parameters
    ----------
    path : path
        Name of the file; folders above it are made.
    content : bytes
        All of it.

    Returns
    -------
    Path
        The file's absolute path.

    Raises
    ------
    StorageError
        It cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_file(Path(folder) / "new" / "file", b"content").read_bytes()
    b'content'
    """
    try:
        target = Path(path).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        # short, whatever the length of the file's own name
        stem = f".{hashlib.sha256(target.name.encode(errors='surrogatepass')).hexdigest()[:16]}."
        _remove_unfinished(target.parent, stem)
        new = target.with_name(f"{stem}{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            with locked(new):
                write_synced(new, content)
                if target.exists():
                    new.chmod(target.stat().st_mode & 0o777)
                new.replace(target)
        finally:
            new.unlink(missing_ok=True)
        sync_folder(target.parent)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        what = f"cannot write '{shortened(str(path))}': {error.args[-1]}"
        raise StorageError(what, do="check name, rights and free space") from error
    return target


def _remove_unfinished(folder: Path, stem: str) -> None:
    """Remove what writers that were killed have left; those that are at work hold a lock."""
    if fcntl is None:
        return
    for left in folder.glob(f"{stem}*{_UNFINISHED}"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file in place and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder, or of a file that is made for it; wait for whoever has it.

    Where the file system knows no locks, nothing is locked. The lock of a process that dies is free.
    """
    if fcntl is None:
        yield
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_EXCL
    descriptor = os.open(path, flags, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_writable(path: str | Path) -> Path:
    """Return the absolute path of a file or folder that could be made now, or an existing one's.

    Long computations call this first, so that a wrong name or a folder without rights is not found after them.

    Raises
    ------
    StorageError
        The name is not possible, or the folder that it is to be in cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     check_writable(Path(folder) / "a" / "b").name
    'b'
    """
    try:
        target = Path(path).resolve()
        there = target if target.is_dir() else target.parent
        missing = [target.name]
        while not os.path.lexists(there):
            missing.append(there.name)
            there = there.parent
        for name in missing:
            with contextlib.suppress(FileNotFoundError):
                (there / name).lstat()
        with TemporaryFile(dir=there):
            pass
    except (OSError, ValueError) as error:
        raise StorageError(
            f"nothing can be written to '{shortened(str(path))}': {error.args[-1]}", do="check its name and rights"
        ) from error
    return target


def check_file_target(path: str | Path) -> Path:
    """Return the absolute path of a file that `write_file` could write now; see `check_writable`.

    Raises
    ------
    StorageError
        Nothing can be written there, or a folder has this name.
    """
    target = check_writable(path)
    if target.is_dir():
        raise StorageError(f"'{shortened(str(path))}' is a folder", do="name a file in it")
    return target


def shortened(text: str, longest: int = 120) -> str:
    """Return a text, cut where it would fill a message."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def save_or_rescue(save: Callable[[Path], object], target: str | Path) -> None:
    """Save what took long to compute; where that fails, save it elsewhere and say where.

    Parameters
    ----------
    save : callable
        Takes a path and writes to it, or raises StorageError.
    target : path
        Where to. Second choices are new folders in the working folder, at home, and among the temporary files.

    Raises
    ------
    StorageError
        It could not be written there; the message names the place where it is instead, if there is one.
    """
    path = Path(target)
    try:
        save(path)
    except StorageError as error:
        name = path.name if 0 < len(path.name) < 100 else f"saved{path.suffix[-10:]}"
        for folder in dict.fromkeys([Path(), Path("~"), Path(gettempdir())]):
            place = folder.expanduser().resolve() / f"spicestat-rescued-{secrets.token_hex(3)}" / name
            try:
                save(place)
            except StorageError:
                continue
            what = f"{error.what}. It was saved in '{place}' instead"
            raise StorageError(what, do="move it from there once the cause is fixed") from error
        raise


def parse_json(content: bytes, name: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    StorageError
        It is none, or is nested too deeply.

    Examples
    --------
    >>> parse_json(b'{"a": 1}', "file")
    {'a': 1}
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except DAMAGE as error:
        raise StorageError(f"'{name}' is damaged: {error}", do="save it again") from error
    if not isinstance(value, dict):
        raise StorageError(f"'{name}' holds no JSON object", do="check the path")
    return value
