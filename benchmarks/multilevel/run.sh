#!/usr/bin/env bash
# Calibration of group models within people and between sites. Run after `make setup`; goes on where it was stopped.
#   COHORTS=200   cohorts of each cell
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -c "from benchmarks.multilevel.cohorts import CELLS; print(*CELLS, sep='\n')" | while read -r cell; do
  .venv/bin/python -m benchmarks.multilevel.study "$cell" "${COHORTS:-200}" build/multilevel
done
.venv/bin/python -m benchmarks.multilevel.table build/multilevel benchmarks/results
