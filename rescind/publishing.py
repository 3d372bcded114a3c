"""A publisher of this process, put together from settings, and the choice of who does the work."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rescind import compose, home
from rescind.config import Loaded
from rescind_guard.exposition import Family
from rescind_publisher.config import PublisherConfig
from rescind_publisher.control_client import ControlClient
from rescind_publisher.engine import Publisher
from rescind_publisher.fleet import Fleet
from rescind_publisher.keyfiles import read_private
from rescind_publisher.listeners.base import Listener
from rescind_publisher.metrics import families
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import Order, TrustRequest
from rescind_publisher.sinks.base import Sink
from rescind_publisher.status import Status, TrustPosted
from rescind_publisher.switch import Engine, Told
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.sources.base import Source
from rescind_subscriber.subscriber import Subscriber

if TYPE_CHECKING:
    from rescind.monitor import Health
    from rescind_subscriber.nats_link import NatsOptions
    from rescind_subscriber.redis_address import RedisOptions

PUBLISHER_INBOX = "_INBOX_pub"
SYSTEM_INBOX = "_INBOX_sys"


class LocalPublisher:
    """A publisher, and a subscriber that tells it what others have killed: one truth."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings
        trust = compose.make_trust(loaded)
        approver = settings.approver_key
        self.subscriber = Subscriber(
            trust,
            lambda: _sources(loaded),
            config=SubscriberConfig(
                name=f"publisher-{settings.publisher}",
                heartbeat_s=settings.heartbeat_s,
                stale_after_s=settings.stale_after_s,
                reports=False,
            ),
            state_dir=loaded.home / home.SUBSCRIBERS,
        )
        self.publisher = Publisher(
            publisher_config(loaded),
            key=read_private(loaded.path(settings.publisher_key)),
            approver=read_private(loaded.path(approver)) if approver else None,
            trust=trust,
            sinks=_sinks(loaded),
            follower=self.subscriber,
            listeners=_listeners(loaded),
        )
        self.subscriber.on_trust.append(self.publisher.believe)

    def __repr__(self) -> str:
        return f"<LocalPublisher {self.publisher!r}>"

    def start(self) -> None:
        """Open the spool, connect, beat; raises what `Publisher.start` does."""
        self.publisher.start()
        try:
            self.subscriber.start()
        except BaseException:
            self.publisher.close()
            raise

    def close(self) -> None:
        """Stop; what no broker has yet stays in the spool."""
        self.subscriber.stop()
        self.publisher.close()

    def submit(self, order: Order, told: Told | None = None) -> Receipt:
        """Do what is asked."""
        return self.publisher.audited.submit(order, told)

    def post_trust(self, request: TrustRequest) -> TrustPosted:
        """Go by newer versions of the trust file, and put them into the brokers."""
        return self.publisher.post_trust(request)

    def fleet(self) -> Fleet:
        """Who the subscribers are, and how."""
        return self.publisher.fleet()

    def forget(self, name: str) -> int:
        """Take subscribers off the roster; how many there were."""
        return self.publisher.forget(name)

    def status(self) -> Status:
        """How the publisher is."""
        return self.publisher.status()

    def metrics(self) -> list[Family]:
        """Return what a scrape gets, as of now: the publisher's, and its subscriber's."""
        return [*families(self.status(), self.fleet()), *self.subscriber.metrics()]

    def health(self) -> "Health":
        """Return state and troubles, as `/readyz` shows them."""
        from rescind.monitor import health_of  # noqa: PLC0415 - only when asked for

        now = self.status()
        problems = {f"sink {each.name}": each.problem for each in now.sinks}
        problems["publisher"] = now.problem
        trouble = {name: problem for name, problem in problems.items() if problem}
        return health_of(self.subscriber.status(), trouble)

    def scrub(self) -> Status:
        """Begin to compare what the sinks hold with the spool."""
        return self.publisher.scrub()


def publisher_config(loaded: Loaded) -> PublisherConfig:
    """Return how this host's publisher runs; raises `Malformed` where settings contradict."""
    settings = loaded.settings
    return PublisherConfig(
        fabric=settings.fabric,
        publisher=settings.publisher,
        spool=loaded.home / home.SPOOL,
        control=loaded.home / home.CONTROL,
        roll=loaded.home / home.ROLL,
        trail=loaded.home / home.TRAIL,
        heartbeat_s=settings.heartbeat_s,
        stale_after_s=settings.stale_after_s,
        snapshot_every_s=settings.snapshot_every_s,
        snapshot_events=settings.snapshot_events,
        scrub_every_s=settings.scrub_every_s,
    )


def _nats(loaded: Loaded, name: str) -> "NatsOptions":
    return compose.nats_options(loaded, "publisher_nats", inbox=PUBLISHER_INBOX, name=name)


def _sources(loaded: Loaded) -> Sequence[Source]:
    from rescind_subscriber.sources.nats import NatsSource  # noqa: PLC0415 - NATS only when used

    name = f"rescind on {socket.gethostname()}"
    options = _nats(loaded, name)
    redis = compose.redis_sources(loaded, _redis(loaded, name))
    return [NatsSource(loaded.settings.fabric, options), *redis]


def _redis(loaded: Loaded, name: str) -> "RedisOptions | None":
    settings = loaded.settings
    if settings.publisher_redis_url:
        return compose.redis_options(settings.publisher_redis_url, "publisher_redis_url", name=name)
    return compose.redis_options(settings.redis_url, "redis_url", name=name)


def _sinks(loaded: Loaded) -> Sequence[Sink]:
    from rescind_publisher.sinks.nats import NatsSink  # noqa: PLC0415

    settings = loaded.settings
    options = _nats(loaded, f"rescind publisher {settings.publisher}")
    system = (
        compose.nats_options(loaded, "system_nats", inbox=SYSTEM_INBOX, name="rescind system")
        if settings.system_nats_url
        else None
    )
    nats = NatsSink(settings.fabric, options, system=system, replicas=settings.replicas)
    return [nats, *_redis_sinks(loaded)]


def _redis_sinks(loaded: Loaded) -> Sequence[Sink]:
    settings = loaded.settings
    name = f"rescind publisher {settings.publisher}"
    options = _redis(loaded, name)
    if options is None:
        return []
    from rescind_publisher.sinks.redis import RedisSink  # noqa: PLC0415 - only when used

    system = compose.redis_options(settings.system_redis_url, "system_redis_url", name=name)
    return [RedisSink(settings.fabric, options, system=system)]


def _listeners(loaded: Loaded) -> Sequence[Listener]:
    from rescind_publisher.listeners.nats import NatsListener  # noqa: PLC0415

    options = _nats(loaded, f"rescind reports to {loaded.settings.publisher}")
    redis = _redis(loaded, options.name)
    return [NatsListener(loaded.settings.fabric, options), *_redis_listeners(loaded, redis)]


def _redis_listeners(loaded: Loaded, options: "RedisOptions | None") -> Sequence[Listener]:
    if options is None:
        return []
    from rescind_publisher.listeners.redis import RedisListener  # noqa: PLC0415 - only when used

    return [RedisListener(loaded.settings.fabric, options)]


def make_engine(loaded: Loaded) -> Engine:
    """Return the publisher that runs on this host if one answers, else a new one of our own."""
    client = ControlClient(loaded.home / home.CONTROL)
    return client if client.answers() else LocalPublisher(loaded)
