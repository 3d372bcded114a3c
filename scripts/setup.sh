#!/usr/bin/env bash
# Makes .venv from the hash-pinned lock and installs the project into it, editable. Run by `make setup`.
# Safe to repeat: what already stands is kept, and a lock that changed gives a new environment.
# PYTHON=... chooses the interpreter; else the first Python >= 3.11 found.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LOCK=requirements/dev.txt
readonly INSTALLED=.venv/installed.txt # the lock that .venv was made from; written last

fail() {
  echo "setup: $*" >&2
  exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate found
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  found=$("${PYTHON:-python3}" -V 2>/dev/null) || found="no ${PYTHON:-python3}"
  fail "Python 3.11 or newer is needed; found $found"
}

# Debian ships venv's other half, ensurepip, in a package of its own.
need_venv() {
  local python=$1 package said
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  command -v apt-get >/dev/null || fail "$python has no ensurepip: install it with your system's packages"
  [ "$(id -u)" = 0 ] || fail "$package is missing; as root: apt-get install $package"
  echo "setup: installing $package"
  said=$({ apt-get update && apt-get install -y --no-install-recommends "$package"; } 2>&1) ||
    fail "apt-get could not install $package: $said"
}

make_environment() {
  local python
  python=$(find_python)
  need_venv "$python"
  echo "setup: new .venv with $("$python" -V), packages of $LOCK"
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install -qq --disable-pip-version-check \
    --require-hashes -r "$LOCK"
  cp "$LOCK" "$INSTALLED"
}

if ! cmp -s "$LOCK" "$INSTALLED" || ! new_enough .venv/bin/python; then
  make_environment
fi
.venv/bin/python -m pip install -qq --disable-pip-version-check \
  --no-deps --no-build-isolation --editable .
touch .venv/ready
echo "setup: .venv is ready"
