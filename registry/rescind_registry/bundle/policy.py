"""The Rego that travels in the bundle: what an operator would otherwise write by hand, and wrong.

`data.rescind.policy.revoked` is true for a caller whom a kill denies; `reasons` says by which. Its
input is the reference's `capiscio.pip.v1` document. That names neither issuer, session nor key:
kills of those bind where an operator adds `subject.badge_iss`, `session` or `key`, in canonical
form. Without `badge_iss` a badge is dead by any issuer's kill of its `jti`; without `badge_iat` it
is dead by a kill of earlier badges, too.

Written for OPA 0.59 and later, in either of its two dialects.
"""

PATH = "rescind/policy.rego"
ROOTS = ("agents", "rescind", "revocations")
"""What the bundle owns of an OPA's `data`, so that other bundles may own the rest."""

_REGO = """\
package rescind.policy

import rego.v1

default revoked := false

revoked if count(reasons) > 0

default suspended := false

suspended if data.rescind.agents[input.subject.did].status == "suspended"

reasons contains kill.reason if some kill in _kills

_kills contains kill if {
	some iss, kill in data.revocations.badge[lower(input.subject.badge_jti)]
	object.get(input.subject, "badge_iss", iss) == iss
	_covers(kill)
}

_kills contains kill if {
	some iss, kill in data.revocations.badge[input.subject.badge_jti]
	object.get(input.subject, "badge_iss", iss) == iss
	_covers(kill)
}

_kills contains kill if {
	kill := data.revocations.agent[input.subject.did]
	_covers(kill)
}

_kills contains kill if {
	kill := data.revocations.session[input.subject.session]
	_covers(kill)
}

_kills contains kill if {
	kill := data.revocations.key[input.subject.key]
	_covers(kill)
}

_kills contains kill if {
	kill := data.revocations.issuer[input.subject.badge_iss]
	_covers(kill)
}

_kills contains kill if {
	kill := data.revocations.everyone["*"]
	_covers(kill)
}

_covers(kill) if not kill.issued_before

_covers(kill) if object.get(input.subject, "badge_iat", 0) <= kill.issued_before
"""

MODULES = {PATH: _REGO}
"""By path in the bundle; never empty, as clients of the reference expect."""
