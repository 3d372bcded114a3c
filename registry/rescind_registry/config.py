"""The registry's settings, checked together."""

import ipaddress
from pathlib import Path

import msgspec

from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_TTL_S
from rescind_protocol.targets import canonical_issuer
from rescind_registry.errors import BadRegistryConfig

MIN_TTL_S = 60
"""RFC-002 §4.3: 60 to 3600 s."""
TTL_S = 300
"""RFC-002 §4.3: the default."""
PORT = 8410


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One node's settings; raises `BadRegistryConfig` where they contradict each other."""

    issuer: str
    """The origin that badges name as `iss`."""
    folder: Path
    """Where this node keeps its database, its keys and its audit trail."""
    host: str = "127.0.0.1"
    port: int = PORT
    """0: any that is free."""
    url: str | None = None
    """How agents reach this node (`https://registry.example`); None: as it listens."""
    grpc_port: int | None = None
    """Port of the gRPC feed, on the same host; 0: any that is free, None: not served."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ttl_s: int = TTL_S
    """Life of a badge where nobody asks for another."""
    min_ttl_s: int = MIN_TTL_S
    sole_issuer: bool = True
    """Whether no guard of this fabric trusts another issuer: then floors are exact."""

    def __post_init__(self) -> None:
        try:
            canonical_issuer(self.issuer)
        except Malformed as error:
            raise BadRegistryConfig(str(error)) from error
        if not self.min_ttl_s <= self.ttl_s <= MAX_BADGE_TTL_S:
            raise BadRegistryConfig(
                f"a badge lives {self.min_ttl_s} to {MAX_BADGE_TTL_S} s, not {self.ttl_s}"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise BadRegistryConfig("TLS needs both a certificate and its private key")
        if self.tls_cert is None and not self.loopback:
            raise BadRegistryConfig(
                f"{self.host} can be reached from other machines: give a TLS certificate and its "
                "key, or listen on 127.0.0.1"
            )

    @property
    def iss(self) -> str:
        """The issuer in its canonical form."""
        return canonical_issuer(self.issuer)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def origin(self) -> str:
        """How agents reach this node."""
        if self.url is not None:
            return self.url.rstrip("/")
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"
