"""Unsigned lists of other registries: fetched beside the calls, kept apart, read by guards only."""
