"""Which key has signed a badge, by the issuers that this host trusts: for `status`."""

from rescind import compose
from rescind.config import Loaded
from rescind_guard import didkey
from rescind_guard.issuers import IssuerKey, self_signed_key
from rescind_guard.lookup import claims_despite
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.targets import Target


def signing_key(loaded: Loaded, token: str) -> Target | None:
    """Return the key as a target; None if no key known here has signed the badge.

    Keys that are fetched are fetched now.
    """
    keeper = compose.make_keys(loaded, View())
    if keeper is not None:
        keeper.load()
        keeper.step()
    issuers = compose.make_issuers(loaded) if keeper is None else keeper.view.published

    def find(iss: str, kid: str | None) -> tuple[IssuerKey, ...]:
        if iss.startswith(didkey.PREFIX) and loaded.settings.accept_self_signed:
            return (self_signed_key(iss),)
        return issuers.candidates(iss, kid)

    claims = claims_despite(token, "", find)
    return None if claims is None else targets.key(claims.key_thumbprint)
