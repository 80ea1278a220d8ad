#!/usr/bin/env bash
# Are states that the library lacks found, and is nothing found where there is none? About five minutes of one processor.
# Run after `make setup`: benchmarks/discovery/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.discovery.study benchmarks/results/discovery
