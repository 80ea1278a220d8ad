#!/usr/bin/env bash
# Create an empty .venv unless there is one with pip and a Python that is new enough.
set -euo pipefail
cd "$(dirname "$0")/.."

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
    if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  echo "setup: no Python 3.11 or later found. Install one, or say where it is: make setup PYTHON=/path/to/python" >&2
  return 1
}

if ! { [ -x .venv/bin/python ] && is_new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
  python=$(find_python)
  echo "setup: creating .venv with $("$python" --version)"
  if ! "$python" -m venv --clear .venv; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
      "$python" -m venv --clear .venv
    else
      echo "setup: this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
      exit 1
    fi
  fi
fi
