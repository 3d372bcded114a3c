"""Takes the content coding off an answer (RFC 9110 §8.4), within a limit of bytes. No I/O.

We ask for none (`Accept-Encoding: identity`). A server may send one all the same (§12.5.3), and
servers of static files do: a key set that is stored compressed is a good key set.
"""

import zlib

import httpcore2

from rescind_subscriber.errors import KeysUnavailable

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""RFC 9110 §8.4.1, as `zlib.decompressobj` wants them."""


def decoded(answer: httpcore2.Response, max_bytes: int) -> httpcore2.Response:
    """Return the answer without its content coding; raises `KeysUnavailable`.

    `max_bytes`: of the content, decoded; a small answer can decode to a very large one.
    """
    named = [
        text.decode("latin-1").strip().lower()
        for name, text in answer.headers
        if name.lower() == b"content-encoding"
    ]
    if not named or named == ["identity"]:
        return answer
    window = _WINDOWS.get(named[0]) if len(named) == 1 else None
    if window is None:
        raise KeysUnavailable(f"answers in the content coding {', '.join(named)[:40]!r}, unasked")
    headers = [pair for pair in answer.headers if pair[0].lower() != b"content-encoding"]
    content = _inflate(answer.content, window, max_bytes)
    plain = httpcore2.Response(answer.status, headers=headers, content=content)
    plain.read()
    return plain


def _inflate(raw: bytes, window: int, max_bytes: int) -> bytes:
    inflating = zlib.decompressobj(window)
    try:
        plain = inflating.decompress(raw, max_bytes)
    except zlib.error as error:
        raise KeysUnavailable("answers with a damaged compressed body") from error
    if inflating.unconsumed_tail:
        raise KeysUnavailable("answers with too many bytes")
    if not inflating.eof or inflating.unused_data:
        raise KeysUnavailable("answers with a damaged compressed body")
    return plain
