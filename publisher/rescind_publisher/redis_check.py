"""What a Redis must be set to, so that it keeps what it has acknowledged."""

from typing import Literal

import msgspec

from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.redis_link import RedisLink
from rescind_subscriber.redis_wire import Wire

MIN_VERSION = (7, 0)
"""Key permissions and rights inside scripts as the shipped users need them; the oldest tested."""

Fsync = Literal["always", "everysec", "no", "unverified"]


class Persistence(msgspec.Struct, frozen=True):
    """What is known of when the server writes to disk."""

    fsync: Fsync

    @property
    def caveat(self) -> str | None:
        """What an operator should know about an acknowledgement, or None."""
        if self.fsync == "always":
            return None
        if self.fsync == "unverified":
            return (
                "it is not known whether Redis writes to disk before it acknowledges: give "
                "system_redis_url, or set `appendfsync always` and ignore this"
            )
        lost = "the last second" if self.fsync == "everysec" else "half a minute"
        return (
            f"appendfsync {self.fsync}: Redis acknowledges before it has written to disk, and a "
            f"power cut can take {lost} of kills from it; they are sent again once that is noticed"
        )


async def check(server: Wire | RedisLink) -> None:
    """Raise `SourceRefused` naming the setting that would lose kills."""
    info = _fields(await server.request("INFO"))
    if info.get("role") not in (None, "master"):
        raise SourceUnavailable(f"{server.where} is a replica: it takes no events")
    if found := refusals(info):
        raise SourceRefused(f"{server.where} would lose kills: {'; '.join(found)}")


def refusals(info: dict[str, str]) -> list[str]:
    """Return what is wrong by the server's own INFO: the setting, what it does, the remedy."""
    found = []
    version = info.get("redis_version", "")
    if _version(version) < MIN_VERSION:
        least = ".".join(map(str, MIN_VERSION))
        found.append(f"redis_version is {version or 'unknown'}: {least} or newer is needed")
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        found.append(
            f"maxmemory-policy is {policy}: a full server would drop streams: "
            "set `maxmemory-policy noeviction`"
        )
    if info.get("aof_enabled") != "1":
        found.append(
            "appendonly is off: a restart would come back without them: set `appendonly yes`"
        )
    return found


async def fsync_of(wire: Wire) -> Fsync:
    """Ask for `appendfsync`; a user without that right learns nothing."""
    try:
        answer = await wire.request("CONFIG", "GET", "appendfsync")
    except SourceRefused:
        return "unverified"
    value = answer.get(b"appendfsync", b"") if isinstance(answer, dict) else b""
    known: dict[bytes, Fsync] = {b"always": "always", b"everysec": "everysec", b"no": "no"}
    return known.get(value, "unverified")


def _fields(raw: bytes | str) -> dict[str, str]:
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:2]
    return tuple(int(part) for part in parts) if all(p.isdigit() for p in parts) else (0,)
