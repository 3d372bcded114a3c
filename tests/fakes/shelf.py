"""Snapshots in memory: a store that is read and written, and that fails by script."""

from collections.abc import Sequence
from hashlib import sha256

from rescind_protocol import snapshots
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.image import Image
from rescind_protocol.keys import SigningKey
from rescind_protocol.snapshots import Place
from rescind_publisher.errors import SinkUnavailable
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.sources.base import Cursor, Listed
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER
from tests.fakes.sink import FakeSink
from tests.fakes.source import ScriptedSource


class Slots:
    """What lies where; a test bends it at will."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.parts: dict[str, list[bytes]] = {}
        self.reads: list[str] = []

    def put(self, place: str, parts: Sequence[bytes], manifest: bytes) -> None:
        """Store a snapshot; the last written is listed last."""
        self.manifests.pop(place, None)
        self.parts[place] = list(parts)
        self.manifests[place] = manifest

    def listed(self) -> list[Listed]:
        """All of them."""
        return [Listed(place, manifest) for place, manifest in self.manifests.items()]

    def read(self, place: str) -> list[bytes]:
        """Return the parts at a place."""
        self.reads.append(place)
        return self.parts.get(place, [])

    def bend(self, place: str) -> None:
        """Flip a bit of the last part."""
        part = self.parts[place][-1]
        self.parts[place][-1] = part[:-1] + bytes([part[-1] ^ 1])


class ShelfSource(ScriptedSource):
    """A scripted source with snapshots."""

    def __init__(self, name: str = "memory", slots: Slots | None = None) -> None:
        super().__init__(name)
        self.slots = slots or Slots()
        self.unlisted = ""
        """Raised by each listing while it is set."""

    async def list_snapshots(self) -> list[Listed]:
        """List."""
        if self.unlisted:
            raise SourceUnavailable(self.unlisted)
        return self.slots.listed()

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Read."""
        del size
        return self.slots.read(place)

    def shelve(
        self,
        image: Image,
        *,
        at: int = NOW,
        slot: str = "0",
        cursor: Cursor | None = None,
        key: SigningKey = PUBLISHER,
        fabric: str = FABRIC,
        trust: int = 1,
    ) -> str:
        """Write a snapshot; return its place."""
        body = snapshots.body_of(image)
        place = f"w.{slot}"
        told = None if cursor is None else Place(cursor.position, b64url_encode(cursor.digest))
        manifest = snapshots.sign(
            body, key=key, publisher="soc", fabric=fabric, trust=trust, at=at, cursor=told
        )
        self.slots.put(place, body.parts, manifest)
        return place


class ShelfSink(FakeSink):
    """A fake sink with snapshots."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.slots = Slots()
        self.written: list[str] = []
        self.torn = False
        """A write stores a part only, and fails: its writer dies."""
        self.lies = False
        """A write is acknowledged, and a bit of it is bent."""

    async def list_snapshots(self) -> list[Listed]:
        """List."""
        self._check()
        return self.slots.listed()

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Read."""
        del size
        self._check()
        return self.slots.read(place)

    async def write_snapshot(self, place: str, parts: Sequence[bytes], manifest: bytes) -> None:
        """Write."""
        self._check()
        self.written.append(place)
        if self.torn:
            self.slots.parts[place] = [sha256(parts[0]).digest()]
            raise SinkUnavailable(f"{self.name}: torn")
        self.slots.put(place, parts, manifest)
        if self.lies:
            self.slots.bend(place)
