#!/usr/bin/env bash
# Do 95 % intervals of the population's kernels hold the truth, where the states are given and where a search found them?
# Run after `make setup`: benchmarks/kernels/run.sh [given] [searched] [cohorts]; takes up where it stopped (seeds 0, 1, ...).
# 200 cohorts of each take about 10 minutes of one processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.kernels.coverage benchmarks/results/kernels "$@"
