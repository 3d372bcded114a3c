#!/usr/bin/env bash
# Makes .venv from a hash-pinned lock and installs the project into it, editable.
#
#     scripts/setup.sh        all that tests need; run by `make setup`
#     scripts/setup.sh demo   what the demo needs; run by `make demo`
#
# Safe to repeat: what already stands is kept, a lock that changed gives a new environment, and one that
# failed half-way is taken away. PYTHON=... chooses the interpreter; else the first Python >= 3.11 found.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly me=setup
source scripts/common.sh

readonly WHAT=${1:-all}
case $WHAT in
  all) readonly LOCK=$DEV_LOCK EXTRAS='' READY=.venv/ready ;;
  demo) readonly LOCK=$DEMO_LOCK EXTRAS=$DEMO_EXTRAS READY=.venv/demo-ready ;;
  *) fail "there is no set-up '$WHAT': demo, or nothing for all" ;;
esac
readonly INSTALLED=.venv/installed.txt # the lock that .venv was made from; written last

find_python() {
  local candidate found
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  if [ -z "${PYTHON:-}" ] && found=$(pythons | tail -n 1) && [ -n "$found" ]; then
    echo "${found#* }"
    return
  fi
  found=$("${PYTHON:-python3}" -V 2>/dev/null) || found="no ${PYTHON:-python3}"
  fail "Python $OLDEST or newer is needed; found $found"
}

# Debian ships venv's other half, ensurepip, in a package of its own.
need_venv() {
  local python=$1 package
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  command -v apt-get >/dev/null || fail "$python has no ensurepip: install it with your system's packages"
  if [ "$(id -u)" != 0 ]; then
    fail "as root, please: apt-get install $package" $(missing_packages)
  fi
  apt_get "$package" || exit 1
}

# What runs for real and no wheel carries: a redis-server for the demo; for the tests a browser and curl, too.
missing_packages() {
  command -v redis-server valkey-server >/dev/null || echo redis-server
  if [ "$WHAT" = demo ]; then return; fi
  command -v chromium chromium-browser google-chrome >/dev/null || echo chromium
  command -v curl >/dev/null || echo curl
}

# Debian's redis-server would start a service and start it again at each boot: neither is wanted of a
# machine for tests.
apt_get() {
  local said policy=/usr/sbin/policy-rc.d made=
  echo "setup: installing $*, without services"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1
  fi
  said=$({ apt-get update && apt-get install -y --no-install-recommends "$@"; } 2>&1) || said="failed: $said"
  if [ -n "$made" ]; then rm -f "$policy"; fi
  case $said in failed:*)
    echo "setup: apt-get could not install $*: ${said##*$'\n'}" >&2
    return 1
    ;;
  esac
  if command -v systemctl >/dev/null; then systemctl disable -q redis-server 2>/dev/null || true; fi
}

need_packages() {
  local packages missed="'make test' needs more"
  mapfile -t packages < <(missing_packages)
  if [ ${#packages[@]} = 0 ]; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    if [ "$WHAT" = demo ]; then missed="the demo skips its act with Redis"; fi
    echo "setup: $missed; as root, please: apt-get install ${packages[*]}"
    return
  fi
  # The demo leaves an act out and says so; tests would fail one by one.
  apt_get "${packages[@]}" || [ "$WHAT" = demo ]
}

# Whatever of the environment is half-made goes when this ends early, by an error or an interrupt.
half_made() {
  if [ -e .venv ]; then
    rm -rf .venv
    echo "setup: what was made of .venv is taken away again" >&2
  fi
}

make_environment() {
  local python said
  python=$(find_python)
  need_venv "$python"
  echo "setup: new .venv with $("$python" -V), packages of $LOCK"
  trap half_made EXIT
  said=$("$python" -m venv --clear .venv 2>&1) || {
    if disk_full; then fail "$DISK_FULL"; fi
    case $said in
      *"Permission denied"* | *"Read-only"*) fail "$PWD cannot be written to: use a clone of your own" ;;
    esac
    fail "$python makes no environment: ${said##*$'\n'}"
  }
  fill_environment
  trap - EXIT
}

fill_environment() {
  install_lock .venv/bin/python "$LOCK"
  .venv/bin/python scripts/closed.py "$LOCK" $EXTRAS || fail "$LOCK is not closed (lines above): make lock"
  cp "$LOCK" "$INSTALLED"
}

# The demo's environment becomes that of the tests by adding what is missing: the versions are the same.
extend_environment() {
  echo "setup: adding the packages of $LOCK to .venv"
  trap '.venv/bin/python scripts/closed.py "$DEMO_LOCK" "$DEMO_EXTRAS" || half_made' EXIT
  fill_environment
  trap - EXIT
}

if ! new_enough .venv/bin/python; then
  make_environment
elif ! cmp -s "$LOCK" "$INSTALLED" && ! { [ "$WHAT" = demo ] && cmp -s "$DEV_LOCK" "$INSTALLED"; }; then
  if [ "$WHAT" = all ] && cmp -s "$DEMO_LOCK" "$INSTALLED"; then extend_environment; else make_environment; fi
fi
need_packages
pip_install .venv/bin/python --no-deps --no-build-isolation --editable .
touch "$READY"
echo "setup: .venv is ready"
