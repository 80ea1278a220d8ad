#!/usr/bin/env bash
# Rewrite each pin in constraints.txt with the version in .venv; a build tag such as +cpu is no part of a pin.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/python - <<'PYTHON'
from importlib import metadata
from pathlib import Path

path = Path("constraints.txt")
lines = []
for line in path.read_text().splitlines():
    name, is_pin, version = line.partition("==")
    try:
        version = metadata.version(name).partition("+")[0] if is_pin else version
    except metadata.PackageNotFoundError:
        pass  # of an extra that is not installed: keep its pin
    lines.append(name + is_pin + version)
path.write_text("\n".join(lines) + "\n")
PYTHON
