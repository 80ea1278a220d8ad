#!/usr/bin/env bash
# Structure recovery: 64 participants from four mechanisms, 400 trials each, and the first 100 of them.
# Run after `make setup`: benchmarks/structure/run.sh [fit|table ...] (default: both, in this order)
# Takes up where it stopped: fits whose build/structure/PARTICIPANTS/TRIALS/CRITERION-SEED.json exists are not rerun.
#   SEEDS="101 102 103"  replicates       CRITERIA="evidence aic bic"  what decides (default: evidence)
#   TRIALS="400 100"     per participant  PARTICIPANTS=64              a multiple of 4; other numbers write no results
#   JOBS=1               fits at a time, one thread each
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=${SEEDS:-101 102 103}
trials=${TRIALS:-400 100}
criteria=${CRITERIA:-evidence}
participants=${PARTICIPANTS:-64}
build=build/structure/$participants
results=benchmarks/results
[ "$participants" = 64 ] || results=$build
mkdir -p "$results"
export OMP_NUM_THREADS=1 build participants

fit_one() {
  local out=$build/$2/$3-$1.json
  [ -e "$out" ] && return
  mkdir -p "$build/$2"
  echo "seed $1, $2 trials, $3"
  .venv/bin/python -m benchmarks.structure.study "$1" "$2" "$3" "$out" "$participants" \
    > "${out%.json}.log" 2>&1 || { echo "failed: ${out%.json}.log"; return 1; }
}
export -f fit_one

for step in "${@:-fit table}"; do
  for part in $step; do
    case $part in
      fit)
        for criterion in $criteria; do
          for seed in $seeds; do
            for number in $trials; do echo "$seed $number $criterion"; done
          done
        done | xargs -P "${JOBS:-1}" -L 1 bash -c 'fit_one "$@"' _
        ;;
      table) .venv/bin/python -m benchmarks.structure.table "$build" "$results" $seeds ;;
      *) echo "no such part: $part" && exit 2 ;;
    esac
  done
done
