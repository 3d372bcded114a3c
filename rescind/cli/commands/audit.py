"""`rescind audit`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rescind.cli.common import Session, common, moment
from rescind.cli.out import plain, utc
from rescind.errors import EXIT_OK

if TYPE_CHECKING:
    from rescind_registry.audit import Entry

_SHOWN_TARGETS = 3


@click.group()
def audit() -> None:
    """Show, export and verify the audit trail: who did what, why, and from where.

    Each line names the hash of the one before it. `verify` finds what was changed, taken out or put
    in; that the end was cut off shows only to who has kept the last hash elsewhere (--head).
    """


def _filtered(command: Any) -> Any:
    command = click.option("--target", metavar="TEXT", help="Only acts on targets with this text.")(
        command
    )
    return click.option(
        "--since", callback=moment, metavar="TIME", help="Only acts since then; a time, or now."
    )(command)


@audit.command(short_help="Show acts.")
@_filtered
@common
def show(session: Session, *, since: datetime | None, target: str | None) -> int:
    """Show acts, oldest first; with --json one document a line."""
    found = list(_matching(session, since, target))
    for each in found:
        session.out.document(plain(each))
    session.out.table(("when", "who", "from", "what", "on", "why"), map(_row, found))
    return EXIT_OK


@audit.command(short_help="Write acts to a file, as they stand.")
@_filtered
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@common
def export(session: Session, *, file: Path, since: datetime | None, target: str | None) -> int:
    """Write acts to FILE as JSON lines; FILE must not exist. All of them verify as they are."""
    import msgspec  # noqa: PLC0415 - help needs none

    count = 0
    with file.open("xb") as out:
        for count, each in enumerate(_matching(session, since, target), 1):  # noqa: B007
            out.write(msgspec.json.encode(each) + b"\n")
    session.out.document({"file": str(file), "lines": count})
    session.out.say(("written", "green"), f" {count} acts to {file}")
    return EXIT_OK


@audit.command(short_help="Verify the chain.")
@click.option("--head", metavar="HASH", help="A hash that was kept elsewhere: it must be in it.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An exported file, instead of this host's.",
)
@common
def verify(session: Session, *, head: str | None, file: Path | None) -> int:
    """Verify that no line was changed, taken out or put in; show the last hash, to be kept."""
    from rescind.cli.registry import trail_of  # noqa: PLC0415 - help needs none
    from rescind_registry import audit as trails  # noqa: PLC0415

    trail = trails.Trail(file) if file else trail_of(session.loaded)
    count, last = trails.verify(trail.entries(), head)
    session.out.document({"lines": count, "head": last})
    session.out.say(("verified", "green"), f" {count} acts")
    session.out.fields(("head", last))
    return EXIT_OK


def _matching(session: Session, since: datetime | None, target: str | None) -> Iterator["Entry"]:
    from rescind.cli.registry import trail_of  # noqa: PLC0415 - help needs none

    begin = since.timestamp() if since else 0.0
    for each in trail_of(session.loaded).entries():
        if each.at >= begin and (target is None or any(target in name for name in each.targets)):
            yield each


def _row(each: "Entry") -> tuple[Any, ...]:
    more = len(each.targets) - _SHOWN_TARGETS
    targets = ", ".join(each.targets[:_SHOWN_TARGETS]) + (f" and {more} more" if more > 0 else "")
    what = each.what if each.outcome == "done" else f"{each.what} ({each.outcome})"
    return utc(each.at), each.who, each.where, what, targets, each.why or ""
