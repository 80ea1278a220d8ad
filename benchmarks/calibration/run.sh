#!/usr/bin/env bash
# Calibration of the group methods: type-I error, coverage, bias, power (protocol: README.md, "Calibration").
# Run after `make setup`: benchmarks/calibration/run.sh [fit|table|product ...] (default: fit table). Hours; takes up where it stopped.
#   PARTS="0:200"          replicates of the main cells   EXTRA="0:200"  of the other ones
#   JOBS=2                  processes, one thread each
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 build=build/calibration
mkdir -p "$build"

run_part() {
  local part=${2/:/ }
  # shellcheck disable=SC2086
  .venv/bin/python -m benchmarks.calibration.study "$1" $part "$build/${1// /_}.$2.jsonl" \
    2> "$build/${1// /_}.$2.log" || echo "failed: $1 $2"
}
export -f run_part

cells() { .venv/bin/python -c "from benchmarks.calibration import cells; print(*[name for group in '$1'.split() for name in getattr(cells, group)], sep='\n')"; }

for step in "${@:-fit table}"; do
  for word in $step; do
    case $word in
      fit)
        {
          for part in ${PARTS:-0:200}; do
            cells "MAIN CONFOUNDED LOW_BETA" | sed "s/\$/|$part/"
          done
          for part in ${EXTRA:-0:200}; do
            cells "LOWER EXTRA" | sed "s/\$/|$part/"
          done
        } | xargs -P "${JOBS:-2}" -d '\n' -I{} bash -c 'IFS="|" read -r name part <<< "{}"; run_part "$name" "$part"'
        ;;
      product) .venv/bin/python -m benchmarks.calibration.product "${SECONDS_OF_PROCESSOR:-3600}" ;;
      table) .venv/bin/python -m benchmarks.calibration.table "$build" benchmarks/results ;;
      *) echo "no such part: $word" && exit 2 ;;
    esac
  done
done
