#!/usr/bin/env bash
# Pins every package of every environment in requirements/dev.txt, with the hashes of all its files, so
# that the one lock serves x86_64 and aarch64, and those of the demo in requirements/demo.txt. Run by
# `make lock`; RENEW=1 takes newer versions.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly me=lock
source scripts/common.sh

# Python 3.11 needs the most packages (backports); a lock made by a newer one would miss some.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  fail "make it with Python 3.11, the oldest supported: rm -r .venv; make PYTHON=python3.11 setup"
fi

# No address of an index and no path of a machine may enter a lock.
compile() { # compile LOCK OPTION...
  local lock=$1
  shift
  PATH="$PWD/.venv/bin:$PATH" CUSTOM_COMPILE_COMMAND="make lock" \
    pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras "$@" \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
    --output-file="$lock" pyproject.toml
  if grep -nE '://|^ *-[^-]|^ *--(index|extra|find|trusted)' "$lock"; then
    fail "an address or an option of pip stands in $lock (lines above)"
  fi
}

compile "$DEV_LOCK" ${RENEW:+--upgrade} --all-extras
rm -f "$DEMO_LOCK" # of the same versions, whatever stood in it
compile "$DEMO_LOCK" --constraint="$DEV_LOCK" --build-deps-for=editable --extra="$DEMO_EXTRAS"
