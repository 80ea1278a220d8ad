#!/usr/bin/env bash
# Make build/numpy1, a Python with NumPy 1.26 and nothing else that the column protocol does not need, for test-r, and
# print the path of its interpreter; nothing where Python is too new for NumPy 1.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/numpy1
if ! .venv/bin/python -c 'import sys; raise SystemExit(sys.version_info >= (3, 13))'; then
  echo "setup: there is no NumPy 1 for this Python, so the R tests of it are skipped" >&2
  exit 0
fi
if [ -x "$folder/bin/python" ] && "$folder/bin/python" -I -c 'import numpy, pandas, spicestat
raise SystemExit(not numpy.__version__.startswith("1.26."))' 2>/dev/null; then
  echo "$PWD/$folder/bin/python"
  exit 0
fi
rm -rf "$folder"
mkdir -p build
.venv/bin/python -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check 'numpy==1.26.4' 'pandas>=2.2,<3'
# a link to the code alone, not an installation, which would ask for all that the engine needs
ln -s "$PWD/spicestat" "$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/spicestat"
echo "setup: $folder is ready" >&2
echo "$PWD/$folder/bin/python"
