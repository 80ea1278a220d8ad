#!/usr/bin/env bash
# SPICE's tutorial 4 over ten seeds: spicestat (its code as printed) beside autospice 0.2.0 and the oracle's fit.
# Run after `make setup`: benchmarks/tutorial4/run.sh [data|spicestat|autospice|table ...] (default: all, in this order)
# Takes up where it stopped: what build/tutorial4/<side>/<seed>.json holds is not run again.
#   SEEDS="42 43 ..."  replicates       JOBS=1  fits at a time, one thread each
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=${SEEDS:-$(seq -s ' ' 42 51)}
jobs=${JOBS:-1}
build=build/tutorial4
here=benchmarks/tutorial4
ours=.venv/bin/python
theirs=$here/.venv-autospice/bin/python
mkdir -p "$build"/{data,spicestat,autospice} benchmarks/results
export OMP_NUM_THREADS=1 MPLBACKEND=Agg here build ours theirs

# autospice pins what it never imports; pysindy 1.7.5 needs pkg_resources and scikit-learn before 1.8
install_autospice() {
  [ -e "$here/.venv-autospice/.done" ] && return
  "${PYTHON:-python3.11}" -m venv "$here/.venv-autospice"
  local pip="$here/.venv-autospice/bin/pip install --quiet"
  $pip torch==2.13.0
  $pip 'numpy==1.26.*' 'pandas==2.2.*' pysindy==1.7.5 'scikit-learn==1.5.*' scipy 'optuna==4.*' dill matplotlib tqdm \
    'setuptools<81'
  $pip --no-deps autospice==0.2.0
  touch "$here/.venv-autospice/.done"
}

make_data() {
  [ -e "$build/data/$1.npz" ] || $ours -m benchmarks.tutorial4.tutorial data "$1" "$build/data/$1.npz"
}

fit_spicestat() {
  [ -e "$build/spicestat/$1.json" ] && return
  echo "spicestat, seed $1"
  $ours -m benchmarks.tutorial4.tutorial fit "$1" "$build/data/$1.npz" "$build/spicestat/$1.json" \
    > "$build/spicestat/$1.log" 2>&1 || { echo "spicestat, seed $1 failed: $build/spicestat/$1.log"; return 1; }
}

fit_autospice() {
  [ -e "$build/autospice/$1.json" ] && return
  echo "autospice, seed $1"
  $theirs -W ignore -m benchmarks.tutorial4.autospice_side "$1" "$build/data/$1.npz" "$build/autospice/$1.json" \
    > "$build/autospice/$1.log" 2>&1 || { echo "autospice, seed $1 failed: $build/autospice/$1.log"; return 1; }
}

export -f make_data fit_spicestat fit_autospice

each_seed() {
  tr ' ' '\n' <<< "$seeds" | xargs -P "$jobs" -I{} bash -c "$1 {}"
}

for step in "${@:-data spicestat autospice table}"; do
  for part in $step; do
    case $part in
      data) each_seed make_data ;;
      spicestat) each_seed make_data && each_seed fit_spicestat ;;
      autospice)
        install_autospice
        each_seed make_data
        [ -e "$build/autospice/verbatim.json" ] ||
          $theirs -W ignore -m benchmarks.tutorial4.autospice_side verbatim "$build/autospice/verbatim.json" \
            > "$build/autospice/verbatim.log" 2>&1
        each_seed fit_autospice
        ;;
      table) $ours -m benchmarks.tutorial4.table "$build" benchmarks/results $seeds ;;
      *) echo "no such part: $part" && exit 2 ;;
    esac
  done
done
