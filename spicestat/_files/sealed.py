"""Sealed folders: files that were saved together, and that are read as they were saved or not at all.

``seal.json`` lists every file with its digest. A save writes the new files into a hidden folder beside the old ones,
replaces the seal by one rename, and then moves the new files into their places. Before that rename the old content
counts, after it the new one: a reader takes each file from where it has the digest that the seal names. Whatever else
lies in the folder is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from spicestat._files.atomic import check_writable, locked, parse_json, sync_folder, write_synced
from spicestat.errors import StorageError

__all__ = ["check_target", "kind_of", "read_sealed", "write_sealed"]

_SEAL = "seal.json"
_FORMAT = "spicestat folder 2"
_STAGED = re.compile(r"\.new-[0-9a-f]{64}")
# a reader that comes while files are moved tries again
_TRIES, _SECONDS = 4, 0.05


@dataclass(frozen=True)
class _Seal:
    """What a folder holds: its kind, the digest of each file, and files of the older content that are to go."""

    kind: str
    digests: Mapping[str, str]
    obsolete: Mapping[str, str]
    spicestat: str

    @property
    def identity(self) -> str:
        """One digest for all of it."""
        content = [_FORMAT, self.kind, self.spicestat, sorted(self.digests.items()), sorted(self.obsolete.items())]
        return _digest(json.dumps(content).encode())

    @property
    def staged(self) -> str:
        """Name of the folder in which its files are until they are moved."""
        return f".new-{self.identity}"

    def to_bytes(self) -> bytes:
        fields = {"format": _FORMAT, "kind": self.kind, "spicestat": self.spicestat, "id": self.identity}
        return json.dumps({**fields, "files": dict(self.digests), "obsolete": dict(self.obsolete)}, indent=1).encode()


def write_sealed(folder: str | Path, kind: str, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder, in place of those that were saved there before.

    A full disk, an interrupt or a kill leaves the old content or the new one, and never a mixture; what a killed
    save has left is cleared up by the next one. Two writers wait for each other where the file system has locks.

    Parameters
    ----------
    folder : path
        Absent, empty, or with an older content of the same kind; folders above it are made. Other files in it
        stay as they are.
    kind : str
        What the content is, such as "fit".
    files : mapping of str to bytes
        Contents by relative path, with ``/`` between folders.

    Returns
    -------
    Path
        The folder's absolute path.

    Raises
    ------
    StorageError
        The folder holds something else, a file that is not ours has the name of one, or it cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     target = write_sealed(Path(folder) / "x", "example", {"a/b.txt": b"content"})
    ...     read_sealed(target, "example")
    {'a/b.txt': b'content'}
    """
    for name in files:
        _check_name(name)
    target = check_target(folder, kind)
    try:
        with _made(target), locked(target):
            before = _read_seal(target)
            known = {} if before is None else before.digests
            for name in {*files, *known}:
                _check_folder(target, name)
            if before is not None:
                _settle(target, before)
            for name in files.keys() - known.keys():
                _check_free(target / name)
            _remove_staged(target)
            seal = _Seal(
                kind,
                {name: _digest(content) for name, content in files.items()},
                {name: digest for name, digest in known.items() if name not in files},
                version("spicestat"),
            )
            _stage(target, seal, files)
            _settle(target, seal)
            sync_folder(target)
    except OSError as error:
        raise StorageError(f"cannot write '{target}': {error}", do="check rights and free space") from error
    return target


def read_sealed(folder: str | Path, *kinds: str) -> dict[str, bytes]:
    """Read all files of a folder that `write_sealed` wrote.

    Raises
    ------
    StorageError
        There is no such folder, it is of another kind or format, or a file is missing or has changed.
    """
    source = Path(folder)
    for _ in range(_TRIES - 1):
        with contextlib.suppress(_FileError):
            return _read_once(source, kinds)
        time.sleep(_SECONDS)
    return _read_once(source, kinds)


class _FileError(StorageError):
    """A file is not there, or not as it was saved; perhaps it is being moved."""


def _read_once(source: Path, kinds: tuple[str, ...]) -> dict[str, bytes]:
    seal = _read_seal(source)
    if seal is None:
        raise _unsealed(source, kinds)
    if seal.kind not in kinds:
        raise StorageError(f"'{source}' holds something else", got=seal.kind, allowed=" or ".join(kinds))
    return {name: _content(source, seal, name) for name in seal.digests}


def kind_of(folder: str | Path) -> str | None:
    """Return what a folder holds, None if it has no seal.

    Raises
    ------
    StorageError
        The seal is damaged or of another format.
    """
    seal = _read_seal(Path(folder))
    return None if seal is None else seal.kind


def check_target(folder: str | Path, kind: str) -> Path:
    """Return the absolute path of a folder that `write_sealed` may write to.

    Raises
    ------
    StorageError
        It holds something else, or cannot be written.
    """
    target = check_writable(folder)
    if not target.exists():
        return target
    seal = _read_seal(target) if target.is_dir() else None
    if seal is not None and seal.kind == kind:
        return target
    if seal is not None or not target.is_dir() or any(not _STAGED.fullmatch(path.name) for path in target.iterdir()):
        raise StorageError(f"'{target}' exists and is not a {kind} folder", do="choose another folder or empty it")
    return target


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_name(name: str) -> str:
    """Return a relative path that stays in the folder and is none of ours."""
    path = PurePosixPath(name)
    plain = str(path) == name and not path.is_absolute() and not any(part.startswith(".") for part in path.parts)
    if not plain or not path.parts or name == _SEAL or any(sign in name for sign in '\\:\0\n*?"<>|'):
        raise StorageError("a file in a saved folder has an impossible name", got=repr(name))
    return name


