"""Who is connected by a Unix socket, as the system says: nobody can choose that."""

import os
import pwd
import socket
import struct
from typing import Any

_UCRED = struct.Struct("=iII")
"""pid, uid, gid of who is connected (unix(7), SO_PEERCRED)."""


def peer(connection: Any) -> str | None:
    """Return user@host of who is connected by a Unix socket, as the system says; None: unknown."""
    option = getattr(socket, "SO_PEERCRED", None)  # of Linux
    if connection is None or option is None:
        return None
    try:
        pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    except OSError:
        return None
    return f"{user(uid)}@{socket.gethostname()} (pid {pid})"


def user(uid: int | None = None) -> str:
    """Return a user's name by its number, ours if none is given; the number where it has none."""
    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
