"""Asks the workers of `tests.fakes.served.tasks`: a question a line, answers as a list of JSON."""

import json
import sys

from tests.fakes.served.tasks import tell

ASKED_AT_ONCE = 4
"""More than there are workers, so that each gets one sooner or later."""
WITHIN_S = 60.0

if __name__ == "__main__":
    for line in sys.stdin:
        asked = [tell.delay(line.strip() or None) for _ in range(ASKED_AT_ONCE)]
        answers = [each.get(timeout=WITHIN_S, interval=0.05) for each in asked]
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()
