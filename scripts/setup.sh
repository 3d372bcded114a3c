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
  if [ "$(id -u)" != 0 ]; then
    fail "as root, please: apt-get install $package" $(missing_packages)
  fi
  echo "setup: installing $package"
  said=$({ apt-get update && apt-get install -y --no-install-recommends "$package"; } 2>&1) ||
    fail "apt-get could not install $package: $said"
}

# What tests run for real and no wheel carries: a redis-server, a browser, curl.
missing_packages() {
  command -v redis-server valkey-server >/dev/null || echo redis-server
  command -v chromium chromium-browser google-chrome >/dev/null || echo chromium
  command -v curl >/dev/null || echo curl
}

# Debian's redis-server would start a service and start it again at each boot: neither is wanted of a
# machine for tests.
need_packages() {
  local said policy=/usr/sbin/policy-rc.d made= packages
  mapfile -t packages < <(missing_packages)
  if [ ${#packages[@]} = 0 ]; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup: 'make test' needs more; as root, please: apt-get install ${packages[*]}"
    return
  fi
  echo "setup: installing ${packages[*]}, without services"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1
  fi
  said=$({ apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } 2>&1) ||
    said="failed: $said"
  if [ -n "$made" ]; then rm -f "$policy"; fi
  case $said in failed:*) fail "apt-get could not install ${packages[*]}: $said" ;; esac
  if command -v systemctl >/dev/null; then systemctl disable -q redis-server 2>/dev/null || true; fi
}

make_environment() {
  local python
  python=$(find_python)
  need_venv "$python"
  echo "setup: new .venv with $("$python" -V), packages of $LOCK"
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install -qq --disable-pip-version-check \
    --no-deps --require-hashes -r "$LOCK"
  cp "$LOCK" "$INSTALLED"
}

if ! cmp -s "$LOCK" "$INSTALLED" || ! new_enough .venv/bin/python; then
  make_environment
fi
need_packages
.venv/bin/python -m pip install -qq --disable-pip-version-check \
  --no-deps --no-build-isolation --editable .
touch .venv/ready
echo "setup: .venv is ready"
