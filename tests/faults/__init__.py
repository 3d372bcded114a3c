"""Faults on demand: networks, processes, brokers, disks and clocks that misbehave."""
