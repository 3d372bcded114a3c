"""`view`: one event into a view of a million entries, and what a reader feels of it.

- apply: `Replica.apply` and `View.swap` of an event of one kill that is already authenticated: the
  join, the table, the swap. `event` is the whole of `Reconciler.event`, beside the bare
  verification of the same bytes, both in turn.
- pauses: see `benchmarks.pauses`; the writer is a `Reconciler` that takes a signed event each
  2 ms, in a view of a million entries.
- alternatives: other structures of the same size, with the same keys and one shared entry.
"""

import gc
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
from nacl.bindings import crypto_sign_open

from benchmarks import pauses
from benchmarks.material import Publisher, badge_kill, timed
from benchmarks.pauses import Pauses
from benchmarks.stats import US, Row, Spread, progress, shown, spread
from benchmarks.structures import ALTERNATIVES, Structure
from rescind_guard import View
from rescind_guard.freshness import SystemClock
from rescind_protocol.encoding import b64url_decode
from rescind_subscriber.reconcile import Reconciler

APPLY_US = 25.0
PAUSE_MS = 2.0
WRITE_EVERY_S = 0.002
GROWTH = 0.45
"""How much a dict in place grows while its worst single write is looked for: past a resize."""


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    entries: int = 1_000_000
    events: int = 2000
    copies: int = 30
    """Events for structures that copy everything for each."""
    windows: int = 16
    window_s: float = 0.25
    alternatives: bool = True


QUICK = Plan(entries=2000, events=50, copies=5, windows=1, window_s=0.05)


class Alternative(msgspec.Struct, frozen=True):
    """One structure of `entries` entries; times in microseconds, pauses in milliseconds."""

    name: str
    apply_us: Spread
    worst_apply_ms: float
    hit_us: float
    miss_us: float
    pause: Pauses


class Result(msgspec.Struct, frozen=True):
    """Times in microseconds."""

    entries: int
    apply_us: Spread
    """Of an authenticated event: join, table, swap."""
    event_us: Spread
    """Of a signed event, everything."""
    event_floor_us: Spread
    """The bare verification of the same bytes."""
    event_minus_signature_us: float
    pause: Pauses
    bytes_per_entry: int
    """Resident memory of the whole replica: table, revocations, reasons, expiry."""
    events: int
    alternatives: tuple[Alternative, ...]

    def rows(self) -> list[Row]:
        """Return what people read."""
        own = [
            Row(
                f"one event into {self.entries:,} entries: join + swap",
                self.apply_us,
                "µs",
                APPLY_US,
            ),
            Row("  a signed event, everything", self.event_us, "µs"),
            Row("  everything but its bare signature", self.event_minus_signature_us, "µs"),
            Row("a reader's worst pause, with a writer", self.pause.with_writer_ms, "ms"),
            Row("  the same loop without a writer", self.pause.without_writer_ms, "ms"),
            Row("  what the writer adds", self.pause.more_ms, "ms", PAUSE_MS),
            Row(
                f"  median of {self.pause.windows} windows of each kind, in turn",
                f"worst {shown(self.pause.worst_with_ms)}"
                f" / {shown(self.pause.worst_without_ms)} ms",
            ),
            Row("memory of an entry with its revocation", float(self.bytes_per_entry), "B"),
        ]
        return own + [row for each in self.alternatives for row in _rows(each)]


def _rows(each: Alternative) -> list[Row]:
    pause = each.pause
    return [
        Row(
            each.name,
            f"{each.apply_us} µs",
            note=f"worst {shown(each.worst_apply_ms)} ms; hit {shown(each.hit_us)}, "
            f"miss {shown(each.miss_us)} µs; pause {shown(pause.with_writer_ms)} "
            f"(without {shown(pause.without_writer_ms)}) ms",
        )
    ]


