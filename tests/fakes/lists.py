"""Unsigned lists: what another registry would say, and a server of it without a network."""

from typing import Any

import msgspec

from rescind_guard.unsigned import UnsignedList
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.table import ALL
from rescind_protocol.targets import Target
from rescind_subscriber.errors import ListUnavailable
from rescind_subscriber.unsigned.fetch import Answer
from rescind_subscriber.unsigned.keeper import ListKeeper
from rescind_subscriber.unsigned.place import Place, place
from tests.fakes.badges import ISSUER, SetClock

URL = "https://registry.example/v1/bundles/default"


def listed(
    *killed: Target, issuer: str = ISSUER, suspended: tuple[Target, ...] = (), cut: int = ALL
) -> UnsignedList:
    """Return a list of these targets."""
    return UnsignedList(
        issuer,
        {each.digest: cut for each in killed},
        {each.digest: ALL for each in suspended},
    )


def show(view: View, *lists: UnsignedList) -> None:
    """Publish these lists and no others, as their keeper does."""
    view.show_lists(lists, view.lists)


def bundle(revocations: object, **data: object) -> bytes:
    """Return a registry's JSON bundle with these revocations."""
    return msgspec.json.encode(
        {"data": {"revocations": revocations, **data}, "modules": {"p.rego": ""}, "revision": "1"}
    )


def jtis(*killed: str) -> bytes:
    """Return a JSON bundle that lists these badges."""
    return bundle(
        [{"jti": jti, "revokedAt": "2026-01-01T00:00:00Z", "reason": ""} for jti in killed]
    )


class Registry:
    """A foreign registry: serves `raw` with a tag, answers 304 to who has it, or is away."""

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = raw or jtis()
        self.away = ""
        self.tagged = True
        self.tags: list[str] = []
        """What each request had."""

    @property
    def tag(self) -> str:
        """The tag of what is served."""
        return f'"{hash(self.raw)}"' if self.tagged else ""

    def __call__(self, asked: Place, tag: str) -> Answer:
        """Answer one request."""
        del asked
        self.tags.append(tag)
        if self.away:
            raise ListUnavailable(self.away)
        return Answer(tag) if tag and tag == self.tag else Answer(self.tag, self.raw)


def keeper(registry: Registry, view: View, clock: SetClock, **options: Any) -> ListKeeper:
    """Return a keeper of one list."""
    return ListKeeper([place(ISSUER, URL)], registry, view, clock=clock, **options)


def badge(jti: str, issuer: str = ISSUER) -> Target:
    """Return a badge's target."""
    return targets.badge(issuer, jti)
