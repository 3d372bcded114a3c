"""What the trust file lets a publisher say, asked before anything is accepted.

A kill that every subscriber would find void must not get a receipt.
"""

import time

from rescind_protocol.keys import SigningKey
from rescind_protocol.trust import Signer, Trust
from rescind_publisher.chain import is_wide
from rescind_publisher.config import PublisherConfig
from rescind_publisher.errors import NotPermitted
from rescind_publisher.plans import Plan


def signer_of(trust: Trust, key: SigningKey, config: PublisherConfig) -> Signer:
    """Return what the trust file says of this publisher's key, or raise `NotPermitted`."""
    found = trust.signers.get(key.kid)
    if found is None:
        raise NotPermitted(
            f"key {key.kid} is not in the trust file: no subscriber would believe it"
        )
    if found.revoked:
        raise NotPermitted(
            f"key {key.kid} is revoked: make another one, have the root trust it, and begin with a "
            "new spool"
        )
    if found.publisher != config.publisher or trust.fabric != config.fabric:
        raise NotPermitted(
            f"the trust file knows key {key.kid} as {found.publisher!r} of fabric "
            f"{trust.fabric!r}, not as {config.publisher!r} of {config.fabric!r}"
        )
    if not found.rights.head:
        raise NotPermitted(f"the trust file does not let {found.publisher!r} sign heads")
    return found


def expired(signer: Signer, now: float) -> str | None:
    """Say it if the key's time is over: its kills count still, its heads freshen nobody."""
    if signer.not_after is None or now <= signer.not_after:
        return None
    day = time.strftime("%Y-%m-%d", time.gmtime(signer.not_after))
    return (
        f"the trust file ends the key of {signer.publisher!r} on {day}: its kills still count, but "
        "views go stale: sign a trust file with a later not_after, or another key"
    )


def check_approver(trust: Trust, approver: SigningKey | None, signer: Signer) -> None:
    """Raise `NotPermitted` where the second key may not approve wide kills."""
    if approver is None:
        return
    found = trust.signers.get(approver.kid)
    if found is None or not found.rights.approve or found.kid == signer.kid:
        raise NotPermitted(f"the trust file does not let key {approver.kid} approve wide kills")


def check_rights(plan: Plan, signer: Signer, *, approved: bool) -> None:
    """Raise `NotPermitted` for what subscribers would find void (architecture.md#trust)."""
    for retired in plan.retires:
        if not signer.permit_retiring(retired):
            raise NotPermitted(
                f"the trust file does not let {signer.publisher!r} retire {retired.publisher!r}"
            )
    for change in plan.changes:
        verb = type(change).__name__.lower()
        if not signer.rights.permit(change):
            raise NotPermitted(
                f"the trust file does not let {signer.publisher!r} {verb} {change.target}"
            )
        if is_wide(change) and not approved:
            raise NotPermitted(
                f"to {verb} {change.target} takes a second key: start the publisher with an "
                "approver's key"
            )