def run(plan: Plan) -> Result:
    """Measure."""
    publisher, view = Publisher(), View()
    view.claim()
    reconciler = Reconciler(publisher.trust, view, SystemClock())
    before = _resident_bytes()
    publisher.fill(reconciler.replica, plan.entries)
    gc.collect()
    used = _resident_bytes() - before
    gc.freeze()
    reconciler.publish_replica()
    progress("view: applying events")
    applied = _applied(plan, publisher, reconciler, view)
    reconciler.publish_replica()  # takes over what was swapped past it
    whole, bare = _events(plan, publisher, reconciler)
    pause = _pause(plan, publisher, reconciler, view)
    del reconciler, view
    gc.unfreeze()
    result = Result(
        entries=plan.entries,
        apply_us=applied,
        event_us=whole,
        event_floor_us=bare,
        event_minus_signature_us=whole.p50 - bare.p50,
        pause=pause,
        bytes_per_entry=max(0, used) // plan.entries,
        events=plan.events,
        alternatives=tuple(_alternatives(plan)) if plan.alternatives else (),
    )
    progress()
    return result


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _applied(plan: Plan, publisher: Publisher, reconciler: Reconciler, view: View) -> Spread:
    events = [publisher.unsigned((badge_kill(),)) for _ in range(plan.events)]
    replica, taken = reconciler.replica, []
    for event in events:
        begun = time.perf_counter_ns()
        replica.apply(event)
        view.swap(replica.table)
        taken.append(time.perf_counter_ns() - begun)
    assert view.published.table.size == plan.entries + plan.events
    return spread(taken, US)


def _events(plan: Plan, publisher: Publisher, reconciler: Reconciler) -> tuple[Spread, Spread]:
    whole, bare, public = [], [], publisher.key.public
    for _ in range(plan.events):
        raw = publisher.signed((badge_kill(),))
        signing_input, _, signature = raw.rpartition(b".")
        message = b64url_decode(signature) + signing_input
        bare.append(timed(partial(crypto_sign_open, message, public)))
        whole.append(timed(partial(reconciler.event, raw)))
    assert reconciler.events.read().get("applied") == plan.events, reconciler.events.read()
    return spread(whole, US), spread(bare, US)


def _pause(plan: Plan, publisher: Publisher, reconciler: Reconciler, view: View) -> Pauses:
    count = int(plan.windows * plan.window_s / WRITE_EVERY_S) + 1
    progress("view: signing events for the writer")
    raws = iter([publisher.signed((badge_kill(),)) for _ in range(count)])
    view.release()

    def write() -> None:
        view.claim()  # each window's writer is a thread of its own
        raw = next(raws, None)
        if raw is not None:
            reconciler.event(raw)
        view.release()

    progress("view: watching a reader")
    return pauses.measure(
        lambda key: view.published.table.get(key),  # noqa: PLW0108 - the newest one each time
        _keys(1000),
        write,
        windows=plan.windows,
        window_s=plan.window_s,
        every_s=WRITE_EVERY_S,
    )


def _keys(count: int) -> list[bytes]:
    return [os.urandom(16) for _ in range(count)]


def _alternatives(plan: Plan) -> list[Alternative]:
    keys, found = _keys(plan.entries), []
    for name, make in ALTERNATIVES.items():
        progress(f"view: {name}")
        structure: Structure = make(keys)
        gc.collect()
        gc.freeze()
        found.append(_alternative(plan, name, structure, keys))
        gc.unfreeze()
    return found


def _alternative(plan: Plan, name: str, structure: Structure, keys: Sequence[bytes]) -> Alternative:
    hits, misses = keys[:: max(1, len(keys) // 2000)], _keys(2000)
    hit = median(timed(partial(structure.get, key)) for key in hits) / US
    miss = median(timed(partial(structure.get, key)) for key in misses) / US
    events = plan.copies if name == "dict copied" else plan.events
    taken = [timed(partial(structure.add, key)) for key in _keys(events)]
    if name == "dict in place":  # its cost is in the one write that makes it grow
        growth = _keys(int(GROWTH * plan.entries))
        worst = max(timed(partial(structure.add, key)) for key in growth)
    else:
        worst = max(taken)
    pause = pauses.measure(
        structure.get,
        hits,
        lambda: structure.add(os.urandom(16)),
        windows=max(1, plan.windows // 3),
        window_s=plan.window_s,
        every_s=WRITE_EVERY_S,
    )
    return Alternative(name, spread(taken, US), worst / 1e6, hit, miss, pause)
