#!/usr/bin/env bash
# The long chaos run, in both tiers: each protection taken out must be found, then many schedules must
# find nothing. SCHEDULES, REAL, SEED and JOBS may be set. Run by `make chaos`.
set -euo pipefail
cd "$(dirname "$0")/.."
schedules=${SCHEDULES:-100000}
real=${REAL:-80}
jobs=${JOBS:-$(nproc)}

chaos() { .venv/bin/python -m tests.chaos --json ${SEED:+--seed "$SEED"} "$@"; }

without() { # TIER PROTECTION ...: exit unless its absence shows
  local tier=$1 protection=$2
  shift 2
  echo "== tier $tier, without $protection"
  chaos --tier "$tier" --without "$protection" --minutes 3 "$@" 2>/dev/null ||
    { echo "chaos: without $protection nothing was found" >&2; exit 1; }
}

for protection in I2 I4 I7 fence msgid; do
  without sim "$protection"
  without real "$protection"
done

echo "== real servers: every scenario without what it needs"
.venv/bin/python -m tests.chaos.controls

echo "== real servers, $real schedules, $jobs at a time"
chaos --tier real --schedules "$real" --jobs "$jobs" "$@"

echo "== simulator, $schedules schedules on $jobs processes"
chaos --tier sim --schedules "$schedules" --jobs "$jobs" "$@"
