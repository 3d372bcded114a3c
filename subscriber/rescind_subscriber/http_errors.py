"""What httpx2 raises and what a server answers, as our errors: weather, or what will not heal."""

import ssl

import httpx2

from rescind_protocol.errors import RescindError
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable

_WEATHER = (408, 425, 429)
_NO_CURSOR = (400, 410)


def mapped(error: Exception, where: str) -> RescindError:
    """Return our error for one of the client's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceRefused(f"{where}: its certificate is not trusted: {cause.verify_message}")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.LocalProtocolError):  # it quotes the header: there may be a token
        return SourceRefused(f"{where}: it is asked for in words that no request can carry")
    if isinstance(error, httpx2.TimeoutException):
        return SourceUnavailable(f"{where}: silent, or not reached in time")
    return SourceUnavailable(f"{where}: {str(error) or type(error).__name__}")


def judged(status: int, where: str, *, cursor: bool = False) -> RescindError | None:
    """Return what a status means, None for 200; `cursor`: one was sent."""
    if status == httpx2.codes.OK:
        return None
    if cursor and status in _NO_CURSOR:
        return Rewound(f"{where}: what lies behind the cursor is not held there (HTTP {status})")
    if status in (401, 403):
        return SourceRefused(
            f"{where}: the token is missing, or has no right to read (HTTP {status})"
        )
    if status in _WEATHER or status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        return SourceUnavailable(f"{where}: HTTP {status}")
    return SourceRefused(f"{where}: no feed of events there (HTTP {status})")
