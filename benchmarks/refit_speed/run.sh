#!/bin/sh
# Time the likelihood of equations; writes benchmarks/results/refit_speed.{json,md}. About a minute.
set -e
cd "$(dirname "$0")/../.."
OMP_NUM_THREADS=1 .venv/bin/python benchmarks/refit_speed/speed.py
