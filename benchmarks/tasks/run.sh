#!/usr/bin/env bash
# How well are choices predicted in tasks that show something, by one call of spice_fit each; and what do groups differ in?
# Run after `make setup`: benchmarks/tasks/run.sh [cards4_many] [rlwm_sz] [gainloss_retest] [hunger_discounting]
# A fit takes up to a minute of one processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
.venv/bin/python -m benchmarks.tasks.measure benchmarks/results/tasks "$@"
