#!/usr/bin/env bash
# Render every vignette into build/vignettes; the code in it runs, so an error in it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

shopt -s nullglob
vignettes=(vignettes/*.Rmd)
if [ ${#vignettes[@]} = 0 ]; then
  echo "vignettes: there are none in vignettes/"
  exit 0
fi
mkdir -p build/vignettes
for vignette in "${vignettes[@]}"; do
  echo "vignettes: $vignette"
  Rscript --vanilla -e 'rmarkdown::render(commandArgs(TRUE)[1], output_dir = file.path(getwd(), "build/vignettes"), quiet = TRUE)' "$vignette"
done
