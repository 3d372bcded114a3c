"""Files that only their owner may read."""

from pathlib import Path


def write_secret(path: Path, content: bytes) -> Path:
    """Write a private key as its owner would keep it (0600), and return where."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
