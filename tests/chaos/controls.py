"""Every scenario with real servers, once without each protection that it needs: all must show.

`python -m tests.chaos.controls`; exit code 1 names those that did not.
"""

import sys

from tests.chaos.real_tier import SHOWS, Played, load, play
from tests.faults import packets

SEED = 1
ATTEMPTS = 6
"""Most show it at once. What depends on a race may need another go: that a kill is under way just
when a cluster's leader dies shows in two of three."""


def shown(name: str, protection: str) -> bool:
    """Whether a scenario shows that a protection is out."""
    played: Played | None = None
    for attempt in range(ATTEMPTS):
        played = play(name, SEED + attempt, protection)
        if played is None or played.shown:
            return True  # not suited to this machine, or found
    return False


def main() -> int:
    """Play all of them, a line each."""
    if packets.opted_in() and not packets.private():
        packets.start_again(["-m", "tests.chaos.controls"])
    missed = 0
    pairs = [(name, each) for name in sorted(load()) for each in SHOWS[name]]
    for number, (name, protection) in enumerate(pairs, 1):
        found = shown(name, protection)
        missed += not found
        says = f"{SHOWS[name][protection]} > 0" if found else "NOT FOUND"
        sys.stdout.write(f"{number}/{len(pairs)} {name}, without {protection}: {says}\n")
        sys.stdout.flush()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
