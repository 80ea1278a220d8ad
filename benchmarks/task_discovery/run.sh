#!/usr/bin/env bash
# Does the search beside a published model find a mechanism that it lacks, and nothing where nothing is missing?
# Run after `make setup`: benchmarks/task_discovery/run.sh [--cohorts 10] [--minutes 60] [pst] [go_nogo] [rlwm]
# Goes on where it stopped; RLWM takes a minute of one processor for each cohort, the others a few seconds.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.task_discovery.measure benchmarks/results/task_discovery "$@"
