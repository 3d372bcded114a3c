"""The decision log: one record a decision, beside the calls, bounded, never silent about loss."""

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rescind_guard import Code, Guard, View, decision_log
from rescind_guard.decision_log import DecisionLog
from rescind_guard.errors import LogFailed
from rescind_guard.evidence import MAX_TEXT_CHARS, About, hash_of
from rescind_guard.log_files import Lines, LogFile
from rescind_guard.policy import Ruling
from rescind_protocol import targets
from rescind_protocol.encoding import b64url_encode
from tests.fakes.badges import AGENT, ISSUER, Scene, read_jti
from tests.fakes.decision_log import LogSink, lines
from tests.fakes.fabric import NOW
from tests.fakes.waiting import WITHIN_S, wait_until


@contextmanager
def logging_to(sink: Any, scene: Scene | None = None, **options: Any) -> Iterator[DecisionLog]:
    """Run a log over this sink."""
    log = DecisionLog(sink, clock=scene.clock if scene else None, **options)
    log.start()
    try:
        yield log
    finally:
        log.stop()


class Named:
    """A policy whose version changes while it is asked."""

    version = "rules:1"

    def __call__(self, *_: object) -> Ruling:
        """Allow."""
        return Ruling(decision_id="d-7")


def counted(log: DecisionLog) -> tuple[int, int, int]:
    """Return what was written, what was dropped, what waits."""
    records, waiting = log.metrics()
    return int(records.values["written"]), int(records.values["dropped"]), int(waiting.values[""])


def test_a_record_has_the_evidence_and_the_kill_that_decided() -> None:
    """RFC-006's names, `reason_admin`, and no part of the token."""
    scene, sink = Scene(), LogSink()
    badge = scene.issuer.badge("3", sid="root-1")
    with logging_to(sink, scene, about=About("orders"), policy=Named()) as log:
        guard = scene.guard(recorder=log, policy=Named())
        guard.check(badge, tool="refund", params={"iban": "DE02120300000000202051"})
        name = scene.revocations.kill(
            targets.agent(AGENT), reason_admin="case 4711", reason_user="ask the desk"
        )
        refused = guard.check(badge, tool="refund")
    allowed, denied = sink.records
    assert allowed == {
        "time": allowed["time"],
        "event.name": "capiscio.tool_invocation",
        "capiscio.agent.did": AGENT,
        "capiscio.badge.jti": read_jti(badge),
        "capiscio.auth.level": "badge",
        "capiscio.target": "refund",
        "capiscio.policy_version": "rules:1",
        "capiscio.policy.decision_id": "d-7",
        "capiscio.decision": "ALLOW",
        "capiscio.tool.params_hash": hash_of({"iban": "DE02120300000000202051"}),
        "rescind.code": "OK",
        "rescind.outcome": "allow",
        "rescind.trust_level": "3",
        "rescind.issuer": ISSUER,
        "rescind.session": "root-1",
    }
    assert denied["capiscio.decision"] == "DENY"
    assert denied["rescind.code"] == "BADGE_REVOKED"
    assert denied["rescind.revocation"] == str(name)
    assert denied["rescind.reason_admin"] == "case 4711"
    assert denied["rescind.reason_user"] == "ask the desk"
    assert "4711" not in repr(refused)
    text = msgspec.json.encode(sink.records).decode()
    assert not any(part in text for part in badge.split("."))
    assert "DE02" not in text


@pytest.mark.parametrize("token", ["junk", "a.b.c", "x" * 20_000])
def test_a_token_that_is_refused_is_not_recorded_either(token: str) -> None:
    """Only who is verified has a name in it."""
    scene, sink = Scene(), LogSink()
    with logging_to(sink) as log:
        scene.guard(recorder=log).check(token)
        scene.guard(recorder=log).check(scene.issuer.badge() + "AAAA")
    for found in sink.records:
        assert found["capiscio.agent.did"] == ""
        assert "capiscio.badge.jti" not in found
        assert token not in msgspec.json.encode(found).decode()


def test_what_observing_lets_pass_is_told_apart() -> None:
    """RFC-005 §7.4: `ALLOW_OBSERVE`, with what it would have been."""
    scene, sink = Scene(), LogSink()
    with logging_to(sink) as log:
        guard = scene.guard(recorder=log, enforcement_mode="EM-GUARD", policy=lambda *_: "no")
        assert guard.check(scene.issuer.badge())
    (found,) = sink.records
    assert found["capiscio.decision"] == "ALLOW"
    assert found["capiscio.policy.decision"] == "ALLOW_OBSERVE"
    assert "capiscio.deny_reason" not in found
    assert found["rescind.code"] == "TOOL_POLICY_DENIED"
    assert found["rescind.warnings"] == ["EM-GUARD: would deny: no"]


