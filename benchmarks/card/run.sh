#!/usr/bin/env bash
# Does the audit card flag pairs of coefficients that cannot be told apart, and no others?
# Run after `make setup`: benchmarks/card/run.sh [COHORTS]; takes up where it stopped (seeds 0, 1, ...). 200 cohorts of
# each kind take some minutes of one processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.card.measure benchmarks/results/card "$@"
