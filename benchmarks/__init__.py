"""What produced the figures in the documents: `python -m benchmarks --help`."""
