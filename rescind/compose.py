"""Puts the roles together from settings: the only place that knows all of them."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rescind import home, policies
from rescind.config import SELF, WEB, Loaded
from rescind.errors import BadConfig
from rescind_guard import didkey
from rescind_guard.freshness import Mode, Rule
from rescind_guard.guard import Guard
from rescind_guard.issuers import Issuers, read_jwks
from rescind_guard.key_view import KeyView
from rescind_guard.policy import Policy
from rescind_guard.profiles import Profile, profile_of
from rescind_guard.recorders import Recorder
from rescind_guard.view import View
from rescind_protocol import trust
from rescind_protocol.errors import RescindError
from rescind_protocol.keys import public_from_text
from rescind_protocol.limits import MAX_TRUST_CHAIN_BYTES
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.sources.base import Source
from rescind_subscriber.subscriber import Subscriber
from rescind_subscriber.trust_file import TrustKept

if TYPE_CHECKING:
    from rescind_subscriber.keys.keeper import KeyKeeper
    from rescind_subscriber.nats_link import NatsOptions
    from rescind_subscriber.redis_address import RedisOptions

MAX_JWKS_BYTES = 1024 * 1024


def _read(path: Path, what: str, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise BadConfig(f"{what} {path} cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise BadConfig(f"{what} {path} is larger than {limit} bytes")
    return raw


def make_trust(loaded: Loaded) -> trust.Trust:
    """Read and verify the trust file; a newer version that was heard of on this host counts."""
    if not loaded.settings.root_key:
        raise BadConfig(
            "setting 'root_key' is missing: without the root's public key nobody can be trusted; "
            "`rescind up` makes a fabric on this machine, or copy its rescind.toml"
        )
    root = public_from_text(loaded.settings.root_key)
    file = loaded.path(loaded.settings.trust_file)
    raw = _read(file, "trust file", MAX_TRUST_CHAIN_BYTES)
    try:
        found = trust.read(raw, root=root, fabric=loaded.settings.fabric)
    except RescindError as error:
        raise BadConfig(f"{file} is not a trust file of this fabric: {error}") from error
    return TrustKept(loaded.home / home.SUBSCRIBERS).newest(found)


def make_issuers(loaded: Loaded) -> Issuers:
    """Read the keys of the trusted issuers whose keys are files, or who are their own."""
    read = {
        iss: read_jwks(iss, _read(path, f"JWKS of {iss}", MAX_JWKS_BYTES))
        for iss, path in loaded.jwks_files.items()
    }
    own = [iss for iss, said in loaded.settings.issuers.items() if said == SELF]
    for iss in own:
        if not iss.startswith(didkey.PREFIX):
            raise BadConfig(f"issuer {iss}: {SELF!r} is for an agent's did:key")
    return Issuers({**read, **dict.fromkeys(own, ())})


def make_keys(loaded: Loaded, kills: View) -> "KeyKeeper | None":
    """Make who fetches keys of issuers and agents; None if all of them are files."""
    settings = loaded.settings
    fetched = [iss for iss, said in settings.issuers.items() if said == WEB]
    domains = settings.did_web_domains
    if not fetched and not domains:
        return None
    asker = f"issuer {fetched[0]}" if fetched else "setting 'did_web_domains'"
    profile = profile_of(settings.profile)
    if profile is Profile.AIR_GAPPED:
        raise BadConfig(f"{asker}: profile {profile} fetches nothing; give a JWKS file")
    if importlib.util.find_spec("httpcore2") is None:
        raise BadConfig(
            f"{asker}: fetching keys needs pip install 'rescind[http]'; or give the path of a JWKS"
        )
    from rescind_subscriber.keys.fetch import Fetcher  # noqa: PLC0415 - HTTP only when used
    from rescind_subscriber.keys.keeper import KeyKeeper  # noqa: PLC0415

    dev = profile is Profile.DEV
    return KeyKeeper(
        fetched,
        Fetcher(
            private=settings.keys_private or dev,
            plain=dev,
            ca_file=loaded.path(settings.keys_ca_file) if settings.keys_ca_file else None,
        ),
        domains=domains,
        files=make_issuers(loaded),
        kills=kills,
        folder=loaded.home / home.KEYS,
        every_s=settings.keys_every_s,
    )


def make_sources(loaded: Loaded) -> Sequence[Source]:
    """Make the sources a subscriber follows: all of them, at once."""
    from rescind import following  # noqa: PLC0415 - it needs what is here

    return following.make(loaded)


def nats_options(loaded: Loaded, who: str, *, inbox: str, name: str) -> "NatsOptions":
    """Return how `nats`, `publisher_nats` or `system_nats` connects; what it lacks is of `nats`."""
    from rescind_subscriber.nats_link import NatsOptions  # noqa: PLC0415 - NATS only when used

    settings = loaded.settings
    setting = f"{who}_url" if getattr(settings, f"{who}_url") else "nats_url"

    def file(what: str) -> Path | None:
        said = getattr(settings, f"{who}_{what}", None)
        # Its own address has its own user: whom the subscribers are says nothing of it.
        if said is None and setting == "nats_url":
            said = getattr(settings, f"nats_{what}")
        return loaded.path(said) if said else None

    ca_file = settings.nats_ca_file
    return NatsOptions(
        url=getattr(settings, setting),
        inbox_prefix=inbox,
        name=name,
        ca_file=loaded.path(ca_file) if ca_file else None,
        cert_file=file("cert_file"),
        key_file=file("key_file"),
        creds_file=file("creds_file"),
        nkey_file=file("nkey_file"),
        fresh=lambda: loaded.latest(setting),
    )


def redis_options(url: str | None, setting: str, *, name: str) -> "RedisOptions | None":
    """Return how to reach the Redis of a setting, None if it is not set; `BadConfig` if bad."""
    if not url:
        return None
    from rescind_subscriber.redis_address import RedisOptions, parse  # noqa: PLC0415

    if any(importlib.util.find_spec(each) is None for each in ("redis", "hiredis")):
        raise BadConfig(
            f"setting {setting!r} needs the packages redis and hiredis: "
            "pip install 'rescind[redis]'"
        )
    try:
        parse(url)
    except SourceRefused as error:
        raise BadConfig(f"setting {setting!r}: {error}") from error
    return RedisOptions(url=url, name=name)


def redis_sources(loaded: Loaded, options: "RedisOptions | None") -> Sequence[Source]:
    """Make the source of a Redis, if there is one."""
    if options is None:
        return []
    from rescind_subscriber.sources.redis import RedisSource  # noqa: PLC0415 - only when used

    return [RedisSource(loaded.settings.fabric, options)]


def make_subscriber(
    loaded: Loaded,
    *,
    loop: Literal["thread", "caller"] = "thread",
    keep: bool = True,
    reads_all: bool = False,
    name: str | None = None,
) -> Subscriber:
    """Make a subscriber; `keep` for a local snapshot that a restart remembers."""
    from rescind import following  # noqa: PLC0415 - it needs what is here

    settings = loaded.settings
    # Now and here, not in the subscriber's thread, where nobody would hear of it.
    make_sources(loaded)
    return Subscriber(
        make_trust(loaded),
        lambda: make_sources(loaded),
        config=SubscriberConfig(
            name=name or settings.name,
            heartbeat_s=following.heads_every_s(loaded),
            stale_after_s=settings.stale_after_s,
            reports=keep,
            reads_all=reads_all,
            reasons=not keep,
        ),
        state_dir=loaded.home / home.SUBSCRIBERS if keep else None,
        loop=loop,
    )


def make_guard(
    loaded: Loaded,
    view: View,
    *,
    keys: KeyView | None = None,
    policy: Policy | None = None,
    recorder: Recorder | None = None,
) -> Guard:
    """Make a guard over a view; `keys` are a keeper's, without one those of files."""
    settings = loaded.settings
    try:
        mode = Mode(settings.mode.lower())
    except ValueError as error:
        raise BadConfig(
            f"setting 'mode': {settings.mode!r} is none of {', '.join(Mode)}"
        ) from error
    return Guard(
        view,
        keys or make_issuers(loaded),
        audience=settings.audience,
        rule=Rule(mode, settings.stale_after_s, settings.strict_tools),
        minimum_level=settings.minimum_level,
        profile=settings.profile,
        policy=policy,
        enforcement_mode=policies.enforcement_mode(loaded),
        accept_self_signed=settings.accept_self_signed,
        lenient=settings.lenient,
        deny_suspended=settings.deny_suspended,
        recorder=recorder,
    )
