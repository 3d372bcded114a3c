"""Run chaos: `python -m tests.chaos --tier sim|real --seed N --minutes M`."""

import sys

from tests.chaos.command import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
