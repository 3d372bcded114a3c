"""`Carrier`: the feeds of one node, together: what follows the log, and who is served from it.

Made before the subscriber starts, so that nothing it joins is missed; the feeds themselves live in
the application's lifespan, on the server's loop.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.types import ControllerRouterHandler

from rescind_registry.auth import check_token
from rescind_registry.bundle.bundles import Bundles
from rescind_registry.bundle.routes import routes as bundle_routes
from rescind_registry.bundle.signed import Author
from rescind_registry.bundle.signing import BundleSigner
from rescind_registry.config import RegistryConfig
from rescind_registry.errors import BadRegistryConfig
from rescind_registry.feeds import report_route
from rescind_registry.feeds.applied import Reports
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.sse import EventStream
from rescind_registry.feeds.store import EventStore
from rescind_registry.lanes import TOKENS
from rescind_registry.node import Node
from rescind_registry.tokens import Scope
from rescind_subscriber.subscriber import Subscriber

if TYPE_CHECKING:
    from rescind_registry.feeds.grpc import WatchService

DATABASE = "events.sqlite3"


class Carrier:
    """The feeds of one node."""

    def __init__(
        self,
        config: RegistryConfig,
        fabric: str,
        subscriber: Subscriber,
        *,
        signer: BundleSigner | None = None,
        author: Author | None = None,
    ) -> None:
        """`signer` signs bundles for OPAs; `author` is in whose name the state is signed."""
        self.hub = Hub(EventStore(config.folder / DATABASE, fabric))
        self.events = EventStream(self.hub)
        self.bundles = Bundles(fabric, self.hub, subscriber, signer=signer, author=author)
        self.reports = Reports(subscriber.hand_on_report)
        self.grpc_port: int | None = None
        self._config, self._fabric = config, fabric
        self._node: Node | None = None
        subscriber.relay = self.hub

    def routes(self) -> list[ControllerRouterHandler]:
        """Return the routes for `app.build`."""
        return [
            *self.events.routes(),
            *bundle_routes(self._fabric, self.bundles),
            report_route.route(self.reports),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncIterator[None]:
        """Serve the feeds while the application runs."""
        self._node = app.state.node
        await self.hub.open()
        await self.bundles.open()
        service = await self._serve_grpc()
        try:
            yield
        finally:
            if service is not None:
                await service.stop()
            await self.bundles.close()
            await self.hub.close()

    async def _serve_grpc(self) -> "WatchService | None":
        config = self._config
        if config.grpc_port is None:
            return None
        # Only where it is wanted: grpcio is an extra of its own.
        from rescind_registry.feeds.grpc import TlsFiles, WatchService  # noqa: PLC0415

        tls = TlsFiles(config.tls_cert, config.tls_key) if config.tls_cert else None
        host = f"[{config.host}]" if ":" in config.host else config.host
        service = WatchService(self.hub, self.reports, authorize=self._authorize)
        try:
            self.grpc_port = await service.start(f"{host}:{config.grpc_port}", tls)
        except OSError as error:
            raise BadRegistryConfig(str(error)) from error
        return service

    async def _authorize(self, token: str | None, address: str) -> None:
        """Let a caller read, or raise as for HTTP."""
        if self._node is not None:
            caller = await TOKENS.run(partial(check_token, self._node, address, token))
            caller.token.check(Scope.READ)
