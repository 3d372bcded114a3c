"""Keeps a policy up to date while it decides: from a folder, or from a signed bundle."""
