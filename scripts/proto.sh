#!/usr/bin/env bash
# Makes the gRPC feed's messages from their .proto again. Run by `make proto`; OUT=... writes elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly OUT=${OUT:-subscriber}

.venv/bin/python -m grpc_tools.protoc -Isubscriber --python_out="$OUT" --pyi_out="$OUT" \
  rescind_subscriber/grpc_wire/revocations.proto
