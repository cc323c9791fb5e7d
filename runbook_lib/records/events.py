"""The chain's words for approvals, and for what becomes of a record after its run."""

from __future__ import annotations

#: A copy of a record was handed out; the entry's file has who, when, for whom, and the copy's digest.
HANDED_OUT = "handed-out"
#: A record was removed by rule; ``disposed.json`` is in its place.
DISPOSED = "disposed"
#: A record must not be removed, and may be again.
HELD, RELEASED = "held", "released"
#: A run uses a signed approval, and the file that says so; an approval was revoked.
USED, USED_FILE, REVOKED = "used", "used.json", "revoked"
