"""Sends a report to a registry node over HTTP, for the sources that have no call to send it on."""

import httpx2

from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.http_errors import mapped

PATH = "/v1/reports"
WITHIN_S = 5.0


async def post_report(client: httpx2.AsyncClient | None, where: str, raw: bytes) -> None:
    """Send one; raises `SourceUnavailable`, also for a node that takes none."""
    if client is None:
        raise SourceUnavailable(f"{where}: not started")
    headers = {"Content-Type": "application/json"}
    try:
        answer = await client.post(PATH, content=raw, headers=headers, timeout=WITHIN_S)
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        raise SourceUnavailable(str(mapped(error, where))) from error
    if not answer.is_success:
        raise SourceUnavailable(f"{where}: it took no report (HTTP {answer.status_code})")
