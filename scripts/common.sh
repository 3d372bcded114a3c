# What several scripts share; sourced, with `me` naming the script in what it says.

readonly DEV_LOCK=requirements/dev.txt   # everything, for the tests
readonly DEMO_LOCK=requirements/demo.txt # what `make demo` runs on, and no more
readonly DEMO_EXTRAS=mcp,redis
readonly OLDEST=3.11

fail() {
  echo "$me: $*" >&2
  exit 1
}

# Whether it runs at all, too: a shim of pyenv's is on PATH for versions that are not chosen.
new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < (${OLDEST/./, }))" 2>/dev/null; }

# Every interpreter on this machine that is new enough and runs, oldest first: version and path. One for
# each version; of two the one that is found first.
pythons() {
  local candidate version
  {
    IFS=: read -ra folders <<<"$PATH"
    for candidate in ${PYTHON:-} "${folders[@]/%//python3}" "${folders[@]/%//python3.}"* \
      "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 \
      "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/*/bin/python3 \
      /usr/bin/python3.* /usr/local/bin/python3.* /opt/python*/bin/python3; do
      if [[ $candidate != *-config ]] && new_enough "$candidate"; then
        version=$("$candidate" -c 'import platform; print(platform.python_version())')
        echo "$version $candidate"
      fi
    done
  } | sort -s -V -u -k1,1
}

# Whether the disk is what failed: a program that another one started may not have said so.
disk_full() {
  local free_kb
  for free_kb in $(df -P -k . "${TMPDIR:-/tmp}" | awk 'NR > 1 {print $4}'); do
    if [ "$free_kb" -lt 50000 ]; then return 0; fi
  done
  return 1
}

readonly DISK_FULL="the disk is full: free 1 GB in $PWD and in ${TMPDIR:-/tmp}"

# Why pip failed, as one sentence that says what to do; what pip itself said goes to standard error before.
why_not_installed() { # why_not_installed LOG
  case $(<"$1") in
    *"No space left on device"*) echo "$DISK_FULL" ;;
    *ProxyError* | *"Tunnel connection failed"* | *"407 "*)
      echo "the proxy does not let pip through: set HTTPS_PROXY to one that does, or unset it" ;;
    *"Failed to establish a new connection"* | *"name resolution"* | *"Connection refused"* | *"timed out"* | *"Network is unreachable"*)
      echo "the package index cannot be reached: connect to a network, or set PIP_INDEX_URL to a mirror" ;;
    *"DO NOT MATCH THE HASHES"*)
      echo "the index serves a file that is not the one in the lock: use another index, and do not install this one" ;;
    *"no such option"*)
      echo "pip is too old: choose an interpreter with pip 22.3 or newer, PYTHON=python3.12 make setup" ;;
    *"No matching distribution"*)
      echo "the index has no file of a pinned version for this Python and machine: use CPython on x86_64 or aarch64 Linux" ;;
    *) echo "pip failed, as it says above" ;;
  esac
}

pip_install() { # pip_install PYTHON ARGUMENT...: pip's install; where it fails, a sentence says what to do
  local python=$1 said
  shift
  said=$(mktemp)
  if "$python" -m pip install -q --disable-pip-version-check "$@" 2>"$said"; then
    rm "$said"
    return
  fi
  grep -v '^WARNING: ' "$said" | tail -n 5 >&2 || true
  echo "$me: $(why_not_installed "$said")" >&2
  rm "$said"
  return 1
}

# Installs exactly what a lock pins. No resolver: that of pip 23, which Python 3.11 and 3.12 bring, takes a
# newer version for an extra of a pinned package, and refuses it for having no hash.
install_lock() { # install_lock PYTHON LOCK
  pip_install "$1" --no-deps --require-hashes -r "$2"
}