def valid(found: dict[str, Any]) -> bool:
    """Whether a record has what RFC-006 §7.3 requires, in the words that it knows."""
    required = ("agent.did", "target", "policy_version")
    optional = ("badge.jti", "tool.params_hash", "deny_reason")
    return (
        found["event.name"] == "capiscio.tool_invocation"
        and found["capiscio.decision"] in ("ALLOW", "DENY")
        and found["capiscio.auth.level"] in ("badge", "apikey", "anonymous")
        and all(isinstance(found[f"capiscio.{name}"], str) for name in required)
        and all(isinstance(found.get(f"capiscio.{name}", ""), str) for name in optional)
    )


def test_every_record_fits_the_schema_of_the_reference() -> None:
    """RFC-006 §7.3, whatever the decision; a denial has a code of its §10."""
    scene, sink = Scene(), LogSink()
    unsynced = Guard(View(), scene.issuers, clock=scene.clock)
    cases: list[tuple[dict[str, Any], str | None, str | None]] = [
        ({}, scene.issuer.badge(), None),
        ({}, None, "TOOL_AUTH_MISSING"),
        ({}, "junk", "TOOL_BADGE_INVALID"),
        ({}, scene.issuer.badge(exp=NOW - 100, iat=NOW - 300), "TOOL_BADGE_INVALID"),
        ({}, scene.issuer.badge(iss="https://stranger.example"), "TOOL_ISSUER_UNTRUSTED"),
        ({"policy": lambda *_: "no"}, scene.issuer.badge(), "TOOL_POLICY_DENIED"),
        ({"policy": lambda *_: 1 / 0}, scene.issuer.badge(), "TOOL_POLICY_DENIED"),
        ({"minimum_level": 4}, scene.issuer.badge(), "TOOL_TRUST_INSUFFICIENT"),
        ({"enforcement_mode": "observe"}, None, None),
    ]
    killed = scene.issuer.badge(sub="did:web:acme.example:killed")
    scene.revocations.kill(targets.agent("did:web:acme.example:killed"))
    with logging_to(sink) as log:
        for options, badge, _ in cases:
            scene.guard(recorder=log, **options).check(badge)
        scene.guard(recorder=log).check(killed, tool="refund")
        scene.guard(recorder=log).admits_exempt(None)
        unsynced._recorder = log
        unsynced.check(scene.issuer.badge("3"))
    assert all(map(valid, sink.records))
    said = [found.get("capiscio.deny_reason") for found in sink.records]
    expected = [reason for *_, reason in cases]
    assert said == [*expected, "TOOL_BADGE_REVOKED", None, "TOOL_BADGE_INVALID"]
    levels = [found["capiscio.auth.level"] for found in sink.records]
    assert [at for at, level in enumerate(levels) if level == "anonymous"] == [1, 8, 10]


def test_parameters_are_hashed_as_canonical_json() -> None:
    """RFC 8785 §3.2.3 (the order of keys) and §3.2.2.3 (numbers), as other languages do."""
    canonical = '{"a":1,"é":1e+30,"\U0001f600":[0.1,null],"\ufb33":"x"}'.encode()
    digest = b64url_encode(sha256(canonical).digest())
    params = {"\ufb33": "x", "\U0001f600": [0.1, None], "a": 1.0, "é": 1e30}
    assert hash_of(params) == f"sha256:{digest}"
    assert hash_of({"n": 2**60}) is None


@pytest.mark.parametrize("tool", ["x" * 100_000, "\ud800", 7, b"x", "a\nb\x1b[2J"])
def test_what_a_caller_chooses_is_bounded_and_breaks_no_line(tool: Any, tmp_path: Path) -> None:
    """A record is one line of UTF-8."""
    scene, path = Scene(), tmp_path / "log"
    with logging_to(LogFile(path)) as log:
        scene.guard(recorder=log).check(scene.issuer.badge(), tool=tool)
    (found,) = lines(path)
    assert path.read_bytes().count(b"\n") == 1
    assert len(found["capiscio.target"]) <= MAX_TEXT_CHARS


def test_parameters_are_hashed_whatever_their_order_or_not_at_all() -> None:
    """What has no JSON has no hash; it breaks no call."""
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1}) != hash_of({"a": 1})
    assert re.fullmatch(r"sha256:[\w-]{43}", str(hash_of({})))
    deep: list[Any] = []
    deep.append(deep)
    assert hash_of(deep) is None
    assert hash_of(object()) is None


# --- never blocking, never silent ---


