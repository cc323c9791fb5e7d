"""The brake of a batch: after which failures it starts no more tenants."""

from __future__ import annotations

from ..outcomes import FAILED, INTERRUPTED
from .results import Stop, TenantResult

#: This many failures in a row with the same cause end a batch, …
IN_A_ROW = 3
#: … unless the cause is specific to the tenant.
OWN_CAUSES = frozenset({"ConflictError", "StalePlanError", "VerificationError", "LockedError"})


class Brake:
    """Decides after each tenant whether the batch continues.

    What is wrong with one tenant (a conflict, a difference that was read back) can be wrong with the next
    one as well, so it counts only towards ``max_failures``. A vendor that is gone, a refused sign-in or a
    full disk will stop every tenant: a few in a row are enough.

    Parameters
    ----------
    max_failures
        Stop once this many tenants have failed; ``None`` for no limit.
    """

    def __init__(self, max_failures: int | None = None) -> None:
        self._max_failures = max_failures
        self._failures = 0
        self._cause: tuple[str, ...] = ()
        self._in_a_row = 0
        self.stopped: Stop | None = None

    def saw(self, result: TenantResult) -> None:
        """Count a tenant that has ended."""
        if result.outcome == INTERRUPTED:
            return
        cause = result.cause if result.outcome == FAILED else ()
        shared = cause if cause and cause[0] not in OWN_CAUSES else ()
        self._in_a_row = self._in_a_row + 1 if shared and shared == self._cause else bool(shared)
        self._cause = shared
        self._failures += result.outcome == FAILED
        if self._in_a_row >= IN_A_ROW:
            self.stopped = self.stopped or Stop.SAME_CAUSE
        if self._max_failures is not None and self._failures >= self._max_failures:
            self.stopped = self.stopped or Stop.TOO_MANY
