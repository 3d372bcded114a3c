"""What is wrong with an event that was joined, or could not be: which fault, and in which words."""

from collections.abc import Iterator

from rescind_protocol.events import Event
from rescind_protocol.outcomes import Outcome
from rescind_subscriber.faults import Fault


def of(event: Event, outcome: Outcome) -> Iterator[tuple[Fault, str]]:
    """Yield each fault with its sentence."""
    publisher = f"publisher {event.publisher}"
    if outcome is Outcome.FORK:
        yield Fault.FORK, f"log {event.log} has two histories: its key may be stolen"
    if outcome is Outcome.OVER_QUOTA:
        yield Fault.OVER_QUOTA, f"{publisher} is over its quota: not applied"
    if outcome is Outcome.VOID:
        yield Fault.BEYOND_CUT, f"{publisher} is retired, and has said more"
    if event.void:
        yield Fault.VOID, f"{publisher} said what it has no right to: ignored"
