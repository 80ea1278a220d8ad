"""Nested lists as a file that R and Python both read without a further package.

A node is one letter and its content, all numbers little-endian and lengths int32:

======  =======================================================
letter  content
======  =======================================================
N       nothing: None
l       one byte: a truth value
i       one int32
d       one double
s       one text: its length in bytes, then UTF-8
I       length, then int32
D       length, then doubles
S       length, then the lengths of all texts, then their bytes
V       length, then nodes: a list
M       length, then texts and nodes in turn: a mapping
======  =======================================================

Long vectors are single nodes, so that a table costs R a handful of calls per column.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from spicestat.errors import StorageError

__all__ = ["pack", "unpack"]

_INT32 = range(-(2**31) + 1, 2**31)


def pack(value: Any) -> bytes:
    """Write None, truth values, numbers, texts, and lists and mappings of them.

    Examples
    --------
    >>> unpack(pack({"values": [1.5, 2.0], "na": [], "name": "é"}))
    {'values': [1.5, 2.0], 'na': [], 'name': 'é'}

    Raises
    ------
    StorageError
        Something else is among them.
    """
    parts: list[bytes] = []
    _pack(value, parts)
    return b"".join(parts)


def unpack(content: bytes) -> Any:
    """Read what `pack` wrote.

    Raises
    ------
    StorageError
        The content is damaged.
    """
    try:
        value, end = _unpack(memoryview(content), 0)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise StorageError(f"a message between R and Python is damaged: {error}") from error
    if end != len(content):
        raise StorageError("a message between R and Python is damaged", got=f"{len(content) - end} further bytes")
    return value


def _pack(value: Any, parts: list[bytes]) -> None:
    if value is None:
        parts.append(b"N")
    elif isinstance(value, bool):
        parts.append(b"l" + bytes([value]))
    elif isinstance(value, int | float):
        parts.append(struct.pack("<ci", b"i", value) if _is_small(value) else struct.pack("<cd", b"d", value))
    elif isinstance(value, str):
        parts.append(b"s" + _text(value))
    elif isinstance(value, Mapping):
        parts.append(struct.pack("<ci", b"M", len(value)))
        for name, entry in value.items():
            parts.append(_text(str(name)))
            _pack(entry, parts)
    elif isinstance(value, Sequence):
        _pack_list(value, parts)
    else:
        raise StorageError("a value cannot be sent to R", got=type(value).__name__)


def _pack_list(values: Sequence[Any], parts: list[bytes]) -> None:
    kinds = set(map(type, values))
    if kinds == {int} and all(value in _INT32 for value in values):
        parts.append(struct.pack("<ci", b"I", len(values)) + _little(array("i", values)))
    elif kinds and kinds <= {float, int}:
        parts.append(struct.pack("<ci", b"D", len(values)) + _little(array("d", values)))
    elif kinds == {str}:
        texts = [value.encode() for value in values]
        parts.append(struct.pack("<ci", b"S", len(values)) + _little(array("i", map(len, texts))) + b"".join(texts))
    else:
        parts.append(struct.pack("<ci", b"V", len(values)))
        for value in values:
            _pack(value, parts)


def _is_small(value: float) -> bool:
    return isinstance(value, int) and value in _INT32


def _text(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<i", len(content)) + content


def _little(numbers: array[Any]) -> bytes:
    if struct.pack("=i", 1) != struct.pack("<i", 1):
        numbers.byteswap()
    return numbers.tobytes()


def _unpack(content: memoryview, at: int) -> tuple[Any, int]:
    letter, at = chr(content[at]), at + 1
    if letter == "N":
        return None, at
    if letter == "l":
        return bool(content[at]), at + 1
    if letter in "id":
        return _numbers(content, at, letter, 1)[0][0], at + (4 if letter == "i" else 8)
    if letter == "s":
        return _read_text(content, at)
    length, at = _length(content, at)
    if letter in "ID":
        return _numbers(content, at, letter.lower(), length)
    if letter == "S":
        return _texts(content, at, length)
    if letter == "V":
        return _nodes(content, at, length)
    if letter == "M":
        return _mapping(content, at, length)
    raise StorageError("a message between R and Python is damaged", got=f"the letter {letter!r}")


def _length(content: memoryview, at: int) -> tuple[int, int]:
    (length,) = struct.unpack_from("<i", content, at)
    # each entry takes a byte at least, so that damage cannot ask for all memory
    if not 0 <= length <= len(content):
        raise StorageError("a message between R and Python is damaged", got=f"the length {length}")
    return length, at + 4


def _numbers(content: memoryview, at: int, letter: str, length: int) -> tuple[list[Any], int]:
    layout = struct.Struct(f"<{length}{letter}")
    return list(layout.unpack_from(content, at)), at + layout.size


def _read_text(content: memoryview, at: int) -> tuple[str, int]:
    length, at = _length(content, at)
    return str(content[at : at + length], "utf-8"), at + length


def _texts(content: memoryview, at: int, length: int) -> tuple[list[str], int]:
    sizes, at = _numbers(content, at, "i", length)
    ends = list(accumulate(sizes, initial=at))
    return [str(content[start:end], "utf-8") for start, end in pairwise(ends)], ends[-1]


def _nodes(content: memoryview, at: int, length: int) -> tuple[list[Any], int]:
    values = []
    for _ in range(length):
        value, at = _unpack(content, at)
        values.append(value)
    return values, at


def _mapping(content: memoryview, at: int, length: int) -> tuple[dict[str, Any], int]:
    entries: dict[str, Any] = {}
    for _ in range(length):
        name, at = _read_text(content, at)
        entries[name], at = _unpack(content, at)
    return entries, at
