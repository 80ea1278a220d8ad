#!/usr/bin/env bash
# Do 95 % intervals of the population's kernels hold the truth: states given, searched, and averaged over structures?
# And those of kernels by drug, between and within people, and where some weights are shared?
# Run after `make setup`: benchmarks/kernels/run.sh [given] [searched] [averaged] [cohorts]; takes up where it stopped (seeds 0, 1, ...).
# 200 cohorts take about 10 minutes of one processor, averaged 40, and 100 by drug 9, 200 with shared weights 4.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.kernels.coverage benchmarks/results/kernels "$@"
.venv/bin/python -m benchmarks.kernels.groups benchmarks/results/group_kernels
.venv/bin/python -m benchmarks.kernels.shared benchmarks/results/shared_weights
