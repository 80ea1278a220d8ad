"""The engine as a process of its own, for R sessions whose libraries do not get on with torch.

R starts ``python -m spicestat.r.worker`` and writes one line per request to its standard input: a folder with the
file ``request``. The answer appears there as the file ``answer``, whole or not at all, and calls of progress as lines
of the file ``progress``. The process ends when R closes the input, so none is left behind when R dies.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spicestat.r.trees import pack, unpack

__all__ = ["answer", "main"]


def answer(folder: Path) -> None:
    """Run the request in a folder and write its answer there.

    The request is a mapping of ``function`` (of `spicestat.r.bridge`), ``arguments`` (a list) and ``progress``
    (whether to report it).
    """
    request = unpack((folder / "request").read_bytes())
    bridge = importlib.import_module("spicestat.r.bridge")
    # a name and not an attribute that R could choose freely: only what the bridge offers can be called
    function = getattr(bridge, request["function"]) if request["function"] in bridge.__all__ else None
    if function is None:
        known = ", ".join(bridge.__all__)
        outcome = {"ok": False, "code": "internal", "message": f"no function {request['function']}; there are {known}"}
    else:
        progress = [_reporter(folder / "progress")] if request["progress"] else []
        outcome = function(*request["arguments"], *progress)
    partial = folder / "answer.partial"
    partial.write_bytes(pack(outcome))
    partial.rename(folder / "answer")


def _reporter(path: Path) -> Callable[[str, int, int, str], None]:
    def report(stage: str, done: int, total: int, message: str) -> None:
        line = "\t".join((stage, str(done), str(total), " ".join(message.split())))
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    return report


def main(requests: Iterable[str] | None = None) -> None:
    """Answer requests until the input ends."""
    lines: Any = sys.stdin if requests is None else requests
    for line in lines:
        answer(Path(line.rstrip("\n")))


if __name__ == "__main__":
    main()
