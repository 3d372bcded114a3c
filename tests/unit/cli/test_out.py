"""What is written: colour, JSON, and text that comes from elsewhere."""

import json
import sys

import pytest

from rescind.cli.out import Out, clean, colours, lasting, utc

RED = "\x1b[31m"


class Terminal:
    """Standard output that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep what is written."""
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard output a terminal that knows colours; not a fixture, for pytest sets it too."""
    fake = Terminal()
    monkeypatch.setattr(sys, "stdout", fake)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return fake


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word given with a colour is painted."""
    fake = terminal(monkeypatch)
    Out(as_json=False).say(("killed", "red"), " agent")
    assert fake.text == f"{RED}killed\x1b[0m agent\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """NO_COLOR and a dumb terminal are respected, in lines and in tables."""
    fake = terminal(monkeypatch)
    monkeypatch.setenv(name, value)
    out = Out(as_json=False)
    out.say(("killed", "red"))
    out.table(["a"], [[("b", "red")]])
    assert RED not in fake.text


def test_an_empty_no_color_means_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the convention only a value that is not empty switches colour off."""
    terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "")
    assert colours(sys.stdout)


def test_a_pipe_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal there is no escape sequence, and a table is columns of text."""
    out = Out(as_json=False)
    out.say(("killed", "red"), " agent")
    out.table(["step", "outcome"], [["parse", ("OK", "green")], ["a longer one", ""]])
    text = capsys.readouterr().out
    assert text == "killed agent\nstep          outcome\nparse         OK\na longer one\n"


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\u202ereversed", "\x00"]
)
def test_control_characters_from_elsewhere_reach_no_terminal(
    monkeypatch: pytest.MonkeyPatch, evil: str
) -> None:
    """A reason could otherwise repaint the screen of whoever looks at it."""
    fake = terminal(monkeypatch)
    out = Out(as_json=False)
    out.say("reason ", evil)
    out.fields(("reason", evil))
    out.table(["reason"], [[evil]])
    assert evil not in fake.text
    assert clean(evil) in fake.text


def test_markup_from_elsewhere_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that draws tables has a markup of its own; a reason is none."""
    fake = terminal(monkeypatch)
    Out(as_json=False).table(["reason"], [["[red]x[/red]"]])
    assert "[red]x[/red]" in fake.text


def test_json_is_one_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json people's lines are left out."""
    out = Out(as_json=True)
    out.say("for people")
    out.fields(("for", "people"))
    out.table(["for"], [["people"]])
    out.note("for people")
    out.document({"reason": "\x1b[2J\n"})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"reason": "\x1b[2J\n"}
    assert captured.out.count("\n") == 1
    assert "\x1b" not in captured.out
    assert captured.err == ""


def test_times_and_durations_are_written_for_people() -> None:
    """Times with their zone, durations in a unit of their size."""
    assert utc(0) == "1970-01-01 00:00:00 UTC"
    assert utc(2**40) == "9999-12-31 23:59:59 UTC"  # the farthest expiry of a kill
    assert [lasting(s) for s in (0.04, 59, 119, 600, 7200, 200_000)] == [
        "0.0 s",
        "59 s",
        "119 s",
        "10 m",
        "2 h",
        "2 d",
    ]
