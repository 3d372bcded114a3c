"""Run a benchmark: `python -m benchmarks --help` lists them."""

import sys

from benchmarks.command import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
