"""Tests of the words, the formats and the join."""
