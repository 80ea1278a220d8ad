#!/usr/bin/env bash
# Read the log of R CMD check; exit 1 and say why if it has an ERROR, a WARNING, or a NOTE that a package can avoid.
set -euo pipefail
log=$1

fail() { echo "check-r: $1; see $log" >&2; exit 1; }

# the last line counts everything, also where the word of a finding stands on a line of its own
status=$(grep '^Status: ' "$log" 2>/dev/null | tail -n 1) || fail "R CMD check did not finish"
number_of() { grep -oE "[0-9]+ $1s?" <<<"$status" | grep -oE '^[0-9]+' || echo 0; }

allowed='^\* checking (CRAN incoming feasibility|for future file timestamps) \.\.\. .*NOTE$'
avoidable=$(($(number_of NOTE) - $(grep -cE "$allowed" "$log" || true)))
if [ "$status" = "Status: OK" ] || [[ "$status" =~ ^"Status: "[0-9]+" NOTE"s?$ && $avoidable -le 0 ]]; then exit 0; fi
grep -E '(^|\.\.\. .*| )(ERROR|WARNING|NOTE)$' "$log" | grep -vE "$allowed" >&2 || true
fail "R CMD check has findings (${status#Status: })"
