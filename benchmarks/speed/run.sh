#!/usr/bin/env bash
# Every promise of speed beside what is measured; takes up where it stopped. Run after `make setup`:
#   benchmarks/speed/run.sh [ROW ...]     rows are named in measure.py; default: those that are missing
# One thread; a few minutes of processor time for each of the longer rows. Real data come from ../shared/data.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 MPLBACKEND=Agg
# of autospice only the training is run, which needs no more than torch
[ -d build/autospice/spice ] ||
  .venv/bin/python -m pip install --quiet --no-deps --target build/autospice autospice==0.2.0 dill
.venv/bin/python -m benchmarks.speed.measure benchmarks/results/speed "$@"
