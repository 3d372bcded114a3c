"""A foreign registry over real HTTPS: what a web server with a JSON file on it would be."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

from tests.fakes.certificates import Authority

Answer = Callable[[BaseHTTPRequestHandler], None]
PATH = "/v1/bundles/foreign"


class ForeignRegistry:
    """Serves `raw` by conditional requests, unless `answer` does something else."""

    def __init__(self, folder: Path) -> None:
        self.raw = b""
        self.answer: Answer = self.serve
        self.asked: list[Mapping[str, str]] = []
        """The headers of each request."""
        self.statuses: list[int] = []
        self.ended = threading.Event()
        authority = Authority(folder, "foreign")
        self.ca_file = authority.cert
        pair = authority.certify("registry")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer."""
                server.asked.append(dict(self.headers.items()) | {"path": self.path})
                server.answer(self)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Note the status."""
                del size
                server.statuses.append(int(code))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.origin = f"https://127.0.0.1:{self._http.server_address[1]}"
        self.url = self.origin + PATH

    @property
    def tag(self) -> str:
        """The tag of what is served."""
        return f'"{sha256(self.raw).hexdigest()}"'

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as a web server does."""
        if handler.headers.get("If-None-Match") == self.tag:
            answer(handler, 304, ETag=self.tag)
        else:
            answer(handler, 200, self.raw, ETag=self.tag)

    def close(self) -> None:
        """End, and whoever still answers too."""
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Send one answer."""
    handler.send_response(status)
    for name, said in headers.items():
        handler.send_header(name.replace("_", "-"), said)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def foreign_registry(folder: Path) -> Iterator[ForeignRegistry]:
    """Give one that ends with the test."""
    made = ForeignRegistry(folder)
    try:
        yield made
    finally:
        made.close()
