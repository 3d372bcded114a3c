"""The words of the fabric as types, their formats and their join; no I/O, no clock."""
