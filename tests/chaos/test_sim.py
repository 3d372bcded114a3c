"""A quick fixed set of the simulator's schedules; `make chaos` runs the long one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable

import msgspec
import pytest

from rescind.testing.signatures import known_signatures
from rescind.testing.sim import Parts, Schedule, Step, Verdict, What, plan, run
from rescind.testing.sim.cast import victims
from rescind.testing.sim.simulation import Simulation
from rescind_protocol import places
from rescind_protocol.changes import Kill
from rescind_subscriber.reconcile import Reconciler
from tests.chaos import command
from tests.chaos.shrink import describe, shrink
from tests.chaos.sim_tier import guarded, parts_without, play
from tests.chaos.weak import SHOWS, WITHOUT, WallClockOnly

SCHEDULES = 1000
CHUNK = 250
ENOUGH = 500
"""Schedules in which the absence of any protection is found many times over."""
STRIDE = 50


@pytest.mark.parametrize("start", range(0, SCHEDULES, CHUNK))
def test_no_schedule_of_the_fixed_set_finds_anything(start: int) -> None:
    """No kill lost, no badge resurrected, no false freshness, all views equal, nobody stuck."""
    chunk = play(range(start, start + CHUNK))
    assert chunk.failed == (), chunk.verdict.notes[:5]
    assert chunk.verdict.schedules == CHUNK
    assert chunk.verdict.kills > CHUNK


@pytest.mark.parametrize(("without", "figure"), SHOWS.items())
def test_without_a_protection_its_fault_is_found(without: str, figure: str) -> None:
    """The naive piece in its place, and the same schedules show what it does."""
    found = (
        getattr(play(range(start, start + STRIDE), without).verdict, figure)
        for start in range(0, ENOUGH, STRIDE)
    )
    assert any(found)


def test_every_protection_can_be_taken_out() -> None:
    """What the command offers is what the page on testing names."""
    names = (
        "rename",
        "repeat",
        "I2",
        "I4",
        "I7",
        "fence",
        "msgid",
        "horizon",
        "count",
        "reread",
        "end",
    )
    assert tuple(WITHOUT) == names


def test_every_fault_happens_in_the_fixed_set() -> None:
    """A step that no schedule has tests nothing."""
    happens = {step.what for seed in range(SCHEDULES) for step in plan(seed).steps}
    assert happens == set(What)


def test_a_seed_gives_the_same_bytes_in_every_process() -> None:
    """Whatever the hashes of that process: each broker stores the same, each view is the same."""
    script = (
        "import sys, hashlib; from rescind.testing.sim import Parts, plan\n"
        "from rescind.testing.sim.simulation import Simulation\n"
        "d = hashlib.sha256()\n"
        "for seed in range(40):\n"
        "    s = Simulation(plan(seed), Parts()); s.verdict()\n"
        "    d.update(b''.join(raw or b'-' for b in s.world.brokers for raw in b.store))\n"
        "    d.update(b''.join(raw for s in s.world.subscribers for raw in s.disk))\n"
        "print(d.hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(said) == 1


def test_signatures_are_verified_for_real_without_the_seam() -> None:
    """The seam changes no outcome."""
    for seed in range(20):
        with known_signatures():
            fast = run(plan(seed))
        assert msgspec.to_builtins(run(plan(seed))) == msgspec.to_builtins(fast)


def test_a_failing_schedule_is_shrunk_to_what_it_takes() -> None:
    """A kill, and a restart while nobody can be reached: without its snapshot a guard forgets."""
    parts = parts_without("I7")
    (seed, *_) = play(range(100), "I7").failed
    short = shrink(plan(seed), lambda shorter: run(shorter, parts).violations > 0)
    assert run(short, parts).violations > 0
    assert run(short).violations == 0
    assert {step.what for step in short.steps} >= {What.KILL, What.SUBSCRIBER_DOWN}
    assert len(short.steps) < len(plan(seed).steps)
    assert "subscriber down" in describe(short)


def test_a_schedule_is_data() -> None:
    """It survives JSON, so that a failing one can be kept."""
    for seed in range(20):
        text = msgspec.json.encode(plan(seed))
        assert msgspec.json.decode(text, type=Schedule) == plan(seed)


def kill(at: float, target: int = 0) -> Step:
    """Return a kill without an end."""
    return Step(at, What.KILL, other=target, amount=0.5)


def schedule(*steps: Step, brokers: tuple[str, ...] = ("stream",)) -> Schedule:
    """Return a quiet schedule of one publisher and two subscribers with these steps."""
    return Schedule(
        seed=1,
        publishers=1,
        subscribers=2,
        brokers=brokers,
        limit_s=120.0,
        heartbeat_s=30.0,
        delay_s=0.01,
        offsets_s=(0.0, 30.0, -30.0),
        badge_age_s=0,
        quota=1000,
        length_s=300.0,
        steps=steps,
    )


def test_heads_held_up_and_a_clock_set_back_make_nothing_fresh() -> None:
    """By the wall clock alone they would: the head of before the kill looks new, 400 s later."""
    held_up = Step(40, What.LATE_HEADS, lasts_s=1000, amount=0.4)
    set_back = Step(41, What.SUBSCRIBER_CLOCK, lasts_s=1000, amount=-400)
    played = schedule(held_up, set_back, kill(65), kill(470, 1))
    played = msgspec.structs.replace(played, length_s=1050.0)
    assert run(played).violations == 0
    assert run(played, Parts(reconciler=WallClockOnly)).false_fresh > 0


def test_the_checker_sees_a_kill_that_is_lost() -> None:
    """A view from which a kill has vanished is lost, diverged from the others, and seen to be."""
    simulation = Simulation(schedule(kill(1)), parts_without(None))
    clean = simulation.verdict()
    assert (clean.kills, clean.violations) == (1, 0)
    checker, world = simulation.world.checker, simulation.world
    empty = type(world.subscribers[0].view.published.table)()
    checker.healed("s0", empty, world.time.now)
    checker.compare({"s0": empty, "s1": world.subscribers[1].view.published.table}, 0.0)
    assert (clean.lost, clean.diverged) == (1, 1)


@pytest.mark.parametrize("brokers", [("stream",), ("fenced",)])
@pytest.mark.parametrize(
    "fault",
    [
        Step(5, What.PURGE),
        Step(5, What.RECREATE),
        Step(5, What.RESTORE, amount=0.4),
        Step(5, What.ROT),
        Step(2.5, What.GARBAGE),
        Step(0.5, What.FORGE_ACKS, lasts_s=200),
        Step(0.5, What.FLIP, lasts_s=200),
        Step(0.5, What.SKIP, lasts_s=200),
    ],
    ids=lambda step: step.what,
)
def test_a_broker_that_lost_or_lied_is_mended_by_the_publisher(
    fault: Step, brokers: tuple[str, ...]
) -> None:
    """A subscriber that starts from nothing afterwards has every kill."""
    kills = [kill(n, n) for n in (1, 4, 5)]  # of three targets: a repeat would be one kill
    fresh = Step(250, What.SUBSCRIBER_DOWN, lasts_s=1, amount=0.5 + 3 / 6)
    played = schedule(*kills, fault, fresh, brokers=brokers)
    simulation = Simulation(played, parts_without(None))
    verdict = simulation.verdict()
    assert (verdict.kills, verdict.violations) == (3, 0), verdict.notes
    assert any(
        sum(raw is not None for raw in broker.store) >= 3 for broker in simulation.world.brokers
    )


def test_a_storm_of_10_000_kills_of_one_target_is_no_fault() -> None:
    """Each longer than the one before, so that none covers the next; then all are ended."""
    end = Step(50, What.RETRACT)
    quick = {"quota": 20_000, "subscribers": 1, "offsets_s": (0.0, 30.0), "length_s": 100.0}
    played = msgspec.structs.replace(schedule(end), **quick)
    simulation = Simulation(played, parts_without(None))
    world, target = simulation.world, victims(0)[0]
    until = int(world.time.now) + 10_000
    storm = [Kill(target=target, expires_at=until + n) for n in range(10_000)]

    def say() -> None:
        assert world.publishers[0].say(*storm)

    world.time.after(1.0, say)
    verdict = simulation.verdict()
    assert (verdict.kills, verdict.violations) == (10_000, 0), verdict.notes[:3]
    assert all(len(each.view.published.table) == 0 for each in world.subscribers)


@pytest.mark.parametrize("reserve", [True, False])
def test_a_full_quota_leaves_room_for_an_agent(
    monkeypatch: pytest.MonkeyPatch, *, reserve: bool
) -> None:
    """Sessions that nobody has fill it; the agent's kill is accepted. Control: no reserve."""
    if not reserve:
        monkeypatch.setattr(places, "_RESERVES", {})
    played = msgspec.structs.replace(schedule(Step(1, What.FLOOD, amount=0.5)), quota=40)
    simulation = Simulation(played, parts_without(None))
    verdict = simulation.verdict()
    assert verdict.violations == 0, verdict.notes[:3]
    assert verdict.kills == 40 + reserve
    for each in simulation.world.subscribers:
        assert (each.view.published.table.get(victims(0)[0].digest) is not None) is reserve


