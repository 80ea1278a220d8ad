"""Whether the packages that spicestat needs are here, found out without importing any of them.

A NumPy of the wrong version can fail on import, or worse, so R asks this before anything else.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata

__all__ = ["problems", "unmet"]

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*\(?([^;)]*)")
_BOUND = re.compile(r"(>=|<=|==|<|>)\s*([0-9][0-9A-Za-z.]*)")


def problems() -> dict[str, object]:
    """Return what is missing or of the wrong version, and this Python.

    Returns
    -------
    dict
        ``unmet``: one dict per package with ``package``, ``found`` (a version, or "missing") and ``needed`` such as
        ``>=1.26``; ``python``: path of the interpreter.

    Examples
    --------
    >>> problems()["unmet"]
    []
    """
    try:
        requirements = metadata.requires("spicestat") or []
    except metadata.PackageNotFoundError:
        # run from its source code: what is missing shows when it is used
        requirements = []
    return {"unmet": unmet([line for line in requirements if "extra ==" not in line]), "python": sys.executable}


def unmet(requirements: list[str]) -> list[dict[str, str]]:
    """Return those of some requirements that the installed packages do not meet.

    Examples
    --------
    >>> unmet(["numpy>=1.26", "no-such-package>=2,<3", "numpy<1.0"])[0]
    {'package': 'no-such-package', 'found': 'missing', 'needed': '>=2,<3'}
    """
    found = []
    for line in requirements:
        match = _REQUIREMENT.match(line.strip())
        if match is None:
            continue
        package, bounds = match.group(1), match.group(2).replace(" ", "")
        installed = _installed(package)
        if installed is None or not all(_holds(installed, *bound) for bound in _BOUND.findall(bounds)):
            found.append({"package": package, "found": installed or "missing", "needed": bounds})
    return found


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _holds(installed: str, comparison: str, bound: str) -> bool:
    """Compare versions by their numbers.

    Examples
    --------
    >>> _holds("2.10.1", ">=", "2.9"), _holds("2.2.0rc1", "<", "2.2"), _holds("1.26", "==", "1.26.0")
    (True, False, True)
    """
    one, other = _numbers(installed), _numbers(bound)
    width = max(len(one), len(other))
    left, right = ([*numbers, *[0] * (width - len(numbers))] for numbers in (one, other))
    return {
        ">=": left >= right,
        "<=": left <= right,
        "==": left == right,
        "<": left < right,
        ">": left > right,
    }[comparison]


def _numbers(version: str) -> list[int]:
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return [int(part) for part in release.group().split(".")] if release else [0]
