"""A publisher's key is rotated by the documented steps, while a guard follows."""

import rescind
from tests.fakes.terminal import Terminal, did
from tests.fakes.waiting import wait_until

OFTEN = {"RESCIND_HEARTBEAT_S": "0.1"}
NEXT = {"RESCIND_PUBLISHER": "next", "RESCIND_PUBLISHER_KEY": "next.key"}


def test_a_publishers_key_is_rotated_without_a_stale_view(own: Terminal) -> None:
    """Added, its host started with it, the old one revoked at its cut: every kill stays."""

    def done(*words: str) -> str:
        ended = own.run(*words, **OFTEN)
        assert ended.code == 0, ended
        return ended.out

    at = own.home
    desk = ("--root", str(at / "root.key"), "--file", str(at / "trust.jws"))
    with own.start("up", "--port", "0", "--json", **OFTEN) as first:
        first.wait_for("state", state="LIVE")
        port = first.wait_for("up")["nats"].rpartition(":")[2]
        done("kill", "agent", did("before"))
        with rescind.Sidecar(home=str(at), heartbeat_s=0.1) as guard:
            guard.subscriber.wait_fresh(15)
            done("keys", "new", str(at / "next.key"))
            public = str(at / "next.key.pub.json")
            done("trust", "add", "next", public, "--like", "local", "--required", *desk)
            first.__exit__()
            (at / "spool").rename(at / "spool.local")
            with own.start("up", "--port", port, "--json", **OFTEN, **NEXT) as second:
                second.wait_for("up")
                (at / "cuts.json").write_text(done("trust", "cuts", "local"))
                done("trust", "revoke", "local", "--cuts", str(at / "cuts.json"), *desk)
                done("trust", "publish", str(at / "trust.jws"))
                assert guard.subscriber.fresh  # all the while: five minutes have not passed
                heads = guard.subscriber.status
                wait_until(lambda: not heads().trouble and (heads().age_s or 99) < 2)
                assert done("status", "agent", did("before"), "--json").find('"killed": true') > 0
                done("kill", "agent", did("after"))
                wait_until(lambda: own.run("status", "agent", did("after"), "--check").code == 1)
