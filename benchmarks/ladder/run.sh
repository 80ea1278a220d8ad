#!/usr/bin/env bash
# How well are choices in held-out blocks predicted, rung by rung? Real tables where they are, and simulated people.
# Run after `make setup`: benchmarks/ladder/run.sh [dezfouli] [dezfouli_late] [avoid_restless] [mechanisms]
#   or on a table of your own: benchmarks/ladder/run.sh trials.csv:2,4,6 (its columns participant, block, choice, reward; the held-out blocks)
# Each takes less than a minute of one processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.ladder.measure benchmarks/results/ladder "$@"
