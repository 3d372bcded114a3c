"""From a token to verified claims: steps 2 to 4 of the guard's procedure. No view, no policy.

Where nobody has the key that a badge names, whoever fetches keys is told of it (`KeyView.miss`).
"""

from rescind_guard import badges, didkey, jwk, parsing
from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_guard.issuers import IssuerKey, Issuers, self_signed_key
from rescind_guard.key_view import KeyView
from rescind_guard.lookup import claims_despite
from rescind_guard.parsing import Badge

_FAULTS_OF_FORM = frozenset({Code.BADGE_MALFORMED, Code.BADGE_CLAIMS_INVALID})


NO_BADGE = (
    "no badge was given: send it in the header X-Capiscio-Badge, or in _meta.capiscio_caller_badge "
    "of an MCP message"
)


class Verifier:
    """Reads badges and verifies them by the keys of trusted issuers. Any thread may call it."""

    def __init__(
        self,
        keys: KeyView,
        *,
        accept_self_signed: bool = False,
        lenient: bool = False,
        keyless: bool = False,
    ) -> None:
        """`keyless`: badges without a `key` are taken (profile dev)."""
        self._keys, self._accept_self_signed = keys, accept_self_signed
        self._lenient, self._keyless = lenient, keyless

    def read(self, token: str | None) -> Badge:
        """Parse (2); raises `Refused`."""
        if token is None:
            raise Refused(Code.TOOL_AUTH_MISSING, NO_BADGE)
        if not isinstance(token, str):
            raise Refused(Code.BADGE_MALFORMED, "badge is malformed: it is not text")
        return parsing.read(token, lenient=self._lenient, keyless=self._keyless)

    def keys(self, badge: Badge, issuers: Issuers | None = None) -> tuple[IssuerKey, ...]:
        """Find the keys the badge may be signed with (3); raises `Refused`."""
        return self._find_keys(badge.iss, badge.token.header.kid, issuers)

    def _find_keys(
        self, iss: str, kid: str | None, issuers: Issuers | None = None
    ) -> tuple[IssuerKey, ...]:
        if iss.startswith(didkey.PREFIX) and self._accept_self_signed:
            return (self_signed_key(iss),)
        trusted = self._keys.published if issuers is None else issuers
        found = trusted.candidates(iss, kid)
        if not found:
            self._keys.miss(iss)
            raise Refused(
                Code.BADGE_SIGNATURE_INVALID, "badge names a key its issuer does not have"
            )
        return found

    def verify(self, badge: Badge, issuers: Issuers | None = None) -> Claims:
        """Verify the signature (3, 4) and return the claims; raises `Refused`."""
        for key in self.keys(badge, issuers):
            if jwk.verifies(badge.token, key.public):
                return badges.claims(badge, key)
        if badge.token.header.kid is None:
            self._keys.miss(badge.iss)
        raise Refused(Code.BADGE_SIGNATURE_INVALID, "badge signature does not verify")

    def despite(self, token: str | None, refused: Refused) -> Claims | None:
        """Return who a badge is that was refused for its form (2), if its signature verifies."""
        if not isinstance(token, str) or refused.answer not in _FAULTS_OF_FORM:
            return None
        return claims_despite(token, refused.reason, self._find_keys)

    def signer(self, token: str) -> Claims | None:
        """Return who has signed a badge, whatever else is wrong with it; None: nobody trusted."""
        return claims_despite(token, "", self._find_keys)
