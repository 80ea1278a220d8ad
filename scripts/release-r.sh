#!/usr/bin/env bash
# Build the R package with the engine in it, as inst/python/spicestat-*.whl, into build/release.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf build/release
mkdir -p build/release
cp -R r-package build/release/spicestat
mkdir -p build/release/spicestat/inst/python
.venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/release/spicestat/inst/python .
cd build/release
R CMD build spicestat >/dev/null
rm -rf spicestat
ls -l spicestat_*.tar.gz
