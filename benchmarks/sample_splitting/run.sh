#!/usr/bin/env bash
# Group inference with and without sample splitting: about 25 s of one core per replicate, one thread.
# Run after `make setup`: benchmarks/sample_splitting/run.sh [fit|table ...] (default: both)
#   FIRST=1 LAST=24   seeds of the replicates; those whose build/sample_splitting/SEED.json exists are not rerun
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
for step in ${@:-fit table}; do
  case $step in
    fit) .venv/bin/python -m benchmarks.sample_splitting.study "${FIRST:-1}" "${LAST:-24}" build/sample_splitting ;;
    table) .venv/bin/python -m benchmarks.sample_splitting.table build/sample_splitting benchmarks/results ;;
    *) echo "no such part: $step" && exit 2 ;;
  esac
done
