"""What the generated messages leave out: the method's name, and limits that both sides set.

The library's own stubs would be generated too; they are a dozen lines around this name.
"""

from typing import cast

from grpc import aio

from rescind_protocol.limits import MAX_EVENT_BYTES, MAX_REPORT_BYTES
from rescind_subscriber.grpc_wire.revocations_pb2 import WatchRequest, WatchResponse

SERVICE = "rescind.v1.Revocations"
WATCH = "Watch"
CURSOR_KEY = "rescind-cursor"
"""Trailing metadata: where to follow from once the state was taken as a whole."""
MAX_DOWN_BYTES = MAX_EVENT_BYTES + 16 * 1024
"""A signed event, its cursor, and what frames them."""
MAX_UP_BYTES = MAX_REPORT_BYTES + 8 * 1024
"""A report or a cursor."""
MAX_METADATA_BYTES = 16 * 1024
PING_MS = 2000
"""A connection that answers no ping for so long is given up."""

_COMMON = (
    ("grpc.keepalive_time_ms", PING_MS),
    ("grpc.keepalive_timeout_ms", PING_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
)
CLIENT_OPTIONS = (
    *_COMMON,
    ("grpc.max_receive_message_length", MAX_DOWN_BYTES),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
SERVER_OPTIONS = (
    *_COMMON,
    ("grpc.max_receive_message_length", MAX_UP_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_MS // 2),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_MS // 2),
    ("grpc.so_reuseport", 0),
)

Call = aio.StreamStreamCall[WatchRequest, WatchResponse]


def watch(channel: aio.Channel, metadata: tuple[tuple[str, str], ...]) -> Call:
    """Begin a call."""
    method = channel.stream_stream(
        f"/{SERVICE}/{WATCH}",
        request_serializer=WatchRequest.SerializeToString,
        response_deserializer=WatchResponse.FromString,
    )
    return cast("Call", method(metadata=metadata))
