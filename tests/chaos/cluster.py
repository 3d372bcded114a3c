"""A NATS cluster of three real servers, whose routes pass through proxies of our own.

Each server reaches each other one by a way of that pair, so that one of them can be cut off from
the others while its clients stay connected. Nothing is advertised: nobody finds a way around.
"""

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from rescind.embedded import EmbeddedServer
from rescind.embedded.redis import free_port
from rescind.embedded.server import new_passwords
from rescind_protocol.subjects import stream
from tests.fakes import nats as on_nats
from tests.faults.proxy import Network, Proxy

NODES = ("n1", "n2", "n3")
ANCHOR = "system_account: SYS"
"""Before this line of the shipped configuration, the cluster's is put in."""


class Cluster:
    """Three servers; the publishers' account has a user `admin` who may do all."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.servers: dict[str, EmbeddedServer] = {}
        self._network, self._folder = network, folder
        self._ports = {name: free_port() for name in NODES}
        self._routes: dict[tuple[str, str], Proxy] = {}
        self._passwords = {**new_passwords(), "admin": "padmin"}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            for name in NODES:
                folder = self._folder / name
                folder.mkdir()
                server = on_nats.admin_server(folder, (ANCHOR, self._conf(name) + ANCHOR))
                server._passwords.update(self._passwords)
                self.servers[name] = self._cleanup.enter_context(server)
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _conf(self, name: str) -> str:
        others = [other for other in NODES if other != name]
        for other in others:
            self._routes[name, other] = self._network.way(self._ports[other])
        routes = ", ".join(f'"nats://127.0.0.1:{self._routes[name, o].port}"' for o in others)
        return (
            f"server_name: {name}\n"
            f"cluster {{ name: c, listen: 127.0.0.1:{self._ports[name]}, no_advertise: true, "
            f"routes: [ {routes} ] }}\n"
        )

    def url_for(self, user: str) -> str:
        """Return all addresses, for a client to choose from."""
        return ",".join(server.url_for(user) for server in self.servers.values())

    def leader(self, fabric: str) -> str:
        """Return the name of the stream's leader, or nothing while there is none."""
        return asyncio.run(self._leader(fabric))

    async def _leader(self, fabric: str) -> str:
        for server in self.servers.values():
            if not server.running:
                continue
            with contextlib.suppress(Exception):  # it may have no quorum
                async with on_nats.linked(server, "admin") as watched:
                    info = await on_nats.api(watched.link, f"STREAM.INFO.{stream(fabric)}")
                    if leader := info.get("cluster", {}).get("leader"):
                        return str(leader)
        return ""

    def cut_off(self, name: str) -> None:
        """Cut one server off from the others."""
        for pair, way in self._routes.items():
            if name in pair:
                way.cut()

    def mend(self) -> None:
        """Let all reach each other."""
        for way in self._routes.values():
            way.mend()
