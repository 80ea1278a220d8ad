#!/usr/bin/env bash
# Make build/lowest: a Python with the lowest versions of the direct dependencies that pyproject.toml allows, for
# test-lowest.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/lowest
if [ "$folder/.ready" -nt pyproject.toml ] && [ "$folder/.ready" -nt scripts/setup-lowest.sh ]; then
  exit 0
fi
rm -rf "$folder"
mkdir -p build
.venv/bin/python -m venv "$folder"
# torch comes first and from pip, which takes whichever build of it this machine prefers; uv keeps what it finds
torch=$(grep -oE '"torch>=[0-9.]+"' pyproject.toml | tr -d '"')
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv "${torch/>=/==}"
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --resolution lowest-direct \
  --config-setting editable_mode=compat -e '.[dev,bayes]'
# tests of Bayesian models are skipped where these cannot be loaded
"$folder/bin/python" -c 'import arviz, numpyro'
touch "$folder/.ready"
echo "setup: $folder is ready"
