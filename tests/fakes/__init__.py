"""Builders and fakes that tests of every role share."""
