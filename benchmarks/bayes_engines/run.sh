#!/usr/bin/env bash
# Compare PyMC and numpyro on the Bayesian group models, and check the calibration of both models under their priors.
# PyMC is needed here only: .venv/bin/pip install pymc
#   REPLICATES=300   of the simulation-based calibration
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python benchmarks/bayes_engines/compare.py
.venv/bin/python benchmarks/bayes_engines/calibration.py "${REPLICATES:-300}"
