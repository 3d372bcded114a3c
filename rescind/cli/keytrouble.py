"""What this host's guards last noted of issuers' keys and agents' DID documents, for `status`."""

import time
from typing import Any

from rescind.config import WEB, Loaded
from rescind.home import KEYS
from rescind_protocol.targets import canonical_issuer
from rescind_subscriber.keys import trouble
from rescind_subscriber.keys.keeper import AGENTS
from rescind_subscriber.keys.known import WRITTEN_EVERY_S
from rescind_subscriber.keys.shelf import KeyShelf


def noted(loaded: Loaded) -> dict[str, str]:
    """Return the troubles by name; nothing is fetched, and nothing said where nothing is set."""
    settings, now = loaded.settings, time.time()
    found: dict[str, str] = {}
    kept = {known.iss: known for known in KeyShelf(loaded.home / KEYS).load_all()}
    fetched = [canonical_issuer(iss) for iss, said in settings.issuers.items() if said == WEB]
    issuers = {iss: kept.get(iss) for iss in fetched}
    found |= trouble.of_issuers(
        {
            iss: trouble.trouble_of(
                known, None if known is None else known.trouble, now, settings.keys_every_s
            )
            for iss, known in issuers.items()
        }
    )
    agents: dict[str, Any] = {}
    if settings.did_web_domains:
        agents = {known.iss: known for known in KeyShelf(loaded.home / KEYS / AGENTS).load_all()}
    return found | trouble.of_agents(
        {
            did: trouble.trouble_of(known, known.trouble, now, WRITTEN_EVERY_S)
            for did, known in agents.items()
        }
    )
