"""Follows the logs and keeps a guard's view: sources, reconcile, local snapshot."""

from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.states import State
from rescind_subscriber.status import Status
from rescind_subscriber.subscriber import Subscriber

__all__ = [
    "Rewound",
    "SourceRefused",
    "SourceUnavailable",
    "State",
    "Status",
    "Subscriber",
    "SubscriberConfig",
]
