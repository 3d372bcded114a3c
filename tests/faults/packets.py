"""What a kernel does to packets: nft rules in a network namespace of our own. Root only, opt-in.

A proxy ends connections properly, or lets them hang; here packets vanish one by one, and TCP has to
cope. `RESCIND_CHAOS_NETNS=1` asks for it: the chaos command then starts again in a namespace with
nothing but a loopback, so that no rule ever touches the host's own network.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Self

OPT_IN = "RESCIND_CHAOS_NETNS"
_LEFT = "RESCIND_CHAOS_NETNS_LEFT"
"""Names the namespace that was left, for the rules must not be made in it."""
TABLE = "rescind_chaos"
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
"""SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP: netdevice(7)."""
_IFREQ = "16sh14x"


def opted_in() -> bool:
    """Whether somebody has asked for it."""
    return os.environ.get(OPT_IN) == "1"


def _here() -> str:
    return str(Path("/proc/self/ns/net").readlink())


def private() -> bool:
    """Whether this process is in another network namespace than the one it was started in."""
    return os.environ.get(_LEFT, _here()) != _here()


def start_again(arguments: Sequence[str]) -> NoReturn:
    """Run this interpreter with these arguments in a network namespace of its own."""
    os.environ[_LEFT] = _here()
    os.execvp("unshare", ["unshare", "--net", sys.executable, *arguments])  # noqa: S606, S607 - no shell


def raise_loopback() -> None:
    """Switch the loopback on: in a new namespace it is off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack(_IFREQ, b"lo", 0))
        flags = struct.unpack(_IFREQ, asked)[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack(_IFREQ, b"lo", flags | _UP))


class Packets:
    """Rules on packets from and to ports of this namespace; all are gone when it is left."""

    def __enter__(self) -> Self:
        if not private():
            raise RuntimeError("this is the host's own network: nothing is dropped here")
        raise_loopback()
        chain = "{ type filter hook input priority 0; }"
        _nft(f"add table inet {TABLE}", f"add chain inet {TABLE} packets {chain}")
        return self

    def __exit__(self, *_: object) -> None:
        _nft(f"delete table inet {TABLE}")

    def drop(self, ports: Sequence[int], *, percent: int = 100) -> None:
        """Let packets to and from these ports vanish, all or a random part of them."""
        _nft(*rules(ports, "drop" if percent == 100 else f"numgen random mod 100 < {percent} drop"))

    def refuse(self, ports: Sequence[int]) -> None:
        """Answer packets to and from these ports with a reset."""
        _nft(*rules(ports, "reject with tcp reset"))

    def mend(self) -> None:
        """Let everything pass again."""
        _nft(f"flush chain inet {TABLE} packets")


def rules(ports: Sequence[int], verdict: str) -> list[str]:
    """Return the commands that give packets of these ports a verdict, whichever way they go."""
    some = "{ " + ", ".join(map(str, ports)) + " }"
    start = f"add rule inet {TABLE} packets tcp"
    return [f"{start} {side} {some} {verdict}" for side in ("dport", "sport")]


def _nft(*commands: str) -> None:
    script = "".join(f"{each}\n" for each in commands)
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)  # noqa: S607 - as root, by choice
