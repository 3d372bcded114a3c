"""Processes of `multiprocessing` that answer on standard output what is asked on standard input.

Run as a program with one argument, `fork` or `spawn`.
"""

import json
import multiprocessing as mp
import sys
from multiprocessing.connection import Connection
from typing import Any

import rescind
from tests.fakes.served import told

sidecar: rescind.Sidecar | None = None


def following() -> rescind.Sidecar:
    """Return this process's sidecar: started once, and found again in a child of a fork."""
    global sidecar  # noqa: PLW0603 - as a service has it
    if sidecar is None:
        sidecar = rescind.Sidecar().start()
    return sidecar


def serve(asked: Connection) -> None:
    """Answer until the other end is closed."""
    while True:
        try:
            badge: str | None = asked.recv()
        except EOFError:
            return
        asked.send(told(following(), badge))


def main(method: str) -> None:
    """Begin two children, and put each question to both."""
    if method == "fork":  # by `spawn` a child finds nothing of its parent's
        following()
    context: Any = mp.get_context(method)
    ends = []
    for _ in range(2):
        mine, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs,), daemon=True).start()
        theirs.close()
        ends.append(mine)
    for line in sys.stdin:
        for end in ends:
            end.send(line.strip() or None)
        sys.stdout.write(json.dumps([end.recv() for end in ends]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
