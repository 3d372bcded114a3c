"""Unsigned lists stay apart: what is joined, kept, captured and handed on never has them.

Each claim has its negative control: a view that merges lists into its table, as a first draft might
have done it, carries them into all of these.
"""

from collections.abc import Iterable
from pathlib import Path

from rescind_guard import unsigned
from rescind_guard.unsigned import UnsignedList
from rescind_guard.view import Published, View
from rescind_protocol.changes import Kill, Revocation, RevocationId
from rescind_protocol.table import TableEdit, alone
from rescind_protocol.targets import Target
from rescind_subscriber.checkpoint import CheckpointFile
from tests.fakes.fabric import FABRIC, NOW, Log
from tests.fakes.following import QUICK, following, kills, victim
from tests.fakes.lists import listed, show
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until

FOREIGN = victim(99)


class Merging(View):
    """The protection out: lists go into the table, as kills of a log that is known."""

    def show_lists(
        self, lists: Iterable[UnsignedList], after: unsigned.Published
    ) -> unsigned.Published:
        """Publish the union."""
        edit, at = TableEdit(self.published.table), self.published
        for digest in (digest for each in lists for digest in each.killed):
            kill = Kill(target=FOREIGN)
            edit.put(digest, alone(Revocation(RevocationId(Log().id, 99, 0), kill, NOW)))
        self.published = Published(at.generation + 1, edit.done(), at.as_of_wall, at.as_of_boot)
        return after


async def follow(folder: Path, view: View, *, lists: bool = True) -> set[Target]:
    """Follow two kills with a list beside them, crash, start anew; return what is kept on disk."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 2)
    async with following(source, view=view, folder=folder) as at:
        await until(lambda: at.denies(victim(1), victim(2)))
        await at.end()
    if lists:
        show(view, listed(FOREIGN))
    # The next follower takes over what the view has published, as after a crash.
    async with following(source, view=view, folder=folder) as at:
        await until(at.follower.reads.read)
        captured = at.follower.capture()
        await at.end()
    assert captured is not None
    kept = CheckpointFile(folder, QUICK.name).load(FABRIC)
    assert kept is not None
    targets = {each.kill.target for each in kept.image.revocations}
    return targets | {each.kill.target for _, e in captured.table.items() for each in e.revocations}


async def test_no_list_comes_into_a_snapshot_nor_into_what_is_captured(tmp_path: Path) -> None:
    """Not by a crash either, after which the view's own table is taken over."""
    view = View()
    assert await follow(tmp_path, view) == {victim(1), victim(2)}
    assert view.lists.lists


async def test_a_list_that_were_merged_would_be_in_both(tmp_path: Path) -> None:
    """Negative control of the one above."""
    assert await follow(tmp_path, Merging()) == {victim(1), victim(2), FOREIGN}


async def test_two_sidecars_join_the_same_bytes_whatever_lists_they_follow(tmp_path: Path) -> None:
    """The local snapshot of one with a list is that of one without."""
    files = []
    for name, lists in (("with", True), ("without", False)):
        folder = tmp_path / name
        await follow(folder, View(), lists=lists)
        files.append((folder / f"{QUICK.name}.snapshot").read_bytes())
    assert files[0] == files[1]


async def test_a_merged_list_would_make_their_bytes_differ(tmp_path: Path) -> None:
    """Negative control of the one above."""
    for name, lists in (("with", True), ("without", False)):
        await follow(tmp_path / name, Merging(), lists=lists)
    files = [tmp_path / each / f"{QUICK.name}.snapshot" for each in ("with", "without")]
    assert files[0].read_bytes() != files[1].read_bytes()
