"""Targets from a file or a pipe, of any number: read and killed as they come."""

import os
import select
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from rescind.cli.out import Out, colours
from rescind.cli.targets import KINDS, WIDE, of_parts, read_targets
from rescind_protocol.errors import RescindError
from rescind_protocol.targets import Target
from rescind_publisher.receipts import Receipt

AT_ONCE = 10_000
"""Targets in one request; others' kills get their turn in between."""
MAX_LINE_BYTES = 16 * 1024
FAULTS_SHOWN = 10
_READ_BYTES = 256 * 1024


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    id: str = ""
    iss: str = ""


class Batch(msgspec.Struct):
    """Targets of some lines."""

    targets: list[Target] = []
    first: int = 0
    last: int = 0


class Faults:
    """Lines that name no target: said, the first of them, and counted."""

    def __init__(self, out: Out) -> None:
        self._out, self.count = out, 0

    def add(self, number: int, sentence: str) -> None:
        """Say one."""
        self.count += 1
        if self.count <= FAULTS_SHOWN:
            self._out.warn(f"line {number}: {sentence}")
        elif self.count == FAULTS_SHOWN + 1:
            self._out.warn("further lines that name no target are counted, and not shown")


def parse(line: str, *, yes: bool) -> tuple[Target, ...]:
    """Return the targets of a line; raises `RescindError` or `UsageError` saying what is wrong."""
    if line.startswith("{"):
        try:
            named = msgspec.json.decode(line, type=_Named)
        except msgspec.MsgspecError as error:
            raise click.UsageError(f"it is no target as JSON: {error}") from error
        found: tuple[Target, ...] = (of_parts(named.kind, named.id, named.iss),)
    else:
        kind, *words = line.split()
        if kind not in KINDS:
            raise click.UsageError(f"it begins with none of {', '.join(KINDS)}")
        if words == ["-"]:
            raise click.UsageError("a badge is named by issuer and jti here")
        found = read_targets(kind, tuple(words)).targets
    if not yes and found[0].kind in WIDE:
        raise click.UsageError(f"to kill {found[0].kind} takes --yes")
    return found


def batches(
    fd: int, faults: Faults, *, yes: bool, eager: bool, read: Callable[[int], None]
) -> Iterator[Batch]:
    """Yield what the lines name, in order.

    `eager`: also where fewer are there and the next ones have yet to come. `read` hears how many
    bytes were.
    """
    batch, number, rest = Batch(), 0, b""
    while True:
        if eager and batch.targets and not select.select([fd], [], [], 0)[0]:
            yield batch
            batch = Batch()
        raw = os.read(fd, _READ_BYTES)
        read(len(raw))
        *lines, rest = (rest + raw).split(b"\n") if raw else ([rest, b""] if rest else [b""])
        if len(rest) > MAX_LINE_BYTES:
            raise click.UsageError(f"line {number + len(lines) + 1} is too long: is it one a line?")
        for line in lines:
            number += 1
            if len(batch.targets) >= AT_ONCE:
                yield batch
                batch = Batch()
            _add(batch, number, line, faults, yes=yes)
        if not raw:
            break
    if batch.targets:
        yield batch


def _add(batch: Batch, number: int, line: bytes, faults: Faults, *, yes: bool) -> None:
    text = line.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not text or text.startswith("#"):
        return
    try:
        batch.targets += parse(text, yes=yes)
    except RescindError as error:
        faults.add(number, str(error))
    except click.UsageError as error:
        faults.add(number, error.message)
    else:
        batch.first, batch.last = batch.first or number, number


T = TypeVar("T")


def with_last(found: Iterable[T], *, wanted: bool) -> Iterator[tuple[T, bool]]:
    """Yield each with whether it is the last; where that is wanted, one is held back for it."""
    if not wanted:
        yield from ((each, False) for each in found)
        return
    held: list[T] = []
    for each in found:
        if held:
            yield held.pop(), False
        held.append(each)
    for each in held:
        yield each, True


class Sums:
    """What came of all requests together."""

    def __init__(self) -> None:
        self.killed = self.requests = self._line = 0
        self.pending = False
        self.doubts: dict[str, None] = {}
        self.warnings: dict[str, None] = {}

    def add(self, out: Out, batch: Batch, receipt: Receipt) -> None:
        """Count a request, and write its line of JSON."""
        self.killed += len(batch.targets)
        self.requests += 1
        self._line, self.last = batch.last, receipt
        self.pending = self.pending or len(receipt.pending) == len(receipt.sinks)
        self.warnings |= dict.fromkeys(receipt.warnings)
        document = {**receipt.to_dict(), "targets": len(batch.targets)}
        document["ids"] = [str(receipt.ids[0]), str(receipt.ids[-1])]
        out.document({"event": "killed", "lines": [batch.first, batch.last], **document})

    def warn(self, out: Out) -> None:
        """Say what was killed before something went wrong."""
        if self.killed:
            out.warn(f"{self.killed} targets were killed before that, up to line {self._line}")

    def present(self, out: Out, faults: Faults, doer: object) -> None:
        """Write the sums."""
        warnings = [*self.warnings, *self.doubts]
        done = {"event": "done", "killed": self.killed, "requests": self.requests}
        out.document(done | {"faults": faults.count, "pending": self.pending, "warnings": warnings})
        noun = "request" if self.requests == 1 else "requests"
        out.say(("killed", "red"), f" {self.killed:,} targets in {self.requests} {noun}")
        out.fields(("last receipt", str(self.last)), ("done by", str(doer)))
        for sentence in warnings[:FAULTS_SHOWN]:
            out.warn(sentence)
        if faults.count:
            out.warn(f"{faults.count} lines name no target; all others were killed")


@contextmanager
def opened(file: str) -> Iterator[int]:
    """Give the descriptor of a file, or of standard input for `-`."""
    if file == "-":
        yield sys.stdin.fileno()
        return
    fd = os.open(Path(file), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def bar(out: Out, fd: int) -> Iterator[Callable[[int, int], None]]:
    """Give what to tell of bytes read and targets killed; a bar on a terminal, else nothing."""
    if out.as_json or not sys.stderr.isatty():
        yield lambda _read, _killed: None
        return
    from rich.console import Console  # noqa: PLC0415 - only when something is drawn
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    found = os.fstat(fd)
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    console = Console(stderr=True, no_color=not colours(sys.stderr), highlight=False)
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as drawn:
        task = drawn.add_task("reading", total=size)
        killed = 0

        def told(read: int, more: int) -> None:
            nonlocal killed
            killed += more
            drawn.update(task, advance=read, description=f"{killed:,} killed")

        yield told
