"""What `rescind config check` looks at; each check is one line that says ok, or what to do."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from rescind import compose, listing, policies
from rescind.cli import redis_checks
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind.publishing import PUBLISHER_INBOX, SYSTEM_INBOX, publisher_config
from rescind_guard.freshness import SystemClock
from rescind_guard.policy import fault, trouble, version_of
from rescind_guard.view import View
from rescind_protocol.errors import RescindError
from rescind_protocol.limits import SKEW_S
from rescind_publisher.clock import checked
from rescind_publisher.keyfiles import read_private
from rescind_publisher.rights import expired
from rescind_publisher.sync import storage_sync
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.nats_connect import NatsOptions, connect

SUBSCRIBER_INBOX = "_INBOX_sub"
_OTHERS = 0o077


class Line(msgspec.Struct, frozen=True):
    """One check and what came of it."""

    what: str
    ok: bool
    detail: str
    code: str = "OK"


def run(loaded: Loaded, *, wait_s: float) -> Iterator[Line]:
    """Run every check that the settings call for, each on what those before it found."""
    yield _line("settings", lambda: _settings(loaded))
    for doubt in loaded.doubts:
        yield Line("environment", ok=False, detail=doubt, code=BadConfig.code)
    yield _line("clock", _clock)
    trust = _line("trust file", lambda: _trust(loaded))
    yield trust
    yield _line("guard", lambda: _guard(loaded))
    yield policy_line(loaded)
    yield from _lists(loaded)
    yield _line("publisher settings", lambda: _publisher(loaded))
    yield from _keys(loaded)
    for who, _, inbox in _addresses(loaded):
        name = "subscriber" if who == "nats" else who.removesuffix("_nats")
        yield _line(f"NATS as {name}", partial(_reach, loaded, who, inbox))
    if loaded.settings.system_nats_url:
        yield _line("NATS fsync", lambda: _sync(loaded))
    for what, look in redis_checks.checks(loaded):
        yield _line(what, look)
    if publishes_only(loaded):
        detail = "not looked for: only the publisher has an address here (nats_url is not set)"
        yield Line("fresh view", ok=True, detail=detail)
    elif trust.ok:
        yield _line("fresh view", lambda: _fresh(loaded, wait_s))


def _line(what: str, check: Callable[[], str]) -> Line:
    try:
        return Line(what, ok=True, detail=check())
    except RescindError as error:
        return Line(what, ok=False, detail=str(error), code=error.code)


def _settings(loaded: Loaded) -> str:
    if loaded.file is None:
        return f"from the environment and defaults; no file in {loaded.home}"
    mode = loaded.file.stat().st_mode
    urls = [url for _, url, _ in _addresses(loaded)] + redis_checks.addresses(loaded)
    if mode & _OTHERS and any("@" in str(url) for url in urls):
        raise RescindError(
            f"{loaded.file} holds passwords and can be read by others: chmod 600 {loaded.file}"
        )
    return str(loaded.file)


def _clock() -> str:
    now = checked(SystemClock())
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))


def _trust(loaded: Loaded) -> str:
    found = compose.make_trust(loaded)
    for publisher in found.required:
        keys = [each for each in found.signers.values() if each.publisher == publisher]
        over = [expired(each, time.time()) for each in keys]
        if over and over[0] and all(over):
            raise RescindError(over[0])
    return f"version {found.version}, {len(found.signers)} keys"


def _guard(loaded: Loaded) -> str:
    keys = compose.make_keys(loaded, View())
    compose.make_guard(loaded, View(), keys=keys.view if keys else None)
    names = ", ".join(loaded.settings.issuers) or "self-signed badges only"
    return f"issuers: {names}"


def _lists(loaded: Loaded) -> Iterator[Line]:
    settings = loaded.settings
    if settings.unsigned_lists or settings.unsigned_list_tokens:
        yield _line("unsigned lists", lambda: _unsigned(loaded))


def _unsigned(loaded: Loaded) -> str:
    found = listing.standings(loaded, View())
    wrong = [f"{each.issuer} at {each.at}: {each.trouble}" for each in found if each.trouble]
    if wrong:
        raise RescindError("; ".join(wrong))
    said = ", ".join(f"{each.issuer}: {each.entries} entries" for each in found)
    return f"{said}; nobody of this fabric signed them: they deny, and prove nothing"


def policy_line(loaded: Loaded) -> Line:
    """Check what policy there is; it says ok if it can be evaluated."""
    return _line("policy", lambda: _policy(loaded))


def _policy(loaded: Loaded) -> str:
    policy = policies.make(loaded, fetch=True)
    if (why := fault(policy)) is not None:
        raise RescindError(f"every call is denied: {why}")
    if (why := trouble(policy)) is not None:
        raise RescindError(f"{version_of(policy)} decides, which is not the newest: {why}")
    mode = policies.enforcement_mode(loaded)
    return (
        f"{version_of(policy)}, {mode}" if policy is not None else "none: every tool may be called"
    )


def _publisher(loaded: Loaded) -> str:
    config = publisher_config(loaded)
    return (
        f"a head every {config.heartbeat_s:g} s, a snapshot every {config.snapshot_every_s:g} s "
        f"or {config.snapshot_events} events"
    )


def _keys(loaded: Loaded) -> Iterator[Line]:
    settings = loaded.settings
    said = {
        "publisher key": settings.publisher_key,
        "approver key": settings.approver_key,
        "issuer key": settings.issuer_key,
    }
    for what, value in said.items():
        here = value is not None and loaded.path(value).exists()
        # The publisher's key has a default name: only where it lies is this host a publisher.
        if value is not None and (here or what != "publisher key"):
            yield _line(what, lambda value=value: _key(loaded, value))  # type: ignore[misc]


def _key(loaded: Loaded, value: str) -> str:
    return f"thumbprint {read_private(loaded.path(value)).kid}"


def publishes_only(loaded: Loaded) -> bool:
    """Whether no guard is to run by these settings: the publisher alone has an address."""
    given = {"nats_url", "redis_url", "sources"} & set(loaded.origins)
    return not given and bool(loaded.settings.publisher_nats_url)


def _addresses(loaded: Loaded) -> list[tuple[str, str, str]]:
    settings = loaded.settings
    found = [] if publishes_only(loaded) else [("nats", settings.nats_url, SUBSCRIBER_INBOX)]
    if settings.publisher_nats_url:
        found.append(("publisher_nats", settings.publisher_nats_url, PUBLISHER_INBOX))
    if settings.system_nats_url:
        found.append(("system_nats", settings.system_nats_url, SYSTEM_INBOX))
    return found


def _reach(loaded: Loaded, who: str, inbox: str) -> str:
    options = compose.nats_options(loaded, who, inbox=inbox, name="rescind config check")
    return asyncio.run(_version(options))


async def _version(options: NatsOptions) -> str:
    def ignore(_: str) -> None: ...

    client = await connect(options, ignore)
    version: Any = client.connected_server_version
    await client.close()
    return f"{options.shown}, server {version.major}.{version.minor}.{version.patch}"


def _sync(loaded: Loaded) -> str:
    options = compose.nats_options(loaded, "system_nats", inbox=SYSTEM_INBOX, name="rescind check")
    state = asyncio.run(storage_sync(options))
    if state != "always":
        raise RescindError(
            "the server acks before it has written to disk: set `sync_interval: always` in its "
            "jetstream block"
        )
    return "the server writes to disk before it acks"


def _said(trouble: dict[str, str]) -> str:
    return "".join(f"; {why}" for why in trouble.values())


def _fresh(loaded: Loaded, wait_s: float) -> str:
    from rescind.cli.following import clock_doubt, following, wait_fresh  # noqa: PLC0415 - a cycle

    with following(loaded) as subscriber:
        wait_fresh(subscriber, wait_s)
        now, doubt = subscriber.status(), clock_doubt(subscriber)
    if doubt or now.trouble:
        raise SourceUnavailable(f"fresh, but not for long{doubt}{_said(now.trouble)}")
    return f"every publisher is heard, clocks within {SKEW_S} s, {now.targets} targets known"
