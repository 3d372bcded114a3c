"""Schedules of faults, random and chosen, against a simulated fabric and against real servers."""
