#!/usr/bin/env bash
# Install the engine, its pinned dependencies (those of Bayesian models, too) and the development tools into .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }

# torch comes first and alone, by its plain pin, so that pip takes whichever build of it this machine prefers
pip install -qq "$(grep '^torch==' constraints.txt)"
# compat: a finder-style editable install would lose to any folder named spicestat in the working directory
pip install -qq -c constraints.txt --config-settings editable_mode=compat -e '.[dev,bayes]'
touch .venv/.setup-python
echo "setup: .venv is ready"
