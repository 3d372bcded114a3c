"""The metrics by Prometheus' own parser, and the one that counts down, through every state."""

from math import inf

from prometheus_client.parser import text_string_to_metric_families as parsed

from rescind_guard import metrics as of_guard
from rescind_guard.decision_log import DecisionLog
from rescind_guard.exposition import Family, Metric, render
from rescind_protocol.events import VERSION
from rescind_publisher import metrics as of_publisher
from rescind_publisher.fleet import Fleet, Member
from rescind_publisher.status import SinkStatus
from rescind_publisher.status import Status as PublisherStatus
from rescind_subscriber import metrics as of_subscriber
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.faults import Fault
from rescind_subscriber.states import State
from rescind_subscriber.status import Status, status_of
from tests.fakes.badges import Scene
from tests.fakes.decision_log import LogSink
from tests.fakes.fabric import event_claims, sign_claims
from tests.fakes.step import Step

A = "https://a.example"
SINKS = (
    SinkStatus(name="nats", ready=True, pending=0, problem=None, snapshots=2),
    SinkStatus(name="redis", ready=True, pending=7, problem="it is away"),
)
MEMBERS = tuple(
    Member(
        name=name,
        host="h",
        pid=1,
        version="1",
        state="LIVE",
        unreachable=name == "eu-2",
        away=int(name == "eu-2"),
        lag=0,
        age_s=0.5,
        up_s=1.0,
        last_seen=0.0,
    )
    for name in ("eu-1", "eu-2", "eu-3")
)
PUBLISHER = PublisherStatus(
    fabric="test",
    publisher="soc",
    kid="k",
    pid=1,
    log="l",
    live=3,
    logs=2,
    horizon=0,
    clock_jumped=True,
    sinks=SINKS,
    counters={of_publisher.ACCEPTED: 5},
)


def read(families: list[Family]) -> dict[str, dict[str, float]]:
    """Return a scrape by metric name and label's value, as Prometheus reads it."""
    found: dict[str, dict[str, float]] = {}
    for family in parsed(render(families)):
        for sample in family.samples:
            label = next(iter(sample.labels.values()), "")
            found.setdefault(sample.name, {})[label] = sample.value
    return found


def status(step: Step, **more: object) -> Status:
    """Return the status over a step's view."""
    given: dict[str, object] = {"follower": None, "crash": "", "faults": {}}
    given |= {"ever_fresh": step.at.ever_fresh} | more
    config = SubscriberConfig()
    return status_of(step.view, clock=step.clock, config=config, **given)  # type: ignore[arg-type]


def test_every_metric_is_read_by_prometheus() -> None:
    """Each name once in its table, of the right kind; what it says is what it was given."""
    guard, step = Scene().guard(), Step()
    guard.check(None)
    step.say()
    step.head()
    scrape = [
        *guard.metrics(),
        *DecisionLog(LogSink()).metrics(),
        *of_subscriber.families(status(step)),
        *of_subscriber.key_families({A: 7.0}, {"fetched": 1}, {"issuer": 2, "agent": 0}),
        *of_subscriber.list_families({A: 9.0}, {A: True}, {A: 3}, {"changed": 1}),
        *of_publisher.families(PUBLISHER, Fleet(0.0, MEMBERS, 0, None)),
    ]
    tables = (*of_guard.METRICS, *of_subscriber.METRICS, *of_publisher.METRICS)
    assert sorted(f.metric.name for f in scrape) == sorted({each.name for each in tables})
    kinds = {f.name.removesuffix("_total"): f.type for f in parsed(render(scrape))}
    assert kinds == {each.name.removesuffix("_total"): each.kind for each in tables}
    found = read(scrape)
    assert found["rescind_guard_decisions_total"] == {"TOOL_AUTH_MISSING": 1}
    assert found["rescind_guard_revocation_checked"] == {"": 1}
    assert found["rescind_guard_policy_ready"] == {"": 1}
    assert found["rescind_guard_log_records_total"] == {"written": 0, "dropped": 0}
    assert found["rescind_subscriber_targets"] == {"": 1}
    assert found["rescind_subscriber_keys_age_seconds"] == {A: 7}
    assert found["rescind_subscriber_keys_in_trouble"] == {"issuer": 2, "agent": 0}
    assert found["rescind_subscriber_key_fetches_total"] == {"fetched": 1, "failed": 0}
    assert found["rescind_subscriber_unsigned_list_age_seconds"] == {A: 9}
    assert found["rescind_subscriber_unsigned_list_up"] == {A: 1}
    assert found["rescind_subscriber_unsigned_list_entries"] == {A: 3}
    assert found["rescind_subscriber_faults_total"] == dict.fromkeys(map(str, Fault), 0)
    assert found["rescind_publisher_events_accepted_total"] == {"": 5}
    assert found["rescind_publisher_sink_ready"] == {"nats": 1, "redis": 0}
    assert found["rescind_publisher_pending_events"] == {"nats": 0, "redis": 7}
    assert found["rescind_publisher_subscribers"] == {"reachable": 2, "unreachable": 1}
    assert found["rescind_publisher_clock_jumped"] == {"": 1}


def test_a_guard_that_looks_for_no_kill_says_so() -> None:
    """`revocation="skip"` is an alarm, not a detail."""
    guard = Scene().guard(revocation="skip")
    assert read(guard.metrics())["rescind_guard_revocation_checked"] == {"": 0}


def test_what_a_label_says_cannot_break_the_text() -> None:
    """Quotes, backslashes and line feeds come back as they were."""
    hostile = 'a"b\\c\nd{}=,#'
    metric = Metric("rescind_test_total", "Says\n\\ this.", "source")
    assert read([Family(metric, {hostile: 1, "inf": inf, "-inf": -inf})]) == {
        "rescind_test_total": {hostile: 1, "inf": inf, "-inf": -inf}
    }


def test_seconds_until_stale_is_right_in_every_state() -> None:
    """0 before the first proof; down to 0 as time goes by, by either clock; up with each head."""
    step = Step()

    def now() -> tuple[State, float, float]:
        found = read(of_subscriber.families(status(step)))
        left = found["rescind_subscriber_seconds_until_stale"][""]
        age = found["rescind_subscriber_proof_age_seconds"][""]
        (state,) = (s for s, on in found["rescind_subscriber_state"].items() if on)
        return State(state), left, age

    assert now() == (State.SYNCING, 0, inf)
    step.say()
    assert now() == (State.SYNCING, 0, inf)  # one event proves nothing (I4)
    step.head()
    assert now() == (State.LIVE, 300, 0)
    step.clock.pass_s(4)
    assert now() == (State.LAGGING, 296, 4)
    step.clock.boot_s += 95  # suspended: the wall clock woke up in the past
    assert now() == (State.LAGGING, 201, 99)
    step.clock.wall_s -= 3600  # set back: nothing is younger for it
    assert now() == (State.LAGGING, 201, 99)
    step.clock.wall_s += 3600 + 295
    assert now() == (State.LAGGING, 1, 299)
    step.clock.pass_s(1)
    assert now() == (State.STALE, 0, 300)
    step.clock.pass_s(1e6)
    assert now()[:2] == (State.STALE, 0)
    step.head()
    assert now()[:2] == (State.LIVE, 300)
    step.at.event(sign_claims(event_claims(step.log, []) | {"ver": VERSION + 1}))
    assert now() == (State.STALE, 0, inf)  # withdrawn (I10)
