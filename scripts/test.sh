#!/usr/bin/env bash
# All tests in two runs: unit, property and chaos tests with the network cut off where the system lets us,
# then those that need a network on this machine or the source tree. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Root makes a network namespace at once; another user needs a user namespace around it.
isolation=()
if unshare --net true 2>/dev/null; then
  isolation=(unshare --net)
elif unshare --user --map-current-user --net true 2>/dev/null; then
  isolation=(unshare --user --map-current-user --net)
fi

if [ ${#isolation[@]} -gt 0 ]; then
  echo "== unit, property and chaos tests, network cut off"
else
  echo "== unit, property and chaos tests, network NOT cut off: this system allows no network namespace"
fi
"${isolation[@]}" .venv/bin/python -m pytest tests/unit tests/property tests/chaos "$@"

echo "== integration and repository tests"
.venv/bin/python -m pytest tests/integration tests/repository "$@"
