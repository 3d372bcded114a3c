"""What a person sees: progress while it starts, seven acts, a timeline of the kill, the verdict."""

import time
from collections.abc import Sequence
from statistics import median
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from rescind.demo import timeline
from rescind.demo.evidence import (
    AgentKill,
    Alone,
    BadgeKill,
    Outage,
    Reinstatement,
    Restart,
    Work,
)
from rescind.demo.report import Act, Claim
from rescind.demo.stage import AGENT, Shape
from rescind.demo.timeline import Row

PLAIN_WIDTH = 80
WIDEST = 110
ROOMY_LINES = 32
"""A terminal of so many lines has room for empty ones between the acts."""
_INDENT = "   "
TITLES: dict[type[Act], tuple[str, str]] = {
    Work: ("An agent works", f"{AGENT}, a real MCP client"),
    BadgeKill: ("Kill its badge while it works", "ms since kill() was called"),
    Restart: ("Start the stopped subscriber again", "it was away when the kill was said"),
    AgentKill: ("Kill the agent itself", "a badge's kill stops one badge"),
    Reinstatement: ("Reinstate the agent", "what was issued before stays dead"),
    Outage: ("Kill the nats-server, then a badge", "SIGKILL; Redis carries the kill"),
    Alone: ("Restart a subscriber with no broker left", "SIGKILL; its disk is all it has"),
}


class Screen:
    """Writes to a terminal in colour, to anything else in plain lines."""

    def __init__(self, out: TextIO, *, colour: bool = True) -> None:
        self._console = Console(
            file=out, highlight=False, color_system="auto" if colour else None, soft_wrap=True
        )
        is_terminal = self._console.is_terminal
        self._width = min(self._console.width, WIDEST) if is_terminal else PLAIN_WIDTH
        self._roomy = not is_terminal or self._console.height >= ROOMY_LINES
        self._parts: dict[str, str] = {}
        self._status: Status | None = None
        self._acts = 0
        self._began = time.monotonic()

    def open(self) -> None:
        """Show that it starts."""
        self._show_status("starting")

    def progress(self, part: str, done: int, of: int) -> None:
        """Show how far a part of the world is."""
        self._parts[part] = f"{part} {done}/{of}" if of > 1 else part
        if done:
            self._show_status(", ".join(self._parts.values()))

    def up(self, shape: Shape, brokers: Sequence[str]) -> None:
        """Say what is up."""
        self._hide_status()
        took = time.monotonic() - self._began
        self._line(
            f"[bold]Up in {took:.1f} s:[/] {', '.join(brokers)}, publisher, {shape.servers} "
            f"MCP servers, {shape.subscribers} subscribers, agent"
        )
        self._began = time.monotonic()

    def begin(self, kind: type[Act]) -> None:
        """Announce an act, and show that it runs."""
        self._acts += 1
        title, remark = TITLES[kind]
        if self._roomy:
            self._line("")
        self._line(f"[bold cyan]{self._acts}  {title}[/]  [dim]{remark}[/]")
        self._show_status("…")

    def end(self, seen: Act, made: Sequence[Claim]) -> None:
        """Show what was seen in an act and which of its claims held."""
        self._hide_status()
        if isinstance(seen, BadgeKill):
            self._draw(seen)
        if isinstance(seen, Outage):
            self._compare(seen)
        for line in flow([_sentence(each) for each in made], self._width - len(_INDENT)):
            self._line(_INDENT + line)
        if isinstance(seen, Work):
            self._line(
                f"{_INDENT}[yellow]{seen.stopped} is stopped here (SIGKILL): "
                "it will miss the kill[/]"
            )

    def skip(self, why: str) -> None:
        """Say that an act is left out, and why."""
        self._hide_status()
        self._line(f"{_INDENT}[yellow]skipped: {escape(why)}[/]")

    def verdict(self, made: Sequence[Claim]) -> None:
        """Say whether every claim held."""
        took = time.monotonic() - self._began
        failed = [each for each in made if not each.held]
        if self._roomy:
            self._line("")
        if not failed:
            self._line(f"[bold green]All {len(made)} claims held[/], in {took:.1f} s.")
            return
        self._line(f"[bold red]{len(failed)} of {len(made)} claims did not hold:[/]")
        for each in failed:
            self._line(_INDENT + _sentence(each))

    def stop(self, sentence: str) -> None:
        """Say why there is no verdict."""
        self._hide_status()
        self._line(f"[bold red]The demo stopped:[/] {escape(sentence)}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._hide_status()

    def _draw(self, seen: BadgeKill) -> None:
        """Draw the timeline of the kill."""
        change, first = seen.change, seen.first_denied_at
        applied = change.applied_ms
        rows = [
            Row("accepted: fsynced", (change.accepted_ms,)),
            *(Row(f"acked by {name}", _known(ms)) for name, ms in change.acked.items()),
            Row("durable: re-read", _known(change.durable_ms)),
            Row(f"applied by {len(applied)}", tuple(applied), "bold magenta"),
            Row("first call denied", _known(None if first is None else change.ms(first)), "red"),
        ]
        for line in timeline.draw(rows, self._width - len(_INDENT) - 1):
            self._line(_INDENT + line)
        if applied:
            self._line(
                f"{_INDENT}[dim]applied first {applied[0]:.1f}, median {median(applied):.1f}, last "
                f"{applied[-1]:.1f} ms; until then {seen.allowed_between} calls passed[/]"
            )

    def _compare(self, seen: Outage) -> None:
        """Draw the kill without NATS beside the one with both."""
        rows = [
            Row("both brokers up", tuple(seen.before.applied_ms)),
            Row("NATS killed", tuple(seen.kill.change.applied_ms), "bold magenta"),
        ]
        for line in timeline.draw(rows, self._width - len(_INDENT) - 1):
            self._line(_INDENT + line)

    # --- lines ---

    def _line(self, markup: str) -> None:
        self._console.print(markup)

    def _show_status(self, words: str) -> None:
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        self._status.update(f"[dim]{words}[/]")

    def _hide_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def flow(sentences: Sequence[str], width: int) -> list[str]:
    """Put sentences of markup side by side where they fit."""
    lines: list[str] = []
    for sentence in sentences:
        joined = f"{lines[-1]}   {sentence}" if lines else sentence
        if lines and Text.from_markup(joined).cell_len <= width:
            lines[-1] = joined
        else:
            lines.append(sentence)
    return lines


def _sentence(claim: Claim) -> str:
    if claim.held:
        return f"[green]✓[/] {escape(claim.said)}"
    return f"[bold red]✗ {escape(claim.said)}[/] [red]({escape(claim.instead)})[/]"


def _known(ms: float | None) -> tuple[float, ...]:
    return () if ms is None else (ms,)
