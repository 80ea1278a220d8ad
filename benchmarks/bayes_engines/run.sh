#!/usr/bin/env bash
# Compare PyMC and numpyro on the Bayesian group models; PyMC is needed here only: pip install pymc
set -euo pipefail
cd "$(dirname "$0")/../.."
OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bayes_engines/compare.py
