"""The R package's files share one namespace, in which a second function of a name silently replaces the first."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_name_is_defined_twice() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "r-package" / "R").glob("*.R"))]
    names = Counter(name for source in sources for name in re.findall(r"^([\w.]+) <- ", source, flags=re.MULTILINE))
    assert len(names) > 500
    assert [name for name, count in names.items() if count > 1] == []
