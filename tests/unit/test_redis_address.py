"""Addresses of Redis: what is understood, what is refused, what is never shown."""

import pytest

from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.redis_address import Address, RedisOptions, parse


@pytest.mark.parametrize(
    ("url", "kind", "addresses"),
    [
        ("redis://h", "server", (Address("h", 6379),)),
        ("rediss://u:p@[::1]:7000/3", "server", (Address("::1", 7000),)),
        ("unix://u:p@/run/redis.sock", "server", (Address("", 0, "/run/redis.sock"),)),
        ("redis+sentinel://a,b:1/main", "sentinel", (Address("a", 26379), Address("b", 1))),
        ("rediss+cluster://u:p@a:1,b", "cluster", (Address("a", 1), Address("b", 6379))),
    ],
)
def test_understood(url: str, kind: str, addresses: tuple[Address, ...]) -> None:
    """Each kind of place, with its default port."""
    place = parse(url)
    assert (place.kind, place.addresses) == (kind, addresses)
    assert place.tls == url.startswith("rediss")


def test_user_password_database_and_files() -> None:
    """Percent-encoded secrets are decoded; TLS files are named in the query."""
    place = parse("rediss://us%40er:p%2Fw%3A@h:1/7?ssl_ca_certs=/ca.pem&ssl_keyfile=/k")
    assert (place.user, place.password, place.db) == ("us@er", "p/w:", 7)
    assert place.tls_files == {"ssl_ca_certs": "/ca.pem", "ssl_keyfile": "/k"}
    assert parse("redis+sentinel://s/my-main").master == "my-main"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://h",
        "redis://",
        "redis://h:0",
        "redis://h:99999",
        "redis://h:port",
        "redis://a,b",
        "redis://h/name",
        "redis+sentinel://h",
        "redis+other://h",
        "unix://",
        "redis://h?ssl_cert_reqs=none",
        "redis://h?ssl_check_hostname=false",
        "redis://[::1",
    ],
)
def test_refused(url: str) -> None:
    """What cannot be an address of ours is refused, an option that weakens TLS too."""
    with pytest.raises(SourceRefused, match="the address of Redis cannot be used"):
        parse(url)


def test_secrets_are_never_shown() -> None:
    """Neither a repr nor a refusal carries the password."""
    url = "redis://user:secret-word@h:1"
    assert "secret-word" not in repr(parse(url)) + repr(RedisOptions(url=url)) + parse(url).shown
    with pytest.raises(SourceRefused) as caught:
        parse("redis://user:secret-word@h:bad")
    assert "secret-word" not in str(caught.value)
