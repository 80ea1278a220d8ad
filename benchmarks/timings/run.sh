#!/usr/bin/env bash
# Compare the processor time of commands in two checkouts; writes benchmarks/results/timings.{json,md}. About 40 minutes.
# The checkout before: git worktree add ../before 5b22932
set -e
cd "$(dirname "$0")/../.."
.venv/bin/python benchmarks/timings/timings.py "${1:-../before}" "${2:-.}" "${@:3}"
