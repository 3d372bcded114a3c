"""Unsigned lists over time: asked for, replaced, lost, kept over a restart, and damaged on disk."""

import os
from math import inf
from pathlib import Path
from stat import S_IMODE
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from rescind_guard.errors import BadGuard
from rescind_guard.metrics import Counter
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_subscriber import durable
from rescind_subscriber.unsigned.fetch import Answer, Fetcher
from rescind_subscriber.unsigned.keeper import EVERY_S, MAX_LISTS, SAVE_EVERY_S, ListKeeper
from rescind_subscriber.unsigned.place import Place, place
from rescind_subscriber.unsigned.shelf import MAX_FILE_BYTES
from tests.fakes.badges import ISSUER, OTHER, SetClock
from tests.fakes.lists import URL, Registry, badge, bundle, jtis, keeper


class World:
    """A registry, a view, a clock, and a keeper between them; `restart` makes the next process."""

    def __init__(self, folder: Path | None = None, raw: bytes = b"") -> None:
        self.registry, self.clock = Registry(raw), SetClock()
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        """Begin anew with what is on disk."""
        self.view = View()
        self.keeper = keeper(self.registry, self.view, self.clock, folder=self.folder)
        self.keeper.load()

    def ask(self, raw: bytes | None = None) -> None:
        """Let an interval pass, and perhaps the registry say something else."""
        self.registry.raw = self.registry.raw if raw is None else raw
        self.clock.advance(2 * EVERY_S)
        self.keeper.step()

    def denies(self, *named: str) -> bool:
        """Whether the view's lists name all of these badges."""
        asked = [(badge(jti).digest, targets.issuer(ISSUER).digest) for jti in named]
        return all(self.view.lists.killer(digests, 0) for digests in asked)

    def trouble(self) -> str:
        """What is wrong with the list."""
        [standing] = self.keeper.standings()
        return standing.trouble

    @property
    def file(self) -> Path:
        """Where it is kept."""
        assert self.folder is not None
        [found] = self.folder.glob("*.list")
        return found


def read(world: World) -> dict[str, dict[str, float]]:
    """Return the metrics by name."""
    return {family.metric.name: dict(family.values) for family in world.keeper.metrics()}


def test_an_answer_replaces_the_whole_list() -> None:
    """What is new denies, what has left does not, and the rest stays."""
    world = World(raw=jtis("1", "2"))
    world.ask()
    assert world.denies("1", "2")
    world.ask(jtis("2", "3"))
    assert world.denies("2", "3")
    assert not world.denies("1")
    world.ask(jtis())
    assert not world.view.lists.lists


def test_it_is_asked_by_its_tag_and_an_unchanged_one_changes_nothing() -> None:
    """304, and the same bytes without a tag, leave every cached badge as it is."""
    world = World(raw=jtis("1"))
    world.ask()
    shown = world.view.lists
    world.ask()
    world.registry.tagged = False
    world.ask()
    tag = f'"{hash(jtis("1"))}"'
    assert world.registry.tags == ["", tag, tag]
    assert world.view.lists is shown
    assert read(world)["rescind_subscriber_unsigned_list_fetches_total"] == {
        "changed": 1,
        "unchanged": 2,
        "failed": 0,
    }


def test_it_is_asked_once_an_interval() -> None:
    """Also while it fails: a registry in trouble is not run down."""
    world = World()
    for _ in range(5):
        world.keeper.step()
    world.registry.away = "answers HTTP 503"
    world.ask()
    for _ in range(5):
        world.keeper.step()
    assert len(world.registry.tags) == 2


@pytest.mark.parametrize("raw", [b"", b"{}", bundle(None), bundle(["1", 2])])
def test_a_list_that_stops_arriving_goes_on_to_deny(raw: bytes) -> None:
    """Away, or no list at all: a trouble with a growing age, until the next good answer."""
    world = World(raw=jtis("1"))
    assert world.trouble() == "was not fetched yet"
    world.ask()
    assert not world.trouble()
    if raw:
        world.ask(raw)
    else:
        world.registry.away = "answers HTTP 503"
        world.ask()
    assert world.trouble()
    assert list(world.keeper.troubles) == [f"unsigned list {ISSUER}"]
    assert world.denies("1")
    ages = read(world)["rescind_subscriber_unsigned_list_age_seconds"]
    assert ages == {ISSUER: 2 * EVERY_S}
    assert read(world)["rescind_subscriber_unsigned_list_up"] == {ISSUER: 0}
    world.registry.away = ""
    world.ask(jtis("2"))
    assert not world.trouble()
    assert world.denies("2")


