"""Fetches a bundle if it is another one than is known: one conditional request, bounded in all."""

import asyncio

import httpx2
import msgspec

from rescind_protocol import bundles
from rescind_protocol.errors import Malformed
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.http_address import HttpOptions, make_client
from rescind_subscriber.http_errors import judged, mapped
from rescind_subscriber.http_report import post_report

ANSWER_WITHIN_S = 10.0
"""Connection, TLS and the headers of the answer, beyond what was asked to be waited."""
BODY_WITHIN_S = 120.0
"""The whole body, however slowly it drips."""
SILENCE_S = 10.0
ANY = "*"
"""RFC 9110 §13.1.2: whatever there is, do not send it; the heads come all the same."""


class Fetched(msgspec.Struct, frozen=True):
    """An answer, nothing of it verified."""

    heads: list[bytes]
    media_type: str = ""
    raw: bytes | None = None
    """None: not modified."""


class Fetcher:
    """One place to fetch from; runs on the loop of its caller."""

    def __init__(self, options: HttpOptions, path: str, *, accept: str, name: str) -> None:
        self._options, self._path, self._accept = options, path, accept
        self._where = f"{name} at {options.shown}"
        self._client: httpx2.AsyncClient | None = None

    def open(self) -> None:
        """Make ready; raises `SourceRefused` for an address that cannot be right."""
        if self._client is None:
            self._client = make_client(self._options, silence_s=SILENCE_S)

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def fetch(self, known: str = "", *, wait_s: float = 0.0) -> Fetched:
        """Ask for another revision than `known`; raises `SourceUnavailable`, `SourceRefused`.

        `wait_s`: how long the server may wait for one; a whole number of seconds is sent.
        """
        headers = {"Accept": self._accept}
        if known:
            headers["If-None-Match"] = ANY if known == ANY else f'"{known}"'
        if wait_s >= 1:
            headers["Prefer"] = f"wait={int(wait_s)}"
        answer = await self._send(headers, wait_s)
        try:
            return await self._read(answer, known)
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise mapped(error, self._where) from error
        except Malformed as error:
            raise SourceUnavailable(f"{self._where}: {error}") from error
        except TimeoutError as error:
            raise SourceUnavailable(f"{self._where}: not sent in {BODY_WITHIN_S:g} s") from error
        finally:
            await answer.aclose()

    async def report(self, raw: bytes) -> None:
        """Send a report to the same server; raises `SourceUnavailable`."""
        await post_report(self._client, self._where, raw)

    async def _send(self, headers: dict[str, str], wait_s: float) -> httpx2.Response:
        client = self._client
        if client is None:
            raise SourceUnavailable(f"{self._where}: not started")
        silence = httpx2.Timeout(client.timeout.connect, read=SILENCE_S + wait_s)
        request = client.build_request("GET", self._path, headers=headers, timeout=silence)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S + wait_s):
                return await client.send(request, stream=True)
        except TimeoutError as error:
            raise SourceUnavailable(f"{self._where}: no answer in time") from error
        except (httpx2.HTTPError, OSError, RuntimeError) as error:
            raise mapped(error, self._where) from error

    async def _read(self, answer: httpx2.Response, known: str) -> Fetched:
        heads = bundles.split_heads(answer.headers.get(bundles.HEADS, ""))
        if answer.status_code == httpx2.codes.NOT_MODIFIED and known:
            return Fetched(heads)
        wrong = judged(answer.status_code, self._where)
        if wrong is not None:
            raise wrong
        coding = answer.headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":  # asked for as it is: one that unpacks twice is no friend
            raise SourceRefused(f"{self._where}: sent in the coding {coding[:20]!r}, unasked")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        async with asyncio.timeout(BODY_WITHIN_S):
            raw = await self._body(answer)
        return Fetched(heads, kind, raw)

    async def _body(self, answer: httpx2.Response) -> bytes:
        raw = bytearray()
        async for piece in answer.aiter_raw():
            raw += piece
            if len(raw) > bundles.MAX_PACKED_BYTES:
                raise SourceUnavailable(
                    f"{self._where}: a bundle of more than {bundles.MAX_PACKED_BYTES} bytes"
                )
        return bytes(raw)
