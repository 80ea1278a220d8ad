"""Files that are written all or nothing, and what reading a damaged one may raise."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from spicestat.errors import StorageError

__all__ = ["DAMAGE", "write_file"]

DAMAGE = (OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, RuntimeError)
"""What reading the parts of a damaged file may raise."""


def write_file(path: str | Path, content: bytes) -> Path:
    """Write a file all or nothing: a full disk or an interrupt leaves what was there before.

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
    >>> with TemporaryDirectory() as folder:
    ...     write_file(Path(folder) / "new" / "file", b"content").read_bytes()
    b'content'
    """
    target = Path(path).resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as workplace:
            new = Path(workplace) / "new"
            new.write_bytes(content)
            new.replace(target)
    except OSError as error:
        raise StorageError(f"cannot write '{target}': {error}", do="check rights and free space") from error
    return target
