#!/usr/bin/env bash
# All tests, in two parts at the same time: unit, property and chaos tests with the network cut off where
# the system lets us; and those that need a network on this machine or the source tree. Run by `make test`.
# JOBS (default: the processors) sets the processes; TIMES=1 prints where the time went. Further words go
# to pytest, in both parts.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}

# Empty: bytecode is written. The tests start `rescind` a thousand times, and to compile it each time
# takes longer than all that it does then.
export PYTHONDONTWRITEBYTECODE=

# Root makes a network namespace at once; another user needs a user namespace around it.
isolation=()
if unshare --net true 2>/dev/null; then
  isolation=(unshare --net)
elif unshare --user --map-current-user --net true 2>/dev/null; then
  isolation=(unshare --user --map-current-user --net)
fi
network="network cut off"
[ ${#isolation[@]} -gt 0 ] || network="network NOT cut off: this system allows no network namespace"

pytest() { # PROCESSES FOLDER ARGUMENT...
  .venv/bin/python -m pytest -n "$1" --dist loadgroup --basetemp "$folder/$2" \
    ${TIMES:+-p tests.times} "${@:3}"
}
export -f pytest

# A short name: the path of a Unix socket has 107 characters at most (unix(7)), and tests make some in
# folders of their own in here.
folder=$(mktemp -d /tmp/r-XXXX)
export folder
unit=
stop() {
  [ -z "$unit" ] || kill -- "-$unit" 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT

echo "== two parts at once: unit, property and chaos tests ($network); integration and repository tests"
# In a process group of its own (-m), so that it can be ended with all that it has started.
set -m
"${isolation[@]}" bash -c 'pytest "$@"' - "$jobs" u tests/unit tests/property tests/chaos "$@" \
  >"$folder/unit.log" 2>&1 </dev/null &
unit=$!
set +m

# Most of these wait for servers: twice as many as there are processors.
code=0
echo "== integration and repository tests"
pytest $((2 * jobs)) i tests/integration tests/repository "$@" || code=$?

unit_code=0
wait "$unit" || unit_code=$?
unit=
echo "== unit, property and chaos tests, $network"
cat "$folder/unit.log"
[ "$unit_code" = 0 ] || code=$unit_code
exit "$code"
