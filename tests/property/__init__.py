"""Tests over generated histories."""
