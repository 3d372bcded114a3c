"""Constant limits on everything that comes from outside, each with its source."""

# Sizes, in bytes.
MAX_EVENT_BYTES = 256 * 1024
"""One signed event; refused before the spool, so that no broker can choke on it (attack A3.7)."""
MAX_HEAD_BYTES = 64 * 1024
"""One signed head: about 700 open logs of one publisher."""
MAX_TRUST_BYTES = MAX_EVENT_BYTES
"""One version of the trust file, about 700 keys: brokers carry it as they carry an event."""
MAX_TRUST_CHAIN_BYTES = 8 * 1024 * 1024
"""A trust file with all its versions."""
MAX_BADGE_BYTES = 16 * 1024
"""One badge. A badge with key and credential is near 1.5 KiB; HTTP servers stop headers at 8-16."""
MAX_SNAPSHOT_BYTES = 1024 * 1024 * 1024
"""One snapshot body: about two million revocations with their reasons."""
SNAPSHOT_PART_BYTES = 384 * 1024
"""What a broker carries of a snapshot in one message; NATS' own limit is 1 MiB, ours 512 KiB."""
MAX_SNAPSHOT_PARTS = -(-MAX_SNAPSHOT_BYTES // SNAPSHOT_PART_BYTES)
MAX_CURSOR_CHARS = 48 * 1024
"""A position in a store; in Redis it names an entry of each log, and heads name 500 logs."""
MAX_MANIFEST_BYTES = 256 * 1024
"""A snapshot's signed statement: the digests of all parts (46 bytes each) and a cursor."""
MAX_REPORT_BYTES = 8 * 1024
"""One subscriber's report: 64 logs and 16 events with their exposure fit into it."""

# Text, in characters.
MAX_ID_CHARS = 512
"""A jti, DID, sid or issuer; longer than any DID in use."""
MAX_REASON_CHARS = 1024
"""`reason_admin`, `reason_user` and `actor`."""
MAX_NAME_CHARS = 64
"""A subscriber's name, its host, its version; a Linux host name has at most 64 (uname(2))."""

# Times, in seconds.
MAX_UNIX_S = 2**40
"""Unix seconds stay below this, the year 36812: far from where a sum or a cut could overflow."""
SKEW_S = 60
"""Clock skew allowed between any two hosts (RFC-002 §7)."""
MAX_BADGE_TTL_S = 3600
"""`exp - iat` beyond this is refused, so that a kill of bounded life outlives its badge (I8)."""
BADGE_KILL_MARGIN_S = 180
"""A badge's kill lives until `exp` + this: issuer, publisher and guard each a skew apart (I8)."""
UNKNOWN_EXP_KILL_S = MAX_BADGE_TTL_S + BADGE_KILL_MARGIN_S + 2 * SKEW_S
"""Life of a badge's kill when its `exp` is unknown: 3900 s (interop.md §1)."""
MAX_STALENESS_S = 300
"""A view older than this is stale (RFC-001 §4.3)."""
HEAD_INTERVAL_S = 1.0
"""Time between two heads of a publisher (I4)."""
SNAPSHOT_EVERY_S = 600.0
"""Time between two snapshots in the brokers, where there is anything new."""
SCRUB_EVERY_S = 3600.0
"""Time between two comparisons of all that a broker holds with the spool."""
MAX_HEAD_AHEAD_S = 60
"""A head whose signed time is further ahead of our clock freshens nothing (I4)."""
MAX_FLOOR_AHEAD_S = 5 * SKEW_S
"""A floor beyond its event's time by more is void: issuers run a skew ahead, and a reinstatement
under a foreign issuer adds one (attack B4)."""

# Counts.
MAX_CHANGES = 4096
"""Kills and reinstatements in one event; the size limit bites first for all but tiny ones."""
SNAPSHOT_EVENTS = 10_000
"""So many new events are reason for a snapshot: a reader verifies some 8,000 a second."""
MAX_NAMES = 1024
"""Revocations that one reinstatement may name."""
MAX_CUT_LOGS = 1024
"""Logs that one retirement, or one revoked key in the trust file, may name; a head holds 700."""
MAX_CUTS = 16 * MAX_CUT_LOGS
"""Cuts by retirements that a state remembers, over all keys: sixteen publishers at their limit."""
MAX_RETIRED_KEYS = 4096
"""Keys that a state remembers as retired; a trust file holds some 700."""
MAX_TRUST_VERSIONS = 1024
"""Versions in one trust file; a change of trust is rare."""
RECENT_DIGESTS = 1024
"""Digests kept for each log, to compare late heads and repeated deliveries with."""
MAX_ABOVE = 65_536
"""Events of one log held above a gap; beyond it the gap is filled by reading, not by waiting."""
DEFAULT_QUOTA = 1_000_000
"""Live revocations one key may hold, unless the trust file says otherwise (attack D)."""
MAX_REPORT_LOGS = 64
"""Logs in one report, those that moved last."""
MAX_REPORT_EVENTS = 16
"""Events in one report of whose application it tells."""
MAX_ENDED = 16
"""Runs in one report that have ended on its host without a goodbye."""
MAX_PASSED_STEPS = 32
"""Steps of one exposure: two digits of milliseconds each, so that ten cover a factor of two."""
MAX_FLEET = 20_000
"""Subscribers of a fabric that a publisher remembers (transport.md: beyond 10,000, leaves)."""