def test_the_command_prints_one_object_last(capsys: pytest.CaptureFixture[str]) -> None:
    """With the seed to replay it, and exit code 0 where nothing was found."""
    assert command.main(["--seed", "7", "--schedules", "30", "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out.splitlines()[-1])
    names = ("schedules", "kills", "lost", "resurrected", "false_fresh", "diverged")
    assert [result[name] for name in names] == [30, result["kills"], 0, 0, 0, 0]
    assert result["kills"] > 0
    assert "seed 7" in printed.err


def test_the_command_says_how_to_replay_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a protection finding something is success, and finding nothing is failure."""
    assert command.main(["--seed", "0", "--schedules", "100", "--without", "I2"]) == 0
    printed = capsys.readouterr().err
    assert "--seed 0 --schedules 1 --without I2" in printed
    assert command.main(["--seed", "0", "--schedules", "1", "--without", "msgid"]) == 1


def test_a_violation_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1, and the counts in the result."""
    monkeypatch.setattr("tests.chaos.sim_tier.parts_without", lambda _: WITHOUT["I2"])
    assert command.main(["--seed", "0", "--schedules", "20", "--json"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["lost"] > 0


def test_an_error_is_a_finding_too() -> None:
    """It is counted, and the other schedules are played."""

    class Broken(Reconciler):
        def batch(self, raws: Iterable[bytes]) -> int:
            raise RuntimeError("boom") if list(raws) else RuntimeError("empty")

    verdict = guarded(schedule(kill(1)), Parts(reconciler=Broken))
    assert (verdict.schedules, verdict.broken, verdict.violations) == (1, 1, 1)
    assert "RuntimeError" in verdict.notes[0]


def test_verdicts_add_up() -> None:
    """Figure by figure."""
    total = Verdict()
    total.add(Verdict(schedules=1, kills=2, lost=3))
    total.add(Verdict(schedules=1, diverged=4, notes=["x"]))
    assert (total.schedules, total.kills, total.violations, total.notes) == (2, 2, 7, ["x"])
