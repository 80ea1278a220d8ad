"""The engine as a process of its own, for R sessions whose libraries clash with torch.

R starts ``python -m spicestat.r.worker`` and writes one line per request to its standard input: a folder with the
file ``request``. The answer appears there as the file ``answer``, whole or not at all, and calls of progress as lines
of the file ``progress``. The process ends when R closes the input, so none is left behind when R dies.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spicestat.r.requirements import problems
from spicestat.r.wire_format import pack, unpack

if TYPE_CHECKING:
    from spicestat.r.envelopes import Envelope

__all__ = ["answer", "main"]


def answer(folder: Path) -> None:
    """Run the request in a folder and write its answer there.

    The request is a mapping of ``function`` (one of those that `spicestat.r.bridge` offers, or ``requirements``),
    ``arguments`` (a list) and ``progress`` (whether to report it).
    """
    request = unpack((folder / "request").read_bytes())
    progress = [_reporter(folder / "progress")] if request["progress"] else []
    outcome = _outcome(request["function"], [*request["arguments"], *progress])
    partial = folder / "answer.partial"
    partial.write_bytes(pack(outcome))
    partial.rename(folder / "answer")


def _outcome(name: str, arguments: list[Any]) -> Envelope:
    if name == "requirements":
        # before the bridge is imported, for a wrong NumPy fails there
        return {"ok": True, "value": problems(), "warnings": []}
    try:
        bridge = importlib.import_module("spicestat.r.bridge")
    except ImportError as error:
        return {"ok": False, "code": "install", "message": str(error), "traceback": "", "warnings": []}
    if name not in bridge.__all__ or not callable(getattr(bridge, name)):
        message = f"the engine has no function '{name}'"
        return {"ok": False, "code": "internal", "message": message, "traceback": "", "warnings": []}
    outcome: Envelope = getattr(bridge, name)(*arguments)
    return outcome


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
