"""The benchmarks run, and what they print as JSON is whole and adds up; never how fast it was."""

import json
import mmap
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import memory, stats
from benchmarks.stats import Row, Spread

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Any:
    """Return the JSON document that a quick benchmark prints."""
    command = [sys.executable, "-m", "benchmarks", *arguments, "--quick", "--json"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""  # nobody watches: no progress
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def everything() -> Any:
    """Give what `all` prints: each part is run in a process of its own, as by its own command."""
    return run("all")


def check_spread(found: dict[str, float]) -> None:
    """Assert that this is a median with a 99th percentile."""
    assert set(found) == {"p50", "p99"}
    assert 0 < found["p50"] <= found["p99"]


def test_guard(everything: Any) -> None:
    """Four kinds of check, each with its percentiles and as many samples as it should have."""
    found = everything["guard"]
    for name in ("cached_us", "cold_us", "floor_verify_us", "pyjwt_us"):
        check_spread(found[name])
    assert isinstance(found["cold_minus_floor_us"], float)
    samples = found["samples"]
    assert samples["cold"] == samples["floor"] == samples["cached"] / 20 == samples["pyjwt"] * 5
    assert found["view_entries"] == 500


@pytest.mark.parametrize("subscribers", [1, 3])
def test_kill(subscribers: int) -> None:
    """Every subscriber's time of every kill is there, and so is the floor in the same run."""
    found = run("kill", "--subscribers", str(subscribers))
    assert found["subscribers"] == subscribers
    assert found["samples"] == 2 * 4 * subscribers
    assert 0 < found["floor_p50_ms"] <= found["floor_p99_ms"]
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["ratio_p50"] > 0
    assert found["event_bytes"] > 500


def test_storm(everything: Any) -> None:
    """A kill of a crowded target beside one in an empty fabric, and one that is in force."""
    found = everything["storm"]
    assert found["kills"] > 0
    assert found["samples"] > 0
    assert min(found[f"{name}_p50_ms"] for name in ("crowded", "empty", "repeat")) > 0
    assert found["ratio_p50"] > 0


def test_view(everything: Any) -> None:
    """The event, its signature's share, pauses with and without a writer, every alternative."""
    found = everything["view"]
    for name in ("apply_us", "event_us", "event_floor_us"):
        check_spread(found[name])
    difference = found["event_us"]["p50"] - found["event_floor_us"]["p50"]
    assert found["event_minus_signature_us"] == pytest.approx(difference)
    names = [each["name"] for each in found["alternatives"]]
    assert len(set(names)) == len(names) == 5
    for each in [found, *found["alternatives"]]:
        check_spread(each["apply_us"])
        pause = each["pause"]
        assert 0 < pause["with_writer_ms"] <= pause["worst_with_ms"]
        assert 0 < pause["without_writer_ms"] <= pause["worst_without_ms"]


def test_start(everything: Any) -> None:
    """Import, server and subscriber have their percentiles; the snapshot holds what it should."""
    found = everything["start"]
    for name in ("import_ms", "python_ms", "server_ms", "subscriber_ms"):
        check_spread(found[name])
    assert found["revocations"] == 500
    assert found["snapshot_bytes"] > 500 * 16


def test_reports(everything: Any) -> None:
    """Every reporter is counted, with and without the spread."""
    found = everything["reports"]
    assert found["reporters"] == found["spread"]["heard"] == found["at_once"]["heard"]
    assert found["spread"]["peak_per_s"] > 0
    assert found["report_bytes"] > 100


def test_bundle(everything: Any) -> None:
    """Every kill arrives by a delta, and none of them is larger than the whole."""
    found = everything["bundle"]
    assert found["samples"] == 5
    for name in ("build_ms", "not_modified_ms", "kill_ms"):
        check_spread(found[name])
    assert 0 < found["delta_bytes"] < found["archive_bytes"]
    assert found["first_ms"] > 0
    assert found["signed_build_ms"] > 0


def test_readers(everything: Any) -> None:
    """Every reader's time of every kill is there, and what a reader costs."""
    found = everything["readers"]
    assert found["readers"] == 20
    assert found["samples"] == 20 * 3
    for name in ("each_ms", "last_ms"):
        check_spread(found[name])
    assert found["last_ms"]["p50"] >= found["each_ms"]["p50"]
    assert isinstance(found["kib_each"], float)


def test_channels(everything: Any) -> None:
    """Every channel has its percentiles and as many samples, all in one run."""
    found = everything["channels"]
    bundles = {"bundle-long-poll", "bundle-poll"}
    names = {"nats", "redis", "sse", "grpc", *bundles}
    assert set(found["deny_ms"]) == set(found["samples"]) == names
    assert set(found["samples"].values()) == {3}
    for spread in [*found["deny_ms"].values(), found["answer_ms"]]:
        check_spread(spread)


def test_all_is_one_document(everything: Any) -> None:
    """`all --json` holds every benchmark under its command, and the machine."""
    parts = {"guard", "kill --subscribers 2", "storm", "view", "start", "reports", "bundle"}
    assert set(everything) == {
        *("machine", "readers", "channels", "authz", "online", "memory"),
        *parts,
    }


def test_unknown_is_one_sentence() -> None:
    """A wrong number of subscribers is refused with a sentence and exit code 2."""
    command = [sys.executable, "-m", "benchmarks", "kill", "--subscribers", "none"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "must be 1 to 1000" in answer.stderr


def test_percentiles_are_samples() -> None:
    """A percentile is the smallest sample that so many do not exceed; rounds give medians."""
    assert stats.spread(range(1, 101), 1) == Spread(50, 99)
    assert stats.spread([7], 1) == Spread(7, 7)
    rounds = [Spread(1, 10), Spread(2, 90), Spread(9, 11)]
    assert stats.over_rounds(rounds) == Spread(2, 11)


def test_verdicts() -> None:
    """A figure beyond its limit is said to miss it."""
    assert "reached" in Row("what", Spread(1.0, 9.0), limit=1.0).verdict
    assert "MISSED" in Row("what", 1.1, limit=1.0).verdict
    assert not Row("what", 1.1).verdict


def test_authz(everything: Any) -> None:
    """A proxy's question is answered, and set beside an empty handler."""
    found = everything["authz"]
    assert found["rounds"] == 1
    assert found["known_share"] > 0
    assert found["new_share"] > 0


def test_online(everything: Any) -> None:
    """Each of the three questions has its share, and the ratios are of one run."""
    found = everything["online"]
    for name in ("online", "keys", "badge", "agent", "cold", "cached"):
        check_spread(found[f"{name}_us"])
    assert found["online_us"]["p50"] > max(found[f"{x}_us"]["p50"] for x in ("keys", "agent"))
    ratio = found["online_us"]["p50"] / found["cold_us"]["p50"]
    assert found["online_over_cold"] == pytest.approx(ratio), "one round: of its own medians"
    assert found["samples"] == 5


def test_memory(everything: Any) -> None:
    """Every check and every kill is counted; the memory is that of a process."""
    found = everything["memory"]
    assert found["checks"] == 20_000
    assert found["new_badges"] == 20_000 / 50 + found["kills"]
    assert found["denied"] == found["kills"] > 0
    assert found["readings"] == 20
    assert found["first_bytes"] > 10 * 2**20
    assert isinstance(found["slope_bytes_per_million"], float)


def test_the_slope_is_that_of_a_line() -> None:
    """Least squares: exact on a line, level on what goes up and down alike."""
    assert memory.slope([(x, 7 + 3 * x) for x in range(10)]) == pytest.approx(3)
    assert memory.slope([(0, 5), (1, 9), (2, 5)]) == 0


def test_a_leak_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: what keeps a kilobyte of each check is seen by the same benchmark."""
    kept: list[mmap.mmap] = []
    checks = memory.Load.checks

    def leaking(self: memory.Load, count: int) -> None:
        checks(self, count)
        kept.append(mmap.mmap(-1, 1024 * count))  # no memory that others have left free
        kept[-1].write(b"x" * 1024 * count)

    monkeypatch.setattr(memory.Load, "checks", leaking)
    assert memory.run(memory.QUICK).slope_bytes_per_million > 0.8 * 1024 * 1_000_000
    assert len(kept) == 20
