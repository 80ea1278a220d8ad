#!/usr/bin/env bash
# Make build/lowest: a Python with the lowest versions of the direct dependencies that pyproject.toml allows, for
# test-lowest.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/lowest
if [ -e "$folder/.ready" ] && [ "$folder/.ready" -nt pyproject.toml ] && [ "$folder/.ready" -nt scripts/setup-lowest.sh ]; then
  exit 0
fi
rm -rf "$folder"
mkdir -p build
.venv/bin/python -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv
# uv does not read pip's settings; where a folder of wheels lies beside, torch's build without CUDA is in it
UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}} "$folder/bin/uv" pip install --quiet --python "$folder/bin/python" \
  --resolution lowest-direct --config-setting editable_mode=compat -e '.[dev,bayes]'
touch "$folder/.ready"
echo "setup: $folder is ready"
