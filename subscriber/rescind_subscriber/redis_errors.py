"""Our errors for redis-py's, the server's and the socket's, by whose fault it is."""

import ssl

from redis import exceptions

from rescind_subscriber.errors import SourceRefused, SourceUnavailable

ELSEWHERE = (
    *(exceptions.ReadOnlyError, exceptions.AskError, exceptions.ClusterDownError),
    *(exceptions.TryAgainError, exceptions.MasterDownError),
)
"""This server does not (or not any more) serve our keys: connect anew, where they are."""


def mapped(error: BaseException, where: str) -> SourceRefused | SourceUnavailable:
    """Return what to raise for `error`; what will not heal by itself is refused."""
    text = str(error) or type(error).__name__
    if why := _refusal(error, text):
        return SourceRefused(f"{where} {why}")
    if isinstance(error, exceptions.OutOfMemoryError):
        return SourceUnavailable(f"{where} is full: maxmemory is reached: {text}")
    return SourceUnavailable(f"{where} cannot be used now: {text}")


def _refusal(error: BaseException, text: str) -> str:
    """Return why it will not heal by itself, or nothing."""
    certificate = _cause(error, ssl.SSLCertVerificationError)
    reasons = (
        (certificate is not None, f"has a certificate that is not trusted: {certificate}"),
        (
            isinstance(error, exceptions.AuthenticationError) or "WRONGPASS" in text,
            "refused our credentials: check user and password",
        ),
        (
            isinstance(error, exceptions.NoPermissionError) or "user executing the script" in text,
            f"gives us too few rights: {text}",
        ),
        (text.startswith("WRONGTYPE"), f"holds something else at a key of ours: {text}"),
        (
            "unknown command" in text.lower() and "hello" in text.lower(),
            "is too old: Redis 7 or Valkey is needed",
        ),
        (
            isinstance(error, ValueError) or _cause(error, FileNotFoundError) is not None,
            f"cannot be used with this address and these files: {text}",
        ),
    )
    return next((why for applies, why in reasons if applies), "")


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """Return the error of that kind in the chain of causes."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
