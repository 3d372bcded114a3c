"""The audit trail: whatever was changed, taken out or put in shows."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

from rescind_protocol.limits import MAX_ID_CHARS
from rescind_publisher.errors import AuditFailed
from rescind_publisher.trail import MENDED, Entry, Trail, verify
from rescind_registry.bodies import MAX_TARGETS
from tests.faults.disk import file_limit


def act(what: str = "kill", **more: object) -> Entry:
    """Return one of many acts."""
    return msgspec.structs.replace(
        Entry(at=1.5, who="ann (12ab)", where="127.0.0.1", what=what), **more
    )


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Give a trail of three acts."""
    made = Trail(tmp_path / "audit.jsonl")
    for what in ("enrol", "kill", "reinstate"):
        made.append(act(what, targets=("agent did:web:a.example",)))
    return made


def test_what_was_written_verifies(trail: Trail) -> None:
    """Numbered from one, each naming the one before."""
    written = list(trail.entries())
    assert [each.what for each in written] == ["enrol", "kill", "reinstate"]
    assert verify(written) == (3, written[-1].hash)
    assert trail.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[1].replace(b"kill", b"look"), lines[2]],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[0], lines[0], lines[1], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[1], lines[2]],
    ],
    ids=["changed", "taken out", "put in", "moved", "begun later"],
)
def test_a_line_that_was_touched_shows(trail: Trail, damage: object) -> None:
    """At that line."""
    lines = trail.path.read_bytes().splitlines(keepends=True)
    trail.path.write_bytes(b"".join(damage(lines)))  # type: ignore[operator]
    with pytest.raises(AuditFailed, match="line"):
        verify(trail.entries())


def test_the_largest_request_is_one_line_that_verifies(trail: Trail) -> None:
    """Every target with the longest name, in characters of four bytes."""
    most = ("\U0001f511" * 2 * MAX_ID_CHARS,) * MAX_TARGETS
    trail.append(act(targets=most))
    trail.append(act())
    assert verify(trail.entries())[0] == 5


def test_an_end_that_was_cut_shows_to_who_kept_the_last_hash(trail: Trail) -> None:
    """Without it nobody can know; so the head is to be kept elsewhere."""
    head = verify(trail.entries())[1]
    lines = trail.path.read_bytes().splitlines(keepends=True)
    trail.path.write_bytes(b"".join(lines[:2]))
    assert verify(trail.entries())[0] == 2
    with pytest.raises(AuditFailed, match="cut"):
        verify(trail.entries(), head)


def test_an_older_hash_is_still_found(trail: Trail) -> None:
    """What was added since is no fault."""
    head = verify(trail.entries())[1]
    trail.append(act())
    assert verify(trail.entries(), head)[0] == 4


@pytest.mark.parametrize("left", [b'{"n":4', b"\0" * 4096, b"x" * 200_000, b"\xff"])
def test_half_a_line_is_cut_and_the_chain_goes_on(trail: Trail, left: bytes) -> None:
    """Of a process that ended in the middle of it; a line of its own says so."""
    with trail.path.open("ab") as file:
        file.write(left)
    assert verify(trail.entries())[0] == 3  # what can be read meanwhile
    trail.append(act())
    written = list(trail.entries())
    assert [each.what for each in written[3:]] == [MENDED, "kill"]
    assert f"of {len(left)} bytes" in str(written[3].why)
    assert verify(written)[0] == 5


def test_half_a_line_is_all_there_is(tmp_path: Path) -> None:
    """The very first one was cut off."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"n":1,"at')
    Trail(path).append(act())
    assert verify(Trail(path).entries())[0] == 2


def test_a_line_that_lacks_its_end_alone_is_kept(trail: Trail) -> None:
    """It says all that it was to say, and its hash holds."""
    trail.path.write_bytes(trail.path.read_bytes().removesuffix(b"\n"))
    assert verify(trail.entries())[0] == 3
    trail.append(act())
    assert [each.what for each in trail.entries()] == ["enrol", "kill", "reinstate", "kill"]
    assert verify(trail.entries())[0] == 4


def test_a_disk_that_is_full_for_a_moment_blocks_nothing_after_it(trail: Trail) -> None:
    """What does not fit is taken back at once, and said; later acts are written as ever."""
    before = trail.path.read_bytes()
    with file_limit(os.getpid(), len(before) + 40), pytest.raises(AuditFailed, match="written"):
        trail.append(act())
    assert trail.path.read_bytes() == before
    trail.append(act())
    assert verify(trail.entries())[0] == 4


def test_a_line_that_is_no_act_is_damage(trail: Trail) -> None:
    """It has its end, so that nobody was cut off: it is not cut, and no act follows it."""
    with trail.path.open("ab") as file:
        file.write(b"garbage\n")
    with pytest.raises(AuditFailed, match="damaged"):
        trail.append(act())


def test_a_long_line_is_followed_too(trail: Trail) -> None:
    """A kill of thousands is one line, longer than what is read of the end at once."""
    trail.append(act(targets=tuple(f"agent did:web:a{n}.example" for n in range(5000))))
    trail.append(act())
    assert verify(trail.entries())[0] == 5


def test_writers_do_not_fork_the_chain(tmp_path: Path) -> None:
    """Each waits for the other."""
    path = tmp_path / "audit.jsonl"

    def write() -> None:
        for _ in range(20):
            Trail(path).append(act())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(Trail(path).entries())[0] == 80


def test_a_time_without_a_fraction_verifies_too(trail: Trail) -> None:
    """Written and read back it is the same."""
    trail.append(act(at=1_800_000_000))
    assert verify(trail.entries())[0] == 4


def test_a_trail_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """With its path."""
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(AuditFailed, match=r"audit\.jsonl"):
        Trail(tmp_path / "audit.jsonl").append(act())
