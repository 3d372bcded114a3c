"""Which sources are followed: named by settings, made by one table, each fault one sentence."""

import pytest

from rescind import compose, config, following
from rescind.errors import BadConfig


def settings(**values: object) -> config.Loaded:
    """Return settings of nothing but these."""
    return config.load({"home": "/nowhere", **values}, env={})


def names(**values: object) -> list[str]:
    """Return the names of the sources that are made."""
    return [source.name for source in compose.make_sources(settings(**values))]


def test_any_set_is_followed_at_once() -> None:
    """By default the brokers that are set; else exactly what is named, in that order."""
    node = {
        "feed_url": "https://registry.example",
        "feed_grpc_url": "https://registry.example:8411",
        "feed_token": "rsc_1_x",
    }
    assert names() == ["nats"]
    assert names(redis_url="redis://localhost") == ["nats", "redis"]
    assert names(sources=("sse",), **node) == ["sse"]
    everything = ("grpc", "sse", "bundle", "nats", "redis")
    assert names(sources=everything, redis_url="redis://localhost", **node) == [*everything]


def test_the_environment_names_them_with_commas() -> None:
    """As every list there."""
    env = {"RESCIND_SOURCES": "nats, sse", "RESCIND_FEED_URL": "http://127.0.0.1:8410"}
    loaded = config.load({"home": "/nowhere"}, env=env)
    assert [source.name for source in following.make(loaded)] == ["nats", "sse"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sources": ("natz",)}, "did you mean 'nats'"),
        ({"sources": ("nats", "nats")}, "twice"),
        ({"sources": ("redis",)}, "'redis_url' is not set"),
        ({"sources": ("sse",)}, "'feed_url' is not set"),
        ({"sources": ("grpc",)}, "'feed_grpc_url' is not set"),
        ({"sources": ("bundle",)}, "'feed_url' is not set"),
        (
            {"sources": ("bundle",), "feed_url": "http://127.0.0.1:1", "bundle_every_s": 0},
            "'bundle_every_s'",
        ),
        ({"sources": ("sse",), "feed_url": "registry.example"}, "https://HOST:PORT"),
        (
            {"sources": ("sse",), "feed_url": "http://registry.example", "feed_token": "rsc_s3c"},
            "https:// only",
        ),
        *[
            (
                {"sources": (source,), setting: "http://127.0.0.1:1", "feed_token": token},
                "its token",
            )
            for source, setting in (
                ("sse", "feed_url"),
                ("grpc", "feed_grpc_url"),
                ("bundle", "feed_url"),
            )
            for token in ("rsc_s3c\n", " rsc_s3c", "rsc_s3cé", "rsc\x00s3c", "")
        ],
        *[
            ({"sources": ("sse",), "feed_url": url}, "it is no address of a registry")
            for url in (
                "https://:s3c@h.example",
                "https://u:s3c/x@h.example",
                "https://h.example/é",
            )
        ],
    ],
)
def test_what_cannot_work_is_one_sentence(values: dict[str, object], said: str) -> None:
    """It names the setting and what to do, and no secret."""
    with pytest.raises(BadConfig, match=said) as error:
        compose.make_sources(settings(**values))
    assert "s3c" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setattr(following, "_installed", lambda _: False)
    for source, extra in (("sse", "http"), ("grpc", "grpc")):
        with pytest.raises(BadConfig, match=rf"pip install 'rescind\[{extra}\]'"):
            compose.make_sources(settings(sources=(source,)))


def test_the_token_is_never_shown() -> None:
    """`rescind config show` hides it whole."""
    shown = settings(feed_token="rsc_1_secret").shown()
    assert "secret" not in str(shown)


def test_by_bundles_alone_heads_come_with_each_request() -> None:
    """Three heads missed is three requests; with a broker beside, its heads count as ever."""
    node = {"feed_url": "http://127.0.0.1:8410", "bundle_every_s": 20}
    assert following.heads_every_s(settings(sources=("bundle",), **node)) == 20
    assert following.heads_every_s(settings(sources=("bundle", "nats"), **node)) == 1
