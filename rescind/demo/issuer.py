"""The local issuer of badges, as far as the demo needs one (interop.md §1)."""

import time
import uuid

import msgspec

from rescind_protocol import jws, targets
from rescind_protocol.keys import SigningKey, jwk
from rescind_protocol.targets import Target

BADGE_TTL_S = 300


class Badge(msgspec.Struct, frozen=True):
    """An issued badge. `token` is a secret: it is handed over, never shown."""

    iss: str
    jti: str
    iat: int
    exp: int
    token: str

    @property
    def target(self) -> Target:
        """What a kill of this badge names."""
        return targets.badge(self.iss, self.jti)


class Issuer:
    """Issues badges of level 2 to one agent, and knows the greatest `iat` it has issued."""

    def __init__(self, key: SigningKey, iss: str, agent: str) -> None:
        self._key = key
        self._iss = iss
        self._agent = agent
        self._agent_key = jwk(SigningKey.generate().public)
        self.newest_iat = 0

    def issue(self, *, after: int = 0) -> Badge:
        """Issue a badge whose `iat` is beyond `after`: so does one that knows of a floor."""
        iat = max(int(time.time()), after + 1)
        self.newest_iat = max(self.newest_iat, iat)
        badge = Badge(self._iss, str(uuid.uuid4()), iat, iat + BADGE_TTL_S, "")
        payload = msgspec.json.encode(self._claims(badge))
        token = jws.sign(payload, typ="JWT", key=self._key).decode()
        return msgspec.structs.replace(badge, token=token)

    def _claims(self, badge: Badge) -> dict[str, object]:
        return {
            "iss": badge.iss,
            "jti": badge.jti,
            "sub": self._agent,
            "iat": badge.iat,
            "exp": badge.exp,
            "ial": "0",
            "key": self._agent_key,
            "vc": {
                "type": ["VerifiableCredential", "AgentIdentity"],
                "credentialSubject": {"domain": "acme.example", "level": "2"},
            },
        }
