"""The sources a subscriber can follow, by name: a new one is a module of `sources/` and a row here.

Nothing below this module knows any of them by name.
"""

import difflib
import importlib.util
from collections.abc import Callable, Sequence

from rescind import compose
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_protocol.errors import Malformed
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.http_address import HttpOptions, check
from rescind_subscriber.sources.base import Source


def make(loaded: Loaded) -> Sequence[Source]:
    """Make the sources that the settings name, each once; raises `BadConfig`."""
    named = loaded.settings.sources or default(loaded)
    if len(set(named)) < len(named):
        raise BadConfig("setting 'sources' names a source twice")
    return [_maker(name)(loaded) for name in named]


def default(loaded: Loaded) -> tuple[str, ...]:
    """Return what is followed where nothing is said: the brokers that are set."""
    return ("nats", "redis") if loaded.settings.redis_url else ("nats",)


def heads_every_s(loaded: Loaded) -> float:
    """Return how often heads come to this host: by bundles alone, with each request."""
    settings = loaded.settings
    if set(settings.sources) == {"bundle"}:
        return max(settings.heartbeat_s, settings.bundle_every_s)
    return settings.heartbeat_s


def _maker(name: str) -> Callable[[Loaded], Source]:
    if name not in MAKERS:
        near = difflib.get_close_matches(name, MAKERS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadConfig(f"setting 'sources': {name!r} is none of {', '.join(MAKERS)}{hint}")
    return MAKERS[name]


def _nats(loaded: Loaded) -> Source:
    from rescind_subscriber.sources.nats import NatsSource  # noqa: PLC0415 - NATS only when used

    settings = loaded.settings
    name = f"rescind {settings.name}"
    options = compose.nats_options(loaded, "nats", inbox="_INBOX_sub", name=name)
    return NatsSource(settings.fabric, options)


def _redis(loaded: Loaded) -> Source:
    settings = loaded.settings
    options = compose.redis_options(
        settings.redis_url, "redis_url", name=f"rescind {settings.name}"
    )
    if options is None:
        raise BadConfig("setting 'sources' names redis, but 'redis_url' is not set")
    [source] = compose.redis_sources(loaded, options)
    return source


def _sse(loaded: Loaded) -> Source:
    _need("sse", "http", "httpx2")
    from rescind_subscriber.sources.sse import SseSource  # noqa: PLC0415 - only when used

    return SseSource(node(loaded, "sse", "feed_url"))


def _grpc(loaded: Loaded) -> Source:
    _need("grpc", "grpc", "grpc", "google.protobuf")
    from rescind_subscriber.sources.grpc import GrpcSource  # noqa: PLC0415 - only when used

    return GrpcSource(node(loaded, "grpc", "feed_grpc_url"))


def _bundle(loaded: Loaded) -> Source:
    _need("bundle", "http", "httpx2")
    from rescind_subscriber.sources.bundle import BundleOptions, BundleSource  # noqa: PLC0415

    settings = loaded.settings
    try:
        options = BundleOptions(
            every_s=settings.bundle_every_s, long_poll=settings.bundle_long_poll
        )
    except Malformed as error:
        raise BadConfig(f"setting 'bundle_every_s': {error}") from error
    return BundleSource(settings.fabric, node(loaded, "bundle", "feed_url"), options)


def _need(source: str, extra: str, *packages: str) -> None:
    if not all(map(_installed, packages)):
        raise BadConfig(f"source {source!r} needs more packages: pip install 'rescind[{extra}]'")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package within one that is missing
        return False


def node(loaded: Loaded, source: str, setting: str) -> HttpOptions:
    """Return how to reach the registry node of a setting; raises `BadConfig`."""
    settings = loaded.settings
    url: str | None = getattr(settings, setting)
    if not url:
        raise BadConfig(f"setting 'sources' names {source}, but {setting!r} is not set")
    options = HttpOptions(
        url=url,
        token=settings.feed_token,
        ca_file=loaded.path(settings.feed_ca_file) if settings.feed_ca_file else None,
        name=f"rescind {settings.name}",
    )
    try:
        check(options)
    except SourceRefused as error:
        raise BadConfig(f"setting {setting!r}: {error}") from error
    return options


MAKERS: dict[str, Callable[[Loaded], Source]] = {
    "nats": _nats,
    "redis": _redis,
    "sse": _sse,
    "grpc": _grpc,
    "bundle": _bundle,
}
