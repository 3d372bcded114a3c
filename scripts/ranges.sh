#!/usr/bin/env bash
# Installs a wheel by its ranges, without the lock, as `pip install` does for a user today, and tries it.
# Where something fails, the versions that are not those of the lock are printed: one of them broke it.
#
#     scripts/ranges.sh users WHEEL    rescind, then rescind[mcp], then all extras: smoke tests, and the demo
#     scripts/ranges.sh newest WHEEL   all extras and what tests need, each as new as can be: unit tests, demo
set -euo pipefail
cd "$(dirname "$0")/.."
readonly me=ranges
source scripts/common.sh
what=$1 wheel=$(realpath "$2") root=$PWD
home=$(mktemp -d /tmp/r-XXXX)
python=$home/env/bin/python
lock=$root/$DEV_LOCK

differing() {
  echo "versions that are not those of the lock:"
  "$python" "$root/scripts/closed.py" --differing "$lock" | sed 's/^/  /'
}

ended() {
  local code=$?
  if [ "$code" != 0 ] && [ -x "$python" ]; then differing >&2; fi
  rm -rf "$home"
  exit "$code"
}
trap ended EXIT

by_range() { # by_range EXTRAS: the newest that the ranges allow
  echo "-- rescind${1:+[$1]}"
  pip_install "$python" --upgrade --upgrade-strategy eager "$wheel${1:+[$1]}"
}

try_demo() {
  "$home/env/bin/rescind" demo --json | tail -n 1 | tee "$home/last.json"
  "$python" -m json.tool "$home/last.json" >/dev/null
}

cp -r tests benchmarks pyproject.toml scripts "$home" # what they import can only be the wheel
rm -rf "$home/tests/repository"
"${PYTHON:-.venv/bin/python}" -m venv "$home/env"
cd "$home"
by_range ""
"$python" scripts/smoke.py
extras=$("$python" -c 'import sys; sys.path[:0] = ["scripts"]; import smoke; print(",".join(sorted(smoke.extras())))')
case $what in
  users)
    by_range mcp
    "$python" scripts/smoke.py mcp
    by_range "$extras"
    "$python" scripts/smoke.py "$extras"
    try_demo
    ;;
  newest)
    by_range "$extras,dev"
    differing
    "$python" scripts/smoke.py "$extras"
    "$python" -m pytest -q -n "${JOBS:-$(nproc)}" --dist loadgroup tests/unit
    try_demo
    ;;
  *) fail "users or newest, not '$what'" ;;
esac
