"""Become another program, bound to the life of the parent: `exec_bound.py PARENT_PID PROGRAM ...`.

Run as a script by path, with `python -I -S`, so that it starts in some 15 ms and imports nothing
of the project. It replaces itself by the program: nothing of it stays.

Linux only: `prctl(PR_SET_PDEATHSIG)` is kept across `execve` (prctl(2)), and doing it here rather
than in `preexec_fn` runs no Python between the fork and the exec of a threaded parent.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PARENT_IS_GONE = 3


def main() -> None:
    """Ask for SIGKILL at the parent's death, then exec."""
    parent = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the line above: no signal will come
        sys.exit(_PARENT_IS_GONE)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - a path found by us, no shell


if __name__ == "__main__":
    main()