def ask(guard: Guard, badge: str, calls: int) -> bool:
    """Check this often in another thread; return whether it came back."""
    thread = threading.Thread(
        target=lambda: [guard.check(badge, tool="t") for _ in range(calls)], daemon=True
    )
    thread.start()
    thread.join(WITHIN_S)
    return not thread.is_alive()


def calls_go_on(recorder: Any, calls: int) -> bool:
    """Return whether checks go on with this recorder."""
    scene = Scene()
    return ask(scene.guard(recorder=recorder), scene.issuer.badge(), calls)


def test_a_check_never_waits_for_a_full_pipe() -> None:
    """Nobody reads the pipe: the writer stands still, the calls do not, and what is lost counts."""
    reads, writes = os.pipe()
    log = DecisionLog(Lines(writes, "a pipe"), max_waiting=1000)
    log.start()
    try:
        assert calls_go_on(log, 5000)
        written, dropped, waiting = counted(log)
        assert written + dropped + waiting >= 5000
        assert dropped > 0
        assert waiting <= 1000 + decision_log.BATCH
    finally:
        os.close(reads)  # the writer's write fails, and it ends
        log.stop()
        os.close(writes)


def test_it_would_wait_if_calls_wrote_themselves() -> None:
    """Negative control: the same calls with the write on the call path hang."""
    reads, writes = os.pipe()
    sink, scene = Lines(writes, "a pipe"), Scene()
    guard = scene.guard(recorder=lambda *_: sink.write([{"filler": "x" * 4096}]))
    badge = scene.issuer.badge()
    thread = threading.Thread(target=lambda: [guard.check(badge) for _ in range(100)], daemon=True)
    failures: list[Any] = []
    before, threading.excepthook = threading.excepthook, failures.append
    try:
        thread.start()
        wait_until(lambda: not os.get_blocking(writes) or _is_full(writes))
        assert thread.is_alive()
    finally:
        os.close(reads)
        thread.join(WITHIN_S)
        threading.excepthook = before
        os.close(writes)
    assert not thread.is_alive()


def _is_full(fd: int) -> bool:
    import select  # noqa: PLC0415 - this test alone

    return not select.select([], [fd], [], 0)[1]


def test_a_check_never_waits_for_a_full_disk(caplog: pytest.LogCaptureFixture) -> None:
    """`/dev/full` says "no space left": records wait, then drop, and it is said once."""
    with (
        caplog.at_level(logging.WARNING),
        logging_to(LogFile(Path("/dev/full")), max_waiting=100) as log,
    ):
        assert calls_go_on(log, 1000)
        wait_until(lambda: bool(caplog.records))
        written, dropped, waiting = counted(log)
    assert (written, waiting) == (0, 100)
    assert dropped == 900
    said = [record.getMessage() for record in caplog.records]
    assert "No space left on device" in said[0]
    assert said[1:] == ["decision log: stopped with 100 records that were not written"]
    assert counted(log)[1] == 1000


def test_what_a_sink_refuses_is_written_later_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """None twice and none lost; that it works again is said."""
    scene, sink = Scene(), LogSink()
    sink.full = 3
    with caplog.at_level(logging.WARNING), logging_to(sink) as log:
        guard, badge = scene.guard(recorder=log), scene.issuer.badge()
        for number in range(10):
            guard.check(badge, tool=str(number))
        wait_until(lambda: len(sink.records) == 3 and bool(caplog.records))
        sink.full = None
        wait_until(lambda: "written again" in caplog.text)
    assert [found["capiscio.target"] for found in sink.records] == list(map(str, range(10)))
    assert counted(log) == (10, 0, 0)


def test_a_sink_that_breaks_does_not_end_the_writer(caplog: pytest.LogCaptureFixture) -> None:
    """What it choked on is counted as dropped, and the next is written."""
    scene, sink = Scene(), LogSink()
    sink.breaks = KeyError("x")
    with caplog.at_level(logging.WARNING), logging_to(sink) as log:
        guard, badge = scene.guard(recorder=log), scene.issuer.badge()
        guard.check(badge)
        wait_until(lambda: counted(log)[1] == 1)
        sink.breaks = None
        guard.check(badge)
        wait_until(lambda: len(sink.records) == 1)
    assert "KeyError" in caplog.text


def test_after_the_end_records_count_as_dropped() -> None:
    """A guard that outlives its log says so in a metric; started again, it goes on."""
    scene, sink = Scene(), LogSink()
    with logging_to(sink) as log:
        pass
    guard, badge = scene.guard(recorder=log), scene.issuer.badge()
    guard.check(badge)
    assert counted(log) == (0, 1, 0)
    log.start()
    guard.check(badge)
    log.stop()
    assert counted(log) == (1, 1, 0)


