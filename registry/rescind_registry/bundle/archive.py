"""A deterministic tar.gz: the same files give the same bytes at every node."""

import gzip
import io
import tarfile
from collections.abc import Mapping

LEVEL = 1
"""Random ids hardly compress: higher levels take longer, and save a tenth."""


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return the archive of these files, by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(members):
            info = tarfile.TarInfo(name)  # mtime, owner: nobody's, at the beginning of time
            info.size, info.mode = len(members[name]), 0o644
            tar.addfile(info, io.BytesIO(members[name]))
    return gzip.compress(out.getvalue(), LEVEL, mtime=0)
