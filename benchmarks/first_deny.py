"""A process that guards with what it remembers: its first deny, with no broker to be reached.

Run by `benchmarks.start`, in a folder that it has filled; prints when the deny was known.
"""

import sys
import time
from pathlib import Path

from rescind_guard import Guard, Issuers
from rescind_protocol import trust
from rescind_subscriber import Subscriber
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.sources.nats import NatsSource

FABRIC = "bench"
NOBODY = "nats://subscriber:x@127.0.0.1:9"
"""The discard port: no server there."""
TRUST, ROOT, JWKS, BADGE = "trust.jwt", "root.pub", "jwks.json", "badge"


def main() -> None:
    """Start, check one killed badge, and say when it was denied, as killed."""
    folder = Path(sys.argv[1])
    believed = trust.read(
        (folder / TRUST).read_bytes(), root=(folder / ROOT).read_bytes(), fabric=FABRIC
    )
    options = NatsOptions(url=NOBODY, inbox_prefix="_INBOX_sub")
    subscriber = Subscriber(believed, lambda: [NatsSource(FABRIC, options)], state_dir=folder)
    subscriber.start()
    issuer, document = (folder / JWKS).read_bytes().split(b"\n", 1)
    guard = Guard(subscriber.view, Issuers.from_jwks({issuer.decode(): document}))
    decision = guard.check((folder / BADGE).read_text())
    denied_ns = time.monotonic_ns()
    print(denied_ns, decision.code)
    subscriber.stop()


if __name__ == "__main__":
    main()
