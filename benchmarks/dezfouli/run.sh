#!/usr/bin/env bash
# Dezfouli et al. (2019): is the diagnosis related to the learning equations? Every group method, and the naive ones.
# Run after `make setup`: benchmarks/dezfouli/run.sh [trials.csv.gz [name of an analysis ...]]
# The fits (a minute) are kept in build/dezfouli/fit; delete them to fit again.
set -euo pipefail
cd "$(dirname "$0")/../.."
trials=${1:-../shared/data/dezfouli2019.csv.gz}
shift || true

if [ ! -d build/dezfouli/fit/halves ]; then
  .venv/bin/python -m benchmarks.dezfouli.fit "$trials" build/dezfouli/fit
fi
.venv/bin/python -m benchmarks.dezfouli.compare build/dezfouli/fit benchmarks/results/dezfouli_group "$@"
