"""Draw the house: each room with its files, its lines and what it imports, and whether an import goes back.

    python scripts/rooms.py

The order of the rooms is that of ARCHITECTURE.md; a room may import from those above it in the list only. Exit status 1
where one does not, or where there are more than 30 rooms.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "spicestat"
MOST = 30
ORDER = (
    "_files",
    "_runtime",
    "simulate",
    "trials",
    "pooled",
    "models",
    "models.precoded",
    "training",
    "equations.structure",
    "equations.estimate",
    "equations.select",
    "equations",
    "agents",
    "group.formula",
    "group.inputs",
    "group.numerics",
    "group.inference",
    "group.marginal",
    "group.posterior",
    "group.methods",
    "group.after",
    "group",
    "tasks",
    "fit",
    "spice",
    "studies",
    "report",
    "r",
    "cli",
    ".",
)
"""From the bottom to the top; "." has the files that lie in the open, of which `FLOOR` are everybody's."""
FLOOR = ("errors", "_checks", "_colours", "_display", "_drawing", "_lazy", "coefficients")


def module_name(path: Path) -> str:
    """Return a module's name without ``spicestat``; a package's ends in ``__init__``."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def room_of(module: str) -> str:
    """Return the room in which a module lies.

    Examples
    --------
    >>> room_of("group.methods.meta"), room_of("group.api"), room_of("compat")
    ('group.methods', 'group', '.')
    """
    return module.rpartition(".")[0] or "."


def imported(path: Path, modules: set[str]) -> set[str]:
    """Return the modules of spicestat that a file imports, also in functions and for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "spicestat":
            base = (node.module or "").partition(".")[2]
            for alias in node.names:
                names = (f"{base}.{alias.name}".strip("."), base, f"{base}.__init__".strip("."))
                found.add(next(name for name in names if name in modules))
    return found


def main() -> int:
    """Print the rooms and return the exit status."""
    paths = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
    arrows: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    files, lines = defaultdict(list), defaultdict(int)
    for module, path in paths.items():
        room = room_of(module)
        files[room].append(path.stem)
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
        if path.stem == "__init__":
            continue  # a door shows what is inside, and knows nothing
        for other in imported(path, set(paths)):
            if room_of(other) != room and other not in FLOOR:
                arrows[room][room_of(other)] += 1
    unknown = set(files) - set(ORDER)
    back = [
        f"{room} -> {other}"
        for room in ORDER
        for other in arrows[room]
        if room not in unknown and ORDER.index(other) > ORDER.index(room)
    ]
    for room in ORDER:
        inside = [name for name in files[room] if name != "__init__"]
        print(f"spicestat/{room.replace('.', '/').strip('/')}: {len(inside)} files, {lines[room]} lines")
        print(f"  {', '.join(inside)}")
        if arrows[room]:
            print("  imports " + ", ".join(f"{other} ({count})" for other, count in sorted(arrows[room].items())))
    print(f"{len(files)} rooms, {sum(map(len, arrows.values()))} arrows, {sum(lines.values())} lines")
    for text in (
        *(f"arrow back: {arrow}" for arrow in back),
        *(f"no place in ORDER: {room}" for room in sorted(unknown)),
    ):
        print(text)
    return int(bool(back or unknown) or len(files) > MOST)


if __name__ == "__main__":
    sys.exit(main())
