#!/usr/bin/env bash
# Split-half reliabilities beside the squared correlation of estimates and truth: about 6 s of one core per cohort.
# Run after `make setup`: benchmarks/reliability/run.sh [study|table ...] (default: both)
#   FIRST=1 LAST=20   numbers of the cohorts; those whose build/reliability/CELL_NUMBER.json exists are not rerun
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
for step in ${@:-study table}; do
  case $step in
    study) .venv/bin/python -m benchmarks.reliability.study "${FIRST:-1}" "${LAST:-20}" build/reliability ;;
    table) .venv/bin/python -m benchmarks.reliability.table build/reliability benchmarks/results ;;
    *) echo "no such part: $step" && exit 2 ;;
  esac
done
