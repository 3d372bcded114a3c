"""Unit tests of the subscriber."""
