"""What is fuzzed: a guard that takes every kind of badge, and the readers behind its signature.

Beside badges, the map of the hops behind a caller, bound to its badge, and DID documents. Two
things must hold for every token, or map, that is not one of the good ones, byte for byte: nothing
is raised but `Refused`, and the guard does not allow it.
"""

from collections import Counter
from random import Random
from typing import Any

import msgspec

from rescind_guard import Outcome, badges, didweb, hops, jwk, lookup, multikey, parsing
from rescind_guard.errors import Refused
from rescind_guard.issuers import Issuers, read_jwks
from rescind_guard.key_view import KeyView
from rescind_protocol import jws
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES
from tests.fakes.badges import ABSENT, AGENT, ISSUER, OTHER, Scene, own_badge, self_signed
from tests.fakes.ec import EcIssuer
from tests.fakes.fabric import NOW
from tests.fuzz.mutations import WORDS, Segment, Token, bend

AUDIENCE = "https://orders.example"
HEADER = 4
MAP, DOCUMENT = 5, 6
ROOT = "did:web:root.example:r"


class Found(Exception):
    """A token that was allowed, or that raised; `token` replays it."""

    def __init__(self, token: str, what: str) -> None:
        super().__init__(what)
        self.token = token


class Target:
    """A guard, the good tokens that it allows, and ways to bend them."""

    def __init__(self) -> None:
        scene = Scene(other=EcIssuer(OTHER))
        loner = self_signed()
        bound: dict[str, Any] = {"ial": "1", "cnf": {"kid": scene.issuer.claims()["key"]["kid"]}}
        good = (
            scene.issuer.badge(),
            scene.issuer.badge("4", aud=["x", AUDIENCE], nbf=NOW, sid="s-1", **bound),
            scene.issuer.badge("1", header={"typ": ABSENT, "kid": ABSENT}, jti="any id"[:3]),
            scene.other.badge("3", header={"alg": "ES256"}),
            own_badge(loner),
            scene.issuer.badge("2", ial="1", cnf={"kid": f"{AGENT}#key-1"}),
        )
        self.tokens = [Token(each, *_inside(each)) for each in good]
        self._good = frozenset(good)
        self.keys = KeyView(
            Issuers({ISSUER: scene.issuers[ISSUER], OTHER: read_jwks(OTHER, scene.other.jwks())})
        )
        self._document = _document(scene.issuer.claims()["key"])
        self.keys.documents = {AGENT: didweb.read_document(AGENT, self._document)}
        self._key = scene.issuers[ISSUER][0]
        raw = msgspec.json.encode({ROOT: scene.issuer.badge(sub=ROOT)})
        self._map = Segment(raw)
        self._unbound, self._bound = good[0], scene.issuer.badge(map_hash=hops.hash_of(raw))
        # Nothing of it is remembered between two tokens: one alone must replay what it did.
        self.guard = scene.guard(
            audience=AUDIENCE, accept_self_signed=True, profile="dev", lenient=True, cached_badges=0
        )
        self.guard._keys = self.keys
        self.codes: Counter[str] = Counter()
        for token in good:
            assert self.guard.check(token), self.guard.check(token)
        assert self.guard.check(self._bound, badge_map=self._map.text)

    def try_one(self, rng: Random) -> None:
        """Bend a token until it is another one, and try that; raises `Found`."""
        while not self._tries(rng):
            pass

    def _tries(self, rng: Random) -> bool:
        token = rng.choice(self.tokens)
        kind = rng.randrange(7)
        if kind == DOCUMENT:
            return self._reads_document(bend(rng, self._document, WORDS))
        if kind == MAP:
            return self._tries_map(self._map.bent(rng))
        # 0: the payload, behind the signature; 1, 2: the bytes; 3, 4: the payload, the header.
        bent = token.bent(rng) if kind in (1, 2) else token.rewritten(rng, int(kind != HEADER))
        if bent in self._good:
            return False
        (self.check if kind else self.read)(bent)
        return True

    def _tries_map(self, bent: str) -> bool:
        """Ask with a bent map; padding is no other map. Raises `Found`."""
        if bent.rstrip("=") == self._map.text:
            return False
        self.check(self._bound, bent)
        try:
            decision = self.guard.check(self._unbound, badge_map=bent)
        except Exception as error:
            raise Found(bent, f"the guard raised {error!r}") from error
        self.codes[f"map {decision.code}"] += 1
        return True

    def _reads_document(self, bent: bytes) -> bool:
        """Read a bent DID document; raises `Found`."""
        try:
            keys = didweb.read_document(AGENT, bent)
        except Malformed:
            self.codes["document MALFORMED"] += 1
        except Exception as error:
            raise Found(bent.decode("latin-1"), f"the reader raised {error!r}") from error
        else:
            self.codes["document OK" if keys else "document without keys"] += 1
        return True

    def check(self, token: str, badge_map: str | None = None) -> None:
        """Ask the guard; raises `Found`."""
        try:
            decision = self.guard.check(token, badge_map=badge_map)
        except Exception as error:
            raise Found(badge_map or token, f"the guard raised {error!r}") from error
        self.codes[decision.code] += 1
        if decision.outcome is Outcome.ALLOW:
            raise Found(badge_map or token, "the guard allowed a token that nobody signed")

    def read(self, token: str) -> None:
        """Read as if the signature had verified; raises `Found`."""
        try:
            self._read(token)
        except Exception as error:
            raise Found(token, f"the reader raised {error!r}") from error

    def _read(self, token: str) -> None:
        try:
            badge = parsing.read(token)
        except Refused as refused:
            self.codes[f"read {refused.answer}"] += 1
            _names_despite(token)
            return
        claims = badges.claims(badge, self._key)
        try:
            badges.check_times(claims, NOW)
            badges.check_audience(claims, AUDIENCE)
            badges.check_binding(claims, self.keys)
        except Refused as refused:
            self.codes[f"read {refused.answer}"] += 1
            return
        self.codes["read OK"] += 1


def _document(key: dict[str, str]) -> bytes:
    """Return the DID document of the agent, with its key in both forms."""
    multibase = multikey.encode(multikey.ED25519 + jwk.read_public(key))
    methods = [
        {"id": f"{AGENT}#key-1", "type": "JsonWebKey", "publicKeyJwk": key},
        {"id": "#key-2", "type": "Multikey", "publicKeyMultibase": multibase},
    ]
    named = {"authentication": [f"{AGENT}#key-1"], "assertionMethod": ["#key-2"]}
    return msgspec.json.encode({"id": AGENT, "verificationMethod": methods} | named)


def _names_despite(token: str) -> None:
    """What the guard looks up of a badge that breaks the rules of form (I3)."""
    try:
        said = check_json(jws.read(token.encode(), limit=MAX_BADGE_BYTES).payload)
    except Malformed:
        return
    if isinstance(said, dict):
        lookup._claims(said, ISSUER, "A" * 43, "fuzzed")


def _inside(token: str) -> tuple[bytes, bytes]:
    parts = jws.read(token.encode(), limit=MAX_BADGE_BYTES, algorithms=("EdDSA", "ES256"))
    header = {name: said for name, said in msgspec.to_builtins(parts.header).items() if said}
    return msgspec.json.encode(header), parts.payload
