#!/usr/bin/env bash
# Install the engine, its pinned dependencies (those of Bayesian models, too) and the development tools into .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

# what is used is compiled when it is first imported; to compile all of it takes a minute of processor time
pip_install() { .venv/bin/python -m pip --disable-pip-version-check --no-input install -qq --no-compile "$@"; }

# torch comes first and alone, by its plain pin, so that pip takes whichever build of it this machine prefers
pip_install "$(grep '^torch==' constraints.txt)"
# compat: a finder-style editable install would lose to any folder named spicestat in the working directory
pip_install -c constraints.txt --config-settings editable_mode=compat -e '.[dev,bayes]'
touch .venv/.setup-python
echo "setup: .venv is ready"
