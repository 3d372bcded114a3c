#!/usr/bin/env bash
# Pins every package of every environment in requirements/dev.txt, with the hashes of all its files,
# so the one lock serves x86_64 and aarch64. Run by `make lock`; RENEW=1 takes newer versions.
set -euo pipefail
cd "$(dirname "$0")/.."

# Python 3.11 needs the most packages (backports); a lock made by a newer one would miss some.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  echo "lock: make it with Python 3.11, the oldest supported: rm -r .venv; make PYTHON=python3.11 setup" >&2
  exit 1
fi

# No address of an index and no path of a machine may enter the lock.
PATH="$PWD/.venv/bin:$PATH" CUSTOM_COMPILE_COMMAND="make lock" \
  pip-compile --quiet ${RENEW:+--upgrade} --generate-hashes --allow-unsafe --strip-extras \
  --extra=authz --extra=dev --extra=fastmcp --extra=grpc --extra=http --extra=jwt --extra=mcp \
  --extra=otel --extra=redis --extra=rego --extra=registry \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
  --output-file=requirements/dev.txt pyproject.toml

if grep -nE '://|^ *-[^-]|^ *--(index|extra|find|trusted)' requirements/dev.txt; then
  echo "lock: an address or an option of pip stands in requirements/dev.txt (lines above)" >&2
  exit 1
fi
