"""Says kill: sign, spool, sinks."""

from rescind_publisher.asks import Ask
from rescind_publisher.async_switch import AsyncKillSwitch
from rescind_publisher.config import PublisherConfig
from rescind_publisher.control_client import ControlClient
from rescind_publisher.engine import Publisher
from rescind_publisher.receipts import Receipt
from rescind_publisher.switch import KillSwitch

__all__ = [
    "Ask",
    "AsyncKillSwitch",
    "ControlClient",
    "KillSwitch",
    "Publisher",
    "PublisherConfig",
    "Receipt",
]
