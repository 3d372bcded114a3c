"""What the demo draws, as text."""

import io

from rich.text import Text

from rescind.demo import timeline
from rescind.demo.evidence import Outage, Work
from rescind.demo.report import Claim
from rescind.demo.screen import Screen, flow
from rescind.demo.timeline import Row
from tests.fakes.demo import badge_kill, outage, work


def plain(lines: list[str]) -> list[str]:
    """Return lines of markup as they are read."""
    return [Text.from_markup(line).plain for line in lines]


def test_timeline_is_in_order_and_to_scale() -> None:
    """The earliest row comes first; the last moment of all stands at the right edge."""
    rows = [Row("later", (10.0,)), Row("spread", (2.0, 5.0)), Row("soon", (0.0,))]
    lines = plain(timeline.draw(rows, 60))
    assert [line.split()[0] for line in lines] == ["soon", "spread", "later"]
    assert max(len(line) for line in lines) == len(lines[2]) == 60
    assert lines[1].index("█") - lines[0].index("●") == round(2 / 10 * (len(lines[2]) - 30))


def test_timeline_says_never() -> None:
    """What did not happen is said, not left out."""
    assert plain(timeline.draw([Row("acked", ())], 60)) == ["acked" + " " * 13 + "    never"]


def test_flow_wraps_between_claims() -> None:
    """Claims stand side by side where they fit, and never break."""
    assert flow(["one", "two", "three"], 12) == ["one   two", "three"]


def test_plain_output_has_no_escapes() -> None:
    """What is not a terminal gets lines without colour, a failing claim with what was seen."""
    out = io.StringIO()
    screen = Screen(out)
    screen.open()
    screen.progress("agent", 1, 1)
    screen.begin(Work)
    screen.end(work(), [Claim("it works", held=True)])
    screen.end(badge_kill(), [Claim("[it] is dead", held=False, instead="[not] by x")])
    screen.begin(Outage)
    screen.end(outage(), [])
    screen.skip("no [server] here")
    screen.verdict([Claim("[it] is dead", held=False, instead="[not] by x")])
    said = out.getvalue()
    assert "\x1b" not in said
    assert "✓ it works" in said
    assert said.count("✗ [it] is dead ([not] by x)") == 2
    assert "1 of 1 claims did not hold" in said
    assert "acked by NATS        2.0 ms" in said
    assert "acked by Redis       3.0 ms" in said
    assert "until then 2 calls passed" in said
    assert "both brokers up     10.0 ms" in said
    assert "NATS killed         10.0 ms" in said
    assert "skipped: no [server] here" in said