def test_a_list_that_never_came_denies_nobody_and_says_so() -> None:
    """Its age is infinite."""
    world = World()
    world.registry.away = "answers HTTP 503"
    world.ask()
    assert world.keeper.standings()[0].age_s is None
    assert read(world)["rescind_subscriber_unsigned_list_age_seconds"] == {ISSUER: inf}
    assert not world.view.lists.lists


@pytest.mark.parametrize("back_s", [0.0, 3600.0])
def test_no_clock_that_is_set_back_makes_a_list_younger(back_s: float) -> None:
    """The age is the greater by either clock."""
    world = World()
    world.ask()
    world.clock.advance(100)
    world.clock.wall_s -= back_s
    assert world.keeper.standings()[0].age_s == 100


def test_lists_of_several_issuers_stand_side_by_side() -> None:
    """One that fails takes nothing from the other."""
    view, clock = View(), SetClock()
    registry = Registry(jtis("1"))
    both = ListKeeper([place(ISSUER, URL), place(OTHER, URL)], registry, view, clock=clock)
    both.step()
    assert [each.issuer for each in view.lists.lists.values()] == [ISSUER, OTHER]
    with pytest.raises(BadGuard, match="at most"):
        ListKeeper(
            [place(f"https://{n}.example", URL) for n in range(MAX_LISTS + 1)], registry, view
        )


# --- over a restart ---


def test_a_restart_denies_before_the_registry_answers(tmp_path: Path) -> None:
    """And while it is away; the age goes on, and the next request has the tag."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    tag, world.registry.away = world.registry.tag, "answers HTTP 503"
    world.clock.advance(50)
    world.restart()
    assert world.denies("1")
    assert world.trouble() == "was not fetched yet"
    assert world.keeper.standings()[0].age_s == 50
    world.ask()
    assert world.registry.tags[-1] == tag
    assert world.denies("1")
    assert "503" in world.trouble()
    world.registry.away = ""
    world.ask()
    assert not world.trouble()
    assert world.denies("1")


def test_without_its_file_a_restart_knows_nothing(tmp_path: Path) -> None:
    """Negative control of the one above."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    world.file.unlink()
    world.restart()
    assert not world.denies("1")


def test_an_emptied_list_is_kept_as_empty(tmp_path: Path) -> None:
    """A restart frees whom the registry has freed."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    world.ask(jtis())
    world.restart()
    assert not world.denies("1")


def test_the_file_is_private_and_no_list_of_another_address(tmp_path: Path) -> None:
    """0600 in a folder of 0700."""
    world = World(tmp_path / "lists", jtis("1"))
    world.ask()
    assert S_IMODE(world.file.stat().st_mode) == 0o600
    assert S_IMODE(world.file.parent.stat().st_mode) == 0o700
    moved = ListKeeper(
        [place(ISSUER, URL + "/other")], world.registry, View(), folder=tmp_path / "lists"
    )
    moved.load()
    assert moved.standings()[0].entries == 0


def test_a_confirmation_is_written_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every ten seconds: each is an fsync."""
    writes = Counter()
    replace = durable.replace_durably

    def count(path: Path, parts: list[bytes]) -> None:
        writes.add("write")
        replace(path, parts)

    monkeypatch.setattr(durable, "replace_durably", count)
    world = World(tmp_path, jtis("1"))
    world.ask()
    for _ in range(5):
        world.ask()
    assert writes.read() == {"write": 1}
    world.clock.advance(SAVE_EVERY_S)
    world.ask()
    assert writes.read() == {"write": 2}


def damage(path: Path, how: str) -> None:
    """Damage a file as disks and hands do."""
    raw = path.read_bytes()
    bent = {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "a bit": raw[:-1] + bytes([raw[-1] ^ 1]),
        "text": b"{}",
        "long": raw + b" " * MAX_FILE_BYTES,
    }
    path.write_bytes(bent[how])


@pytest.mark.parametrize("how", ["empty", "cut", "a bit", "text", "long"])
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, how: str) -> None:
    """Never an empty list without a word; a whole list heals it."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    damage(world.file, how)
    bent = world.file.read_bytes()
    world.registry.away = "answers HTTP 503"
    world.restart()
    assert "is damaged" in world.trouble()
    assert world.keeper.troubles
    [aside] = tmp_path.glob("*.damaged")
    assert aside.read_bytes() == bent
    world.registry.away = ""
    world.ask()
    assert world.denies("1")
    assert not world.trouble()
    assert aside.read_bytes() == bent
    world.restart()
    assert world.denies("1")


def test_a_second_damaged_file_overwrites_nothing(tmp_path: Path) -> None:
    """It stays where it is, nothing is written over it, and the trouble stays, too."""
    world = World(tmp_path, jtis("1"))
    for how in ("cut", "text"):
        world.ask()
        damage(world.file, how)
        world.restart()
    world.ask()
    assert world.denies("1")
    assert "not overwritten" in world.trouble()
    assert world.file.read_bytes() == b"{}"
    world.file.unlink()
    world.restart()
    world.ask()
    assert not world.trouble()


def test_a_folder_that_anyone_may_write_to_is_not_believed(tmp_path: Path) -> None:
    """Who empties a list frees whom it named."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    tmp_path.chmod(0o777)
    world.restart()
    assert not world.denies("1")
    assert "anyone may write" in world.trouble()


