"""The gRPC feed's messages: `revocations.proto`, and what protoc makes of it."""
