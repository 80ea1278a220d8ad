#!/usr/bin/env bash
# Does the task library find the parameters that choices were simulated with, and do intervals of group means hold them?
# Run after `make setup`: benchmarks/task_recovery/run.sh [--cohorts 50] [--minutes 60] [task ...]
# Goes on where it stopped; 50 cohorts of all tasks take about four hours of one processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.task_recovery.measure benchmarks/results/task_recovery "$@"