def test_a_file_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor written over."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    stat = os.fstat

    def strange(handle: int) -> os.stat_result:
        found = list(stat(handle))
        found[4] = os.geteuid() + 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", strange)
    world.restart()
    assert "another user" in world.trouble()


def test_a_disk_that_takes_nothing_is_a_trouble_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list denies; a restart would not remember it, and that is said until it would."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world = World(tmp_path, jtis("1"))
    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace_durably", full)
        world.ask()
        assert world.denies("1")
        assert "a restart will not remember" in world.trouble()
    world.ask()
    assert not world.trouble()
    world.restart()
    assert world.denies("1")


def test_after_a_fork_the_child_denies_on_and_leaves_the_files_alone(tmp_path: Path) -> None:
    """What was known is in its view; it goes on from there."""
    world = World(tmp_path, jtis("1"))
    world.ask()
    before = world.file.read_bytes()
    world.keeper.after_fork()
    assert world.denies("1")
    world.ask(jtis("2"))
    assert world.denies("2")
    assert world.file.read_bytes() == before


# --- pages, and a file ---


class Paged(Registry):
    """A registry that answers in pages of one row, by `cursor`."""

    def __init__(self, *killed: str) -> None:
        super().__init__()
        self.rows = [{"jti": jti} for jti in killed]
        self.stuck = False
        self.asked: list[str] = []

    def __call__(self, asked: Place, tag: str) -> Answer:
        """Answer one page."""
        assert tag == ""
        self.asked.append(asked.url)
        query = dict(parse_qsl(urlsplit(asked.url).query))
        at = 0 if self.stuck else int(query.get("cursor", "0"))
        more = str(at + 1) if at + 1 < len(self.rows) else None
        found = {"revocations": self.rows[at : at + 1], "nextCursor": more}
        return Answer('"first"', msgspec.json.encode(found))


def test_every_page_of_a_list_is_read() -> None:
    """`GET /v1/revocations` of the reference: a badge on the last page is refused, too."""
    clock, view = SetClock(), View()
    registry = Paged("1", "2", "3")
    kept = keeper(registry, view, clock)
    kept.step()
    assert set(view.lists.lists[targets.issuer(ISSUER).digest].killed) == {
        badge(jti).digest for jti in "123"
    }
    assert registry.asked == [URL, f"{URL}?cursor=1", f"{URL}?cursor=2"]
    registry.rows.pop()
    clock.advance(EVERY_S * 2)
    kept.step()  # without the tag of a page, which says nothing of the others
    assert len(view.lists) == 2


def test_a_registry_that_repeats_a_page_changes_nothing() -> None:
    """It would be followed without end, and its list never be whole."""
    clock, view = SetClock(), View()
    registry = Paged("1", "2", "3")
    kept = keeper(registry, view, clock)
    kept.step()
    registry.stuck = True
    clock.advance(EVERY_S * 2)
    kept.step()
    assert len(view.lists) == 3
    assert "repeats a page" in str(kept.troubles)


def test_a_list_may_be_a_file(tmp_path: Path) -> None:
    """Such as the reference verifier's cache; one that anyone may write to is not believed."""
    file = tmp_path / "revocations.json"
    file.write_bytes(b'{"syncedAt": "2026-01-01T00:00:00Z", "revocations": [{"jti": "1"}]}')
    file.chmod(0o600)
    clock, view = SetClock(), View()
    kept = ListKeeper([place(ISSUER, file.as_uri())], Fetcher(), view, clock=clock)
    kept.step()
    assert set(view.lists.lists[targets.issuer(ISSUER).digest].killed) == {badge("1").digest}
    generation = view.lists.generation
    clock.advance(EVERY_S * 2)
    kept.step()
    assert (view.lists.generation, kept.troubles) == (generation, {})
    file.chmod(0o602)
    file.write_bytes(b'{"syncedAt": "2026-01-01T00:00:00Z", "revocations": []}')
    clock.advance(EVERY_S * 2)
    kept.step()
    assert len(view.lists) == 1
    assert "anyone may write to it" in str(kept.troubles)
    file.unlink()
    clock.advance(EVERY_S * 2)
    kept.step()
    assert len(view.lists) == 1
    assert "No such file" in str(kept.troubles)
