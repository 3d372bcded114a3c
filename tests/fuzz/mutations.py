"""How a token is bent: its bytes as they travel, or the JSON inside a segment, encoded anew."""

from random import Random

from rescind_protocol.encoding import b64url_encode

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TRAVELLING: tuple[bytes, ...] = (
    b".",
    b"..",
    b"=",
    b"==",
    b"-",
    b"_",
    b"+",
    b"/",
    b" ",
    b"\n",
    b"\x00",
    b"\xff",
)
_TRAVELLING += (b"e30", b"bnVsbA", b"W10", b"AAAA", b"Bearer ", b"A" * 400)
WORDS: tuple[bytes, ...] = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\x00",
)
WORDS += (b"null", b"true", b"-1", b"1.5", b"1e999", b"0", b"9" * 30, b'""', b"[]", b"{}", b" ")
WORDS += (b"[" * 1200, b'"exp":1,', b'"iat":null,', b'"jti":[],', b'"aud":"x",', b'"cnf":{},')
WORDS += (b'"ial":"1",', b'"level":"0",', b'"sub":"did:web:",', b'"iss":"did:key:z6Mk",')
WORDS += (b'"key":{"kty":"EC","crv":"P-256"},', b'"alg":"ES256",', b'"alg":"none",', b'"crit":[],')
WORDS += (b'"typ":"at+jwt",', b'"kid":"x",', b'"b64":false,', b'"vc":{"type":[]},', b'"sid":" ",')


def bend(rng: Random, raw: bytes, words: tuple[bytes, ...]) -> bytes:
    """Return `raw` with one to three places cut, doubled, moved or written over."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(raw) + 1)
        length = rng.choice((0, 1, 1, 2, 4, 16, 64))
        kind = rng.randrange(6)
        if kind == 0:
            put = bytes((rng.randrange(256),))
        elif kind == 1:
            put = b""
        elif kind == 2:
            put = raw[place : place + length] * 2
        elif kind == 3:
            other = rng.randrange(len(raw) + 1)
            put = raw[other : other + length]
        else:
            put = rng.choice(words)
        raw = raw[:place] + put + raw[place + length :]
    return raw


class Token:
    """A good token and its parts, ready to be bent."""

    def __init__(self, token: str, header: bytes, payload: bytes) -> None:
        self.text = token
        self._raw = token.encode()
        self._segments = self._raw.split(b".")
        self._inside = (header, payload)

    def bent(self, rng: Random) -> str:
        """Return its bytes bent; bytes beyond ASCII as characters beyond ASCII."""
        if rng.randrange(8) == 0:
            return self._bent_edge(rng)
        return bend(rng, self._raw, _TRAVELLING).decode("latin-1")

    def _bent_edge(self, rng: Random) -> str:
        """Return it with one segment's last character, whose bits may be spare, another one."""
        segments = list(self._segments)
        which = rng.randrange(len(segments))
        end = rng.choice((*_LETTERS, "", "=", "==", "\n"))
        segments[which] = segments[which][:-1] + end.encode()
        return b".".join(segments).decode()

    def rewritten(self, rng: Random, which: int) -> str:
        """Return it with the JSON of the header (0) or the payload (1) bent."""
        segments = list(self._segments)
        segments[which] = b64url_encode(bend(rng, self._inside[which], WORDS)).encode()
        return b".".join(segments).decode()


class Segment:
    """JSON in base64url, ready to be bent."""

    def __init__(self, inside: bytes) -> None:
        self.text = b64url_encode(inside)
        self._inside = inside

    def bent(self, rng: Random) -> str:
        """Return its bytes bent, or the JSON inside, or that emptied or written otherwise."""
        if rng.randrange(8) == 0:
            inside = rng.choice((b"{", self._inside[:-1])) + b" " * rng.randrange(3) + b"}"
            return b64url_encode(inside)
        if rng.randrange(2):
            return bend(rng, self.text.encode(), _TRAVELLING).decode("latin-1")
        return b64url_encode(bend(rng, self._inside, WORDS))
