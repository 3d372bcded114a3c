"""Bundles taken apart, and a source's options: what needs no server."""

import gzip
import io
import tarfile

import pytest

from rescind_protocol import bundles
from rescind_protocol.errors import Malformed
from rescind_registry.bundle import archive, signed
from rescind_subscriber.bundle_reader import members_of, read_signed
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.sources.base import SnapshotStore
from rescind_subscriber.sources.bundle import BundleOptions, BundleSource
from tests.fakes.fabric import FABRIC


def tar_of(*infos: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return an archive that no honest writer makes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, body in infos:
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def link(name: str) -> tarfile.TarInfo:
    """Return an entry that is a symbolic link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


GOOD = signed.pack("r1", b"", [])
HOSTILE: dict[str, bytes] = {
    "garbage": b"\x00" * 100,
    "empty": b"",
    "cut off": GOOD[: len(GOOD) // 2],
    "not a tar": gzip.compress(b"x" * 2048),
    "leads out": tar_of((tarfile.TarInfo("../../etc/cron.d/x"), b"")),
    "leads out, absolute": tar_of((tarfile.TarInfo("/rescind/../../x"), b"")),
    "a link": tar_of((link(bundles.EVENTS), b"")),
    "twice": tar_of(*[(tarfile.TarInfo(bundles.EVENTS), b"")] * 2),
    "no manifest": archive.pack({bundles.EVENTS: b""}),
    "no events": archive.pack({bundles.MANIFEST: b'{"revision":"r1"}'}),
    "manifest is a list": archive.pack({bundles.EVENTS: b"", bundles.MANIFEST: b"[]"}),
    "events cut": archive.pack(
        {bundles.EVENTS: b"\x00\x00\xff\xff", bundles.MANIFEST: b'{"revision":"r1"}'}
    ),
    "a bomb": archive.pack({bundles.EVENTS: bytes(64 * 1024 * 1024)}),
    "too many files": archive.pack(
        {f"f{n}": b"" for n in range(bundles.MAX_MEMBERS + 1)} | {bundles.EVENTS: b""}
    ),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_that_is_not_ours_is_refused(raw: bytes) -> None:
    """Whatever is in it: one error of ours, and nothing is written anywhere."""
    with pytest.raises(Malformed):
        read_signed(raw)


def test_a_bomb_is_never_unpacked() -> None:
    """What an archive unpacks to is bounded by what was sent, not by what it claims."""
    packed = HOSTILE["a bomb"]
    limit = bundles.MAX_RATIO * len(packed)
    with pytest.raises(Malformed, match="unpacks"):
        members_of(packed)
    assert limit < 64 * 1024 * 1024


def test_a_source_of_bundles_stores_snapshots() -> None:
    """The follower knows it by the interface alone."""
    assert isinstance(BundleSource(FABRIC, HttpOptions(url="http://127.0.0.1:1")), SnapshotStore)


@pytest.mark.parametrize("every_s", [0, 0.01, 61, float("nan")])
def test_an_interval_that_cannot_work_is_refused(every_s: float) -> None:
    """Neither a storm of requests, nor one that no proxy keeps open."""
    with pytest.raises(Malformed):
        BundleOptions(every_s=every_s)


def test_the_default_interval_is_ten_seconds() -> None:
    """As often as clients of the reference poll."""
    assert BundleOptions().every_s == 10
