"""`rescind.keep_badge`: an agent's side of the registry, in one call."""

import importlib.util
from pathlib import Path

from rescind.errors import BadConfig
from rescind_guard.freshness import SystemClock
from rescind_protocol.keys import SigningKey
from rescind_publisher.keyfiles import read_private
from rescind_subscriber.badge_keeper import BadgeKeeper, Watched


def keep_badge(
    registry: str,
    did: str,
    key: SigningKey | Path | str,
    *,
    issuer: str | None = None,
    ttl_s: int | None = None,
    audience: tuple[str, ...] = (),
    watch: Watched | None = None,
) -> BadgeKeeper:
    """Return a keeper of this agent's badge, not started: use it as a context manager.

    `key` is the agent's private key, or its file (PEM, 0600). `issuer`: what the registry's badges
    name as `iss`, if that is not its address. `watch` is a `Subscriber`: a badge that was killed
    while its agent was not is then replaced at once. Raises `BadConfig`, `BadKeeper`, `BadKeyFile`.
    """
    if importlib.util.find_spec("httpx2") is None:
        raise BadConfig("a badge keeper needs the package httpx2: pip install 'rescind[http]'")
    from rescind_subscriber.registry_client import RegistryClient  # noqa: PLC0415 - httpx2

    secret = key if isinstance(key, SigningKey) else read_private(Path(key))
    clock = SystemClock()
    client = RegistryClient(
        registry, did, secret, issuer=issuer, ttl_s=ttl_s, aud=audience, clock=clock
    )
    return BadgeKeeper(client, watch=watch, clock=clock)
