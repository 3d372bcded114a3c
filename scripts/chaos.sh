#!/usr/bin/env bash
# The long chaos run: each protection taken out must be found, then many schedules must find nothing.
# SCHEDULES, SEED and JOBS may be set. Run by `make chaos`.
set -euo pipefail
cd "$(dirname "$0")/.."
schedules=${SCHEDULES:-100000}
jobs=${JOBS:-$(nproc)}

for protection in I2 I4 I7 fence msgid; do
  echo "== simulator, without $protection"
  .venv/bin/python -m tests.chaos --tier sim --without "$protection" --minutes 2 --json 2>/dev/null ||
    { echo "chaos: without $protection nothing was found" >&2; exit 1; }
done

echo "== simulator, $schedules schedules on $jobs processes"
.venv/bin/python -m tests.chaos --tier sim --schedules "$schedules" --jobs "$jobs" --json \
  ${SEED:+--seed "$SEED"} "$@"
