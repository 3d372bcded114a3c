"""Tests without network or processes."""
