"""Where the clients beside this file get their badge: one that lives, at each call.

    AGENT_BADGE      a badge of `rescind badge issue`, for trying: it ends within minutes
    AGENT_REGISTRY, AGENT_DID, AGENT_KEY, AGENT_ISSUER    else: a registry, which renews it

A badge never stands on a command line, where every user of the machine could read it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rescind


@contextmanager
def badges() -> Iterator[Callable[[], str]]:
    """Give a function that returns the badge to call with; it never waits."""
    if given := os.environ.get("AGENT_BADGE"):
        yield lambda: given
        return
    with rescind.keep_badge(
        os.environ["AGENT_REGISTRY"],
        os.environ["AGENT_DID"],
        os.environ["AGENT_KEY"],  # the file of the agent's private key
        issuer=os.environ.get("AGENT_ISSUER"),  # where it is not the registry's address
    ) as keeper:
        yield keeper.badge