def _read_seal(folder: Path) -> _Seal | None:
    path = folder / _SEAL
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read '{path}': {error}", do="check its rights") from error
    stored = parse_json(content, path)
    if stored.get("format") != _FORMAT:
        raise StorageError(
            f"'{folder}' has an unknown format", got=stored.get("format"), allowed=_FORMAT, do="update spicestat"
        )
    files, obsolete = (_listed(stored.get(part), path) for part in ("files", "obsolete"))
    seal = _Seal(str(stored.get("kind")), files, obsolete, str(stored.get("spicestat")))
    if seal.identity != stored.get("id"):
        raise _damaged(path)
    return seal


def _listed(part: object, path: Path) -> dict[str, str]:
    """Return digests by names that are checked."""
    if not isinstance(part, dict) or not all(isinstance(digest, str) for digest in part.values()):
        raise _damaged(path)
    return {_check_name(name): digest for name, digest in part.items()}


def _damaged(path: Path) -> StorageError:
    return StorageError(f"'{path}' is damaged", do="take a copy from a backup, or save it again elsewhere")


def _unsealed(source: Path, kinds: tuple[str, ...]) -> StorageError:
    what = " or ".join(kinds)
    if not source.is_dir():
        return StorageError(f"there is no folder '{source}'", do=f"pass a folder in which a {what} was saved")
    return StorageError(
        f"'{source}' is no {what} folder: it has no {_SEAL}",
        do=f"pass a folder in which a {what} was saved; those of spicestat before 0.2 cannot be read, fit again",
    )


def _content(source: Path, seal: _Seal, name: str) -> bytes:
    """Read a file from its place, or from where an unfinished save has left it."""
    found = False
    for path in (source / name, source / seal.staged / name):
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise StorageError(f"cannot read '{path}': {error}", do="check its rights") from error
        found = True
        if _digest(content) == seal.digests[name]:
            return content
    problem = "has changed since it was saved: it is damaged or of another save" if found else "is missing"
    raise _FileError(f"'{source / name}' {problem}", do=f"take a copy from a backup, or save the {seal.kind} again")


@contextmanager
def _made(target: Path) -> Iterator[None]:
    """Make the folder; remove it if nothing comes into it."""
    new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                target.rmdir()
        raise


def _check_folder(target: Path, name: str) -> None:
    """Refuse to write through a link to another folder."""
    inner = (target / name).parent
    if inner.exists() and inner.resolve() != inner:
        raise StorageError(f"'{inner}' is a link to another folder", do="choose another folder")


def _check_free(path: Path) -> None:
    """Refuse to write over a file that was not saved by us."""
    if os.path.lexists(path):
        raise StorageError(f"'{path}' exists and was not saved by spicestat", do="choose another folder or move it")


def _stage(target: Path, seal: _Seal, files: Mapping[str, bytes]) -> None:
    """Write all files beside the old ones, and make them count."""
    staged = target / seal.staged
    try:
        # first, so that whoever clears up knows what is ours
        staged.mkdir()
        write_synced(staged / _SEAL, seal.to_bytes())
        for name, content in files.items():
            for folder in (staged, target):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not os.access((target / name).parent, os.W_OK):
                raise PermissionError(f"no right to write into '{(target / name).parent}'")
            write_synced(staged / name, content)
        for folder in {(staged / name).parent for name in (_SEAL, *files)}:
            sync_folder(folder)
        (staged / _SEAL).replace(target / _SEAL)
    except BaseException:
        _remove_staged(target)
        raise
    sync_folder(target)


def _settle(target: Path, seal: _Seal) -> None:
    """Move the files of a seal that counts into their places, those that are not there yet; remove older ones."""
    staged = target / seal.staged
    for name in seal.digests:
        with contextlib.suppress(FileNotFoundError):
            (staged / name).replace(target / name)
    for name, digest in seal.obsolete.items():
        # by now somebody else may have put a file there
        if (target / name).is_file() and _digest((target / name).read_bytes()) == digest:
            _remove(target, [name])
    _remove_staged(target)


def _remove_staged(target: Path) -> None:
    """Remove hidden folders of saves that did not come to their end, and nothing in them that is not listed."""
    for staged in target.iterdir():
        if not _STAGED.fullmatch(staged.name) or staged.is_symlink():
            continue
        try:
            seal = _read_seal(staged)
        except StorageError:
            seal = None  # killed while it was written, before anything else was
        written = [] if seal is None else list(seal.digests)
        _remove(staged, written)
        for name in written:
            _remove_folders(target, name)
        (staged / _SEAL).unlink(missing_ok=True)
        # after the rename of the seal only empty folders are left
        for inner in sorted(staged.rglob("*"), reverse=True):
            with contextlib.suppress(OSError):
                inner.rmdir()
        with contextlib.suppress(OSError):
            staged.rmdir()


def _remove(folder: Path, names: list[str]) -> None:
    """Remove files, and the folders that are empty without them."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
        _remove_folders(folder, name)


def _remove_folders(folder: Path, name: str) -> None:
    for above in list(PurePosixPath(name).parents)[:-1]:
        with contextlib.suppress(OSError):
            (folder / above).rmdir()
