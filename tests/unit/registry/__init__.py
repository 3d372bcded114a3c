"""Tests of the registry, no network."""