# --- files ---


def test_a_file_may_be_rotated_at_any_time(tmp_path: Path) -> None:
    """Renamed away, removed, or cut to nothing: no signal, and no record lost."""
    scene, path = Scene(), tmp_path / "decisions.log"
    with logging_to(LogFile(path)) as log:
        guard, badge = scene.guard(recorder=log), scene.issuer.badge()

        def write(tool: str, where: Path) -> None:
            guard.check(badge, tool=tool)
            wait_until(
                lambda: where.exists() and tool in [r["capiscio.target"] for r in lines(where)]
            )

        write("first", path)
        path.rename(tmp_path / "decisions.log.1")
        write("second", path)
        os.truncate(path, 0)  # logrotate's copytruncate
        write("third", path)
        path.unlink()
        write("fourth", path)
    assert [r["capiscio.target"] for r in lines(tmp_path / "decisions.log.1")] == ["first"]
    assert [r["capiscio.target"] for r in lines(path)] == ["fourth"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_ended_before_the_next(tmp_path: Path, monkeypatch: Any) -> None:
    """A disk that fills in the midst of a line costs that line's bytes, and no record."""
    path, write = tmp_path / "log", os.write
    sink = LogFile(path)
    room = [150]

    def short(fd: int, data: bytes) -> int:
        count = min(len(data), room[0])
        room[0] -= count
        if not count:
            raise OSError(28, "No space left on device")
        return write(fd, data[:count])

    monkeypatch.setattr(os, "write", short)
    records: list[Any] = [{"n": str(number), "filler": "x" * 40} for number in range(5)]
    with pytest.raises(LogFailed, match="No space left") as failed:
        sink.write(records)
    room[0] = 10_000
    sink.write(records[failed.value.written :])
    assert [found["n"] for found in lines(path)] == list("01234")
    assert path.read_bytes().count(b"\n") == 6


@pytest.mark.parametrize("kind", ["folder", "pipe", "nowhere"])
def test_what_cannot_be_a_log_is_refused_at_the_start(tmp_path: Path, kind: str) -> None:
    """With the path in the sentence."""
    path = tmp_path / "log"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = tmp_path / "nowhere" / "log"
    with pytest.raises(LogFailed, match=re.escape(str(path))):
        LogFile(path)


def test_a_child_writes_its_own_and_none_of_its_parents(tmp_path: Path) -> None:
    """After a fork both go on, in one file, each record once."""
    scene, path = Scene(), tmp_path / "log"
    with logging_to(LogFile(path)) as log:
        guard, badge = scene.guard(recorder=log), scene.issuer.badge()
        guard.check(badge, tool="parent")
        child = os.fork()
        if child == 0:
            try:
                guard.check(badge, tool="child")
                log.stop()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert sorted(r["capiscio.target"] for r in lines(path)) == ["child", "parent"]


def test_open_telemetry_gets_each_record_as_attributes() -> None:
    """By the SDK's own provider; without one it is refused, for the API drops all, silently."""
    from opentelemetry import _logs  # noqa: PLC0415 - an extra
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415
    from opentelemetry.sdk._logs.export import (  # noqa: PLC0415
        InMemoryLogRecordExporter,
        SimpleLogRecordProcessor,
    )

    from rescind_guard.log_otel import OpenTelemetry  # noqa: PLC0415

    with pytest.raises(LogFailed, match="no OpenTelemetry logger provider is set up"):
        OpenTelemetry()
    provider = LoggerProvider()
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # has no types
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    _logs.set_logger_provider(provider)
    scene = Scene()
    with logging_to(OpenTelemetry(), scene) as log:
        guard = scene.guard(recorder=log)
        guard.check(scene.issuer.badge(), tool="refund")
        guard.check(None)
    allowed, denied = (each.log_record for each in exporter.get_finished_logs())
    assert allowed.event_name == "capiscio.tool_invocation"
    assert allowed.timestamp == NOW * 1_000_000_000
    assert dict(allowed.attributes or {})["capiscio.target"] == "refund"
    assert denied.severity_number is _logs.SeverityNumber.WARN
    assert dict(denied.attributes or {})["rescind.code"] == Code.TOOL_AUTH_MISSING


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the folder does not choose which file of ours grows."""
    other = tmp_path / "precious"
    other.write_text("as it was")
    (tmp_path / "decisions.jsonl").symlink_to(other)
    with pytest.raises(LogFailed, match="is a symbolic link: name the file itself"):
        LogFile(tmp_path / "decisions.jsonl")
    assert other.read_text() == "as it was"
