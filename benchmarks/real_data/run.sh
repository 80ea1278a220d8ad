#!/usr/bin/env bash
# Dezfouli et al. (2019), 101 people x 12 blocks, end to end from the command line and from R: the same numbers?
# Run after `make setup install-r`: benchmarks/real_data/run.sh [history|choice|...] [trials.csv.gz]
set -euo pipefail
cd "$(dirname "$0")/../.."
model=${1:-history}
trials=${2:-../shared/data/dezfouli2019.csv.gz}
folder=$(mktemp -d)
export RETICULATE_PYTHON=$PWD/.venv/bin/python R_LIBS=$PWD/build/r-library

started=$SECONDS
.venv/bin/spicestat fit "$trials" --participant participant --block block --choice choice --reward reward \
  --model "$model" --out "$folder/fit" --quiet
.venv/bin/spicestat group "$folder/fit" "~ diagnosis" --out "$folder/group.csv"
.venv/bin/spicestat coefficients "$folder/fit" --out "$folder/coefficients.csv"
echo $((SECONDS - started)) > "$folder/seconds_cli"

started=$SECONDS
Rscript --vanilla benchmarks/real_data/fit.R "$trials" "$model" "$folder/group_r.csv" "$folder/coefficients_r.csv"
echo $((SECONDS - started)) > "$folder/seconds_r"

.venv/bin/python benchmarks/real_data/compare.py "$folder" "$model" benchmarks/results/real_data.json
