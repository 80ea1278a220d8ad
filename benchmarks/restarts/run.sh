#!/usr/bin/env bash
# Twenty restarts per person, drawn from the population, against the reported maxima of model "choice".
# Run after `make setup`: benchmarks/restarts/run.sh [dezfouli|simulated ...] (default: both; about ten minutes)
set -euo pipefail
cd "$(dirname "$0")/../.."
OMP_NUM_THREADS=1 .venv/bin/python -W ignore -m benchmarks.restarts.measure benchmarks/results/restarts "$@"
